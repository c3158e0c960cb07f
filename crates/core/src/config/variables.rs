//! Variables in a config file, in braces only: they are replaced in its values before these are decoded.
//!
//! Scripts and Dockerfiles stay as they are: they have variables of their own. A value is a text, whatever YAML would make of it. A secret of
//! the environment is a part of a login and of nothing else.

use std::collections::BTreeMap;

use crate::config::secrets::SecretPurpose;
use crate::config::values::{boolean, in_source};
use crate::decode::Field;
use crate::interpolate::{Budget, Filled, InterpolationError, Syntax};
use crate::mask::name_suggests_secret;
use crate::message::Message;
use crate::path;
use crate::report::{Findings, Location};
use crate::vars::Vars;
use crate::yaml::{Entry, Node, Replacement, Value};

/// The key at the top of the file that says whether variables are replaced.
pub(super) const KEY: &str = "variables";

/// The keys whose values are shown after they were decoded.
const SHOWN: [&str; 4] = ["context-path", "dockerfile", "repo", "custom-platform"];
/// The longest path that the system accepts.
const PATH_BYTES: usize = 4096;

/// Where the values of variables come from.
#[derive(Clone, Copy)]
pub enum Variables<'a> {
    /// There are none: every text stays as it is.
    None,
    /// They could not be read, which has been reported: what is wrong with values that hold them is not.
    Unknown,
    /// The environment and `.env`.
    Of {
        /// The variables.
        vars: &'a dyn Vars,
        /// Why the value of a variable is for logins only; `None` if it is not.
        withheld: &'a dyn Fn(&str, SecretPurpose) -> Option<Message>,
    },
}

/// A config file whose variables are replaced.
pub(super) struct ReplacedTree {
    /// The file.
    pub(super) tree: Node,
    /// Values, each with the text that the file has for it: messages about the whole build show that one.
    pub(super) written: BTreeMap<String, String>,
}

/// Replaces the variables of a file.
pub(super) fn replace(tree: &Node, variables: Variables<'_>, findings: &mut Findings) -> ReplacedTree {
    let key = Field::root(tree).get(KEY).filter(|field| !field.node.is_null());
    // What is wrong with the key is reported where it is decoded.
    let wanted = key.as_ref().map(|field| field.text(&mut Findings::default()).map(boolean));
    let variables = match (&wanted, variables) {
        (Some(Some(Ok(false))), _) => Variables::None,
        (Some(Some(Err(_)) | None), Variables::Of { .. }) => Variables::Unknown,
        (Some(Some(Ok(true))), Variables::None) => {
            if let Some(field) = key {
                let message = Message::new("only bakery-client replaces variables");
                findings.mistake(field.location, message.with_hint("send a file without them"));
            }
            Variables::None
        }
        _ => variables,
    };
    let mut replacer = Replacer {
        variables,
        budget: Budget::default(),
        places: 0,
        first: None,
        is_full: false,
        written: BTreeMap::new(),
        findings,
    };
    let tree = replacer.node(&Field::root(tree), Place::Top);
    let Replacer { first, places, written, findings, .. } = replacer;
    if let (Some(location), None) = (first, wanted) {
        let more = if places > 1 { format!(" ({places} places in this file)") } else { String::new() };
        let message = format!("`${{NAME}}` is now replaced by a variable{more}");
        let hint = "`variables: true` at the top says that this is meant, `variables: false` keeps every text; \
                    `$${` is a literal `${`";
        findings.notice(location, Message::new(message).with_hint(hint));
    }
    ReplacedTree { tree, written }
}

/// What a value is a part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    /// `bake`
    Entries,
    /// `global` or an entry
    Task,
    /// `kaniko-credentials` or an entry
    Logins,
    /// What a secret of the environment is for.
    Secret,
    Kaniko,
    /// A text with variables of its own.
    Script,
    Other,
}

impl Place {
    /// The place of a key's value.
    fn of_key(self, key: &str) -> Self {
        match (self, key) {
            (Self::Top, "global") => Self::Task,
            (Self::Top, "bake") => Self::Entries,
            (Self::Top, KEY)
            | (Self::Task, "pre-script" | "post-script")
            | (Self::Kaniko, "dockerfile-inline") => Self::Script,
            (Self::Task, "kaniko") => Self::Kaniko,
            (Self::Task, "kaniko-credentials") => Self::Logins,
            (Self::Logins, "username" | "password") => Self::Secret,
            _ => Self::Other,
        }
    }

    /// The place of a list's items.
    fn of_items(self) -> Self {
        if self == Self::Entries { Self::Task } else { self }
    }
}

struct Replacer<'a> {
    variables: Variables<'a>,
    budget: Budget,
    /// How many values hold `${`, and the first of them.
    places: usize,
    first: Option<Location>,
    /// The limit of the values has been exceeded and reported.
    is_full: bool,
    written: BTreeMap<String, String>,
    findings: &'a mut Findings,
}

impl Replacer<'_> {
    fn node(&mut self, field: &Field<'_>, place: Place) -> Node {
        let node = field.node;
        let value = match &node.value {
            _ if place == Place::Script || matches!(self.variables, Variables::None) => return node.clone(),
            Value::Scalar { text, .. } if text.contains("${") => return self.scalar(field, text, place),
            Value::Scalar { .. } => return node.clone(),
            Value::List(_) => {
                let place = place.of_items();
                Value::List(field.items().iter().map(|item| self.node(item, place)).collect())
            }
            Value::Map(entries) => {
                let values = field.entries();
                let entry = |(entry, (key, value)): (&Entry, (&str, Field<'_>))| Entry {
                    value: self.node(&value, place.of_key(key)),
                    key: entry.key.clone(),
                    ..*entry
                };
                Value::Map(entries.iter().zip(values).map(entry).collect())
            }
        };
        Node {
            value,
            tag: node.tag.clone(),
            file: node.file.clone(),
            replacement: Replacement::None,
            ..*node
        }
    }

    fn scalar(&mut self, field: &Field<'_>, text: &str, place: Place) -> Node {
        self.places += 1;
        self.first.get_or_insert_with(|| field.location.clone());
        let (value, replacement) = match self.filled(field, text, place) {
            Some(filled) => {
                self.remember(field, &filled, text);
                (Value::Scalar { text: filled, plain: false }, Replacement::Of(text.to_owned()))
            }
            None => (field.node.value.clone(), Replacement::Failed),
        };
        let node = field.node;
        Node { value, replacement, tag: node.tag.clone(), file: node.file.clone(), ..*node }
    }

    /// The text with its variables replaced; `None` after a mistake.
    fn filled(&mut self, field: &Field<'_>, text: &str, place: Place) -> Option<String> {
        let Variables::Of { vars, withheld } = self.variables else { return None };
        if self.is_full {
            return None;
        }
        let key = field.location.path.rsplit('.').next().unwrap_or_default();
        let is_secret = place == Place::Secret || name_suggests_secret(key);
        // It may be a password that has stood there since before variables were replaced: no part of it is shown.
        let is_literal = is_secret && !(text.starts_with("${") && text.ends_with('}'));
        let before = self.findings.mistakes.len();
        let mut wrong = |message: Message| self.findings.mistake(field.location.clone(), message);
        match self.budget.interpolate(Syntax::Braces, text, vars) {
            Ok(Filled { text, unset, used }) => {
                // All of them are reported.
                for name in &used {
                    let of_login = withheld(name, SecretPurpose::Login);
                    let refusal = match place {
                        Place::Secret => of_login,
                        _ if of_login.is_some() => withheld(name, SecretPurpose::Build),
                        _ => withheld(name, SecretPurpose::Build).map(for_logins),
                    };
                    refusal.into_iter().for_each(&mut wrong);
                }
                for name in &unset {
                    wrong(if is_literal { spoilt_secret() } else { not_set(name) });
                }
                if text.contains('\0') {
                    wrong("a variable's value holds a NUL byte".into());
                }
                (self.findings.mistakes.len() == before).then_some(text)
            }
            Err(error) => {
                // Every other value would exceed it as well.
                self.is_full = matches!(error, InterpolationError::Long);
                wrong(if is_literal && !self.is_full { spoilt_secret() } else { Message::of(&error) });
                None
            }
        }
    }

    /// Keeps how a value that is shown later is written.
    fn remember(&mut self, field: &Field<'_>, value: &str, written: &str) {
        let is_shown = SHOWN.iter().any(|key| field.location.path.ends_with(&format!(".{key}")));
        if is_shown && !value.is_empty() && value.len() <= PATH_BYTES {
            // As it is, and as its reader makes it.
            let forms = [Some(value.to_owned()), Some(path::tidy(value)), in_source(value)];
            self.written.extend(forms.into_iter().flatten().map(|form| (form, written.to_owned())));
        }
    }
}

fn not_set(name: &str) -> Message {
    Message::new(format!("the variable {name} is not set")).with_hint(format!(
        "set it, or write ${{{name}:-}} for an empty text, or $${{{name}}} for the text itself"
    ))
}

/// What is wrong with a secret that is not a variable alone.
fn spoilt_secret() -> Message {
    Message::new("holds `${`, which does not begin a variable that is set")
        .with_hint("`$${` is a literal `${`; `variables: false` at the top keeps every text")
}

/// Why a build does not get a variable, with what the variable is for.
fn for_logins(refusal: Message) -> Message {
    let allow = refusal.hint.unwrap_or_default();
    Message::new(refusal.text)
        .with_hint(format!("it can be the `password` or `username` of a login; {allow}"))
}
