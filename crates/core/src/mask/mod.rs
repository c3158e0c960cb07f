//! Hides secrets in what is shown of a task.
//!
//! Two rules. What is known to be a secret (passwords of logins, values whose names suggest a secret, values of such
//! variables that a Compose file took in) is masked wherever it occurs. Free text (scripts, flags, values) is searched
//! for the forms that secrets have there, see [`text`]; what is found counts as known from then on.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::kaniko;
use crate::mask::forms::Found;
use crate::secret::Secret;
use crate::spec::TaskSpec;

mod command;
mod forms;
mod names;
mod pieces;

pub use names::name_suggests_secret;
pub use pieces::{SHORTEST, pieces};

/// What is shown instead of a secret.
pub const MASK: &str = "***";

/// In an image name only what cannot be an ordinary word is a secret: the name must stay usable.
const LEAST_IN_REFERENCE: usize = 8;

/// How a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// By a shell: `$NAME` names a secret and is not one itself.
    Script,
    /// As it stands.
    Plain,
    /// A part of a file in a message about it: a blank after the colon of `password:` may be what is missing.
    Message,
}

/// A text without what looks like a secret in it: passwords in URLs and in `user:password@host`, values after flags,
/// variables and keys whose names suggest a secret, `Authorization` headers, logins of well-known commands, tokens of
/// well-known services, private keys.
pub fn text(text: &str, form: Form) -> String {
    masked(text, spans(text, form))
}

/// The secrets of one task.
#[derive(Debug, Clone, Default)]
pub struct Mask {
    secrets: Vec<Secret>,
    /// The variables that Kaniko takes a secret from.
    handed: BTreeSet<String>,
}

impl Mask {
    /// The secrets of `task`, and those that are `known` to have gone into it.
    pub fn of(task: &TaskSpec, known: &[Secret]) -> Self {
        let handed = kaniko::secret_variables(&task.kaniko.extra_flags);
        let mut secrets = Vec::new();
        let mut whole = Vec::new();
        whole.extend(known.iter().map(Secret::expose));
        whole.extend(task.credentials.iter().map(|login| login.password.expose()));
        whole.extend(
            task.env
                .iter()
                .filter(|(name, _)| handed.contains(name.as_str()))
                .map(|(_, value)| value.expose()),
        );
        let env = task.env.iter().map(|(name, value)| (name, value.expose()));
        let args = task.kaniko.build_args.iter().map(|(name, value)| (name, value.as_str()));
        for (name, value) in env.chain(args) {
            if name_suggests_secret(name) {
                whole.push(value);
            }
            secrets.extend(found(value, Form::Plain));
        }
        for script in [&task.pre_script, &task.post_script].into_iter().flatten() {
            secrets.extend(found(script, Form::Script));
        }
        let flags = &task.kaniko.extra_flags;
        for (flag, span) in flags.iter().zip(argument_spans(flags)) {
            secrets.extend(span.into_iter().map(|span| &flag[span]));
        }
        // Common words are not masked, whatever variable has them as its value.
        secrets
            .retain(|secret| secret.len() >= SHORTEST && !["true", "false", "null", "none"].contains(secret));
        let pieces = whole.into_iter().flat_map(pieces).map(Secret::new);
        Self {
            secrets: secrets.into_iter().map(Secret::new).chain(pieces).collect(),
            handed: handed.into_iter().map(str::to_owned).collect(),
        }
    }

    /// The value of a variable.
    pub fn value(&self, name: &str, value: &str) -> String {
        let is_secret = name_suggests_secret(name) || self.handed.contains(name);
        if is_secret { MASK.to_owned() } else { self.text(value, Form::Plain) }
    }

    /// Any text.
    pub fn text(&self, text: &str, form: Form) -> String {
        let mut spans = spans(text, form);
        spans.extend(self.known_in(text, SHORTEST));
        masked(text, spans)
    }

    /// An image's name.
    pub fn reference(&self, text: &str) -> String {
        masked(text, self.known_in(text, LEAST_IN_REFERENCE))
    }

    /// The arguments of a program; a flag and its value may be two of them.
    pub fn arguments(&self, args: &[String]) -> Vec<String> {
        let spans = argument_spans(args);
        let shown = args.iter().zip(spans).map(|(arg, mut spans)| {
            spans.extend(self.known_in(arg, SHORTEST));
            masked(arg, spans)
        });
        shown.collect()
    }

    fn known_in(&self, text: &str, least: usize) -> Vec<Range<usize>> {
        let secrets = self.secrets.iter().map(Secret::expose).filter(|secret| secret.len() >= least);
        secrets
            .flat_map(|secret| text.match_indices(secret).map(|(at, found)| at..at + found.len()))
            .collect()
    }
}

/// Every range of `text` that looks like a secret; they may overlap.
fn spans(text: &str, form: Form) -> Vec<Range<usize>> {
    // A short text is a secret only with one of these characters: this skips most values of a file.
    if text.len() < 16 && !text.contains(['@', ':', '=', ' ']) && form != Form::Script {
        return Vec::new();
    }
    let mut found = Found::new(text, form);
    forms::search(&mut found);
    if form == Form::Script {
        command::search(&mut found);
    }
    found.spans
}

fn found(text: &str, form: Form) -> Vec<&str> {
    spans(text, form).into_iter().map(|span| &text[span]).collect()
}

/// Where the secrets of each argument stand. Nothing ends the value of an argument but its own end.
fn argument_spans(args: &[String]) -> Vec<Vec<Range<usize>>> {
    let mut value_follows = false;
    let mut all = Vec::new();
    for arg in args {
        let name_of_value = ["--build-arg=", "--label=", "--annotation="]
            .into_iter()
            .find_map(|flag| Some((flag.len(), arg.strip_prefix(flag)?)))
            .unwrap_or((0, arg));
        let (start, rest) = name_of_value;
        let spans = match rest.split_once('=') {
            _ if value_follows && forms::may_be_secret(arg) => std::iter::once(0..arg.len()).collect(),
            Some((name, value)) if forms::names_secret(name) && forms::may_be_secret(value) => {
                std::iter::once(start + name.len() + 1..arg.len()).collect()
            }
            _ => spans(arg, Form::Plain),
        };
        value_follows = arg.starts_with('-') && !arg.contains('=') && forms::names_secret(arg);
        all.push(spans);
    }
    all
}

fn masked(text: &str, mut spans: Vec<Range<usize>>) -> String {
    spans.sort_by_key(|span| (span.start, span.end));
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for span in spans {
        if span.start >= done {
            out.push_str(&text[done..span.start]);
            out.push_str(MASK);
        }
        done = done.max(span.end);
    }
    out.push_str(&text[done..]);
    out
}

#[cfg(test)]
mod tests;
