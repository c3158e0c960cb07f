//! A word with its variables replaced, and the variables of a build.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use crate::dockerfile::lexer::{LexError, Lexed, Lexer, Lookup, Quotes};
use crate::dockerfile::problems::Problems;
use crate::dockerfile::text::Span;
use crate::limits;
use crate::message::Message;

/// What a word becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expansion {
    /// This text.
    Known(String),
    /// It depends on these variables, which the base image may set.
    Unknown(BTreeSet<String>),
}

impl Expansion {
    /// The text, if it is known.
    pub fn known(&self) -> Option<&str> {
        match self {
            Self::Known(text) => Some(text),
            Self::Unknown(_) => None,
        }
    }
}

/// The value of a variable; `None` if nobody knows it.
type Binding = Option<Rc<str>>;

/// A binding, and when it was made.
type Stamped = (u64, Binding);

/// The variables at one place of the file. Changes can be taken back, so that many stages can begin with the variables of
/// one, and nothing is copied.
#[derive(Debug, Default)]
pub(super) struct Environment {
    variables: HashMap<Rc<str>, Stamped>,
    /// The variables of the image's config: those of its base, and what ENV sets.
    image: HashMap<Rc<str>, Stamped>,
    /// Those that ARG has set since the stage began. A stage that is made from this one begins with the config's again.
    arguments: BTreeSet<Rc<str>>,
    /// Whether what is not there is unknown; else it is not set.
    is_open: bool,
    /// Counts how often all was forgotten; it never goes back.
    time: u64,
    /// What was bound before this time is forgotten.
    since: u64,
    changes: Vec<ScopeChange>,
}

#[derive(Debug)]
enum ScopeChange {
    Variable(Rc<str>, Option<Stamped>),
    Image(Rc<str>, Option<Stamped>),
    Argument(Rc<str>),
    Stage(BTreeSet<Rc<str>>),
    Forgotten { since: u64, is_open: bool },
}

impl Environment {
    /// Sets a variable of the image's config.
    pub(super) fn set(&mut self, name: &str, value: &Expansion) {
        let (name, value): (Rc<str>, _) = (name.into(), value.known().map(Rc::from));
        let before = self.image.insert(Rc::clone(&name), (self.time, value.clone()));
        self.changes.push(ScopeChange::Image(Rc::clone(&name), before));
        self.bind(name, value);
    }

    /// Sets a variable for the rest of the build.
    pub(super) fn set_argument(&mut self, name: &str, value: &Expansion) {
        let (name, value): (Rc<str>, _) = (name.into(), value.known().map(Rc::from));
        if self.arguments.insert(Rc::clone(&name)) {
            self.changes.push(ScopeChange::Argument(Rc::clone(&name)));
        }
        self.bind(name, value);
    }

    fn bind(&mut self, name: Rc<str>, value: Binding) {
        let before = self.variables.insert(Rc::clone(&name), (self.time, value));
        self.changes.push(ScopeChange::Variable(name, before));
    }

    /// Begins a stage that is made from the stage so far.
    pub(super) fn begin_stage(&mut self) {
        let arguments = std::mem::take(&mut self.arguments);
        for name in &arguments {
            match self.image.get(name).filter(|(time, _)| *time >= self.since).cloned() {
                Some((_, value)) => self.bind(Rc::clone(name), value),
                // The base image may set it.
                None if self.is_open => self.bind(Rc::clone(name), None),
                None => {}
            }
        }
        self.changes.push(ScopeChange::Stage(arguments));
    }

    /// Forgets every variable: each may have another value now, or none.
    pub(super) fn forget(&mut self) {
        self.changes.push(ScopeChange::Forgotten { since: self.since, is_open: self.is_open });
        self.time += 1;
        (self.since, self.is_open) = (self.time, true);
    }

    pub(super) fn lookup(&self, name: &str) -> Lookup<'_> {
        match self.variables.get(name).filter(|(time, _)| *time >= self.since) {
            Some((_, Some(value))) => Lookup::Set(value),
            Some((_, None)) => Lookup::Unknown,
            None if self.is_open => Lookup::Unknown,
            None => Lookup::Unset,
        }
    }

    /// To come back to this state.
    pub(super) fn mark(&self) -> usize {
        self.changes.len()
    }

    pub(super) fn back_to(&mut self, mark: usize) {
        for change in self.changes.drain(mark.min(self.changes.len())..).rev() {
            match change {
                ScopeChange::Variable(name, Some(before)) => drop(self.variables.insert(name, before)),
                ScopeChange::Variable(name, None) => drop(self.variables.remove(&name)),
                ScopeChange::Image(name, Some(before)) => drop(self.image.insert(name, before)),
                ScopeChange::Image(name, None) => drop(self.image.remove(&name)),
                ScopeChange::Argument(name) => drop(self.arguments.remove(&name)),
                ScopeChange::Stage(before) => self.arguments = before,
                ScopeChange::Forgotten { since, is_open } => (self.since, self.is_open) = (since, is_open),
            }
        }
    }
}

/// How a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadAs {
    /// As one word.
    Word,
    /// As words, of which there may be several then.
    Words,
    /// As the body of a heredoc.
    Body,
}

/// Replaces variables within the bounds of one file.
#[derive(Debug)]
pub(super) struct Expander {
    escape: char,
    budget: Cell<usize>,
    /// Where the budget was used up first.
    exhausted: Option<(usize, String)>,
}

impl Expander {
    pub(super) fn new(escape: char) -> Self {
        Self { escape, budget: Cell::new(limits::INTERPOLATED_BYTES), exhausted: None }
    }

    /// Takes the work and the memory of a node from the budget; whether there is enough.
    pub(super) fn charge(&mut self, at: usize, path: &str, problems: &mut Problems<'_>) -> bool {
        const NODE: usize = 16;
        if let Some(rest) = self.budget.get().checked_sub(NODE) {
            self.budget.set(rest);
            return true;
        }
        self.fail(&LexError::Long, at, path, problems);
        false
    }

    /// Reports an error. That the budget is used up is reported once, at the end.
    fn fail(&mut self, error: &LexError, at: usize, path: &str, problems: &mut Problems<'_>) {
        if *error == LexError::Long {
            self.exhausted.get_or_insert_with(|| (at, path.to_owned()));
            self.budget.set(0);
        } else if !problems.is_full() {
            problems.mistake(at, path, message(error));
        }
    }

    /// Reports that the budget is used up, if it is: also in a stage that is not needed.
    pub(super) fn report(self, problems: &mut Problems<'_>) {
        if let Some((at, path)) = self.exhausted {
            problems.mistake(at, &path, message(&LexError::Long));
        }
    }

    /// Replaces the variables of a text; `None` if it cannot be read, which is reported about `path`.
    pub(super) fn expand(
        &mut self,
        (text, span): (&str, Span),
        reading: ReadAs,
        environment: &Environment,
        path: &str,
        problems: &mut Problems<'_>,
    ) -> Option<Expansion> {
        let lexer = Lexer {
            escape: if reading == ReadAs::Body { '\\' } else { self.escape },
            quotes: if reading == ReadAs::Body { Quotes::Ordinary } else { Quotes::Removed },
            raw_escapes: false,
            keep_unset: false,
            lookup: &|name| environment.lookup(name),
            budget: &self.budget,
        };
        match lexer.read(text) {
            Ok(Lexed { unknown, .. }) if !unknown.is_empty() => Some(Expansion::Unknown(unknown)),
            Ok(Lexed { words, .. }) if reading == ReadAs::Words => {
                let words: Vec<String> = words.into_iter().map(|word| word.text).collect();
                Some(Expansion::Known(words.join(" ")))
            }
            Ok(Lexed { text, .. }) => Some(Expansion::Known(text)),
            Err((error, at)) => {
                let is_verbatim = span.end - span.start == text.len();
                let at = if is_verbatim { span.start + at } else { span.start };
                self.fail(&error, at, path, problems);
                None
            }
        }
    }
}

fn message(error: &LexError) -> Message {
    let message = Message::new(error.to_string());
    match error {
        LexError::Quote(_) => message.with_hint("close it, or put the escape character before it"),
        LexError::Brace | LexError::Name | LexError::Slash | LexError::Operator { .. } => {
            message.with_hint("write `${NAME}` or `${NAME:-default}`; `\\$` is a literal `$`")
        }
        _ => message,
    }
}
