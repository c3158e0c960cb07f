//! Hides secrets in what is shown of a task: its plan and its log.
//!
//! Two rules. What is known to be a secret (passwords of logins, values whose names suggest a secret, values of such
//! variables that a Compose file took in) is masked wherever it occurs. Free text (scripts, flags, values) is searched
//! for the forms that secrets have there, see [`text`]; what is found counts as known from then on.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::kaniko;
use crate::mask::forms::Found;
use crate::mask::matcher::{masked, merged};
use crate::secret::Secret;
use crate::spec::TaskSpec;

mod command;
mod encodings;
mod forms;
mod matcher;
mod names;
mod pieces;
mod secrets;
mod visible;
mod wrapped;

pub use matcher::{Matcher, render};
pub use names::name_suggests_secret;
pub use pieces::{SHORTEST, pieces};
pub use secrets::{Secrets, TooManySecrets};
pub use visible::VisibleText;

/// What is shown instead of a secret.
pub const MASK: &str = "***";

/// In an image name only what cannot be an ordinary word is a secret: the name must stay usable.
const LEAST_IN_REFERENCE: usize = 8;

/// How a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// By a shell, or as a Dockerfile: `$NAME` names a secret and is not one itself.
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
    masked(text, &merged(spans(text, form))).into_owned()
}

/// The secrets of tasks that are shown together.
#[derive(Debug, Clone, Default)]
pub struct Mask {
    /// As they are, with those of several lines.
    secrets: Vec<Secret>,
    /// Finds them in one line, however they are written.
    matcher: Matcher,
    /// There are too many secrets to find them: nothing is shown.
    is_blind: bool,
    /// The variables that Kaniko takes a secret from.
    handed: BTreeSet<String>,
}

impl Mask {
    /// The secrets of `tasks`, and those that are `known` to have gone into them.
    pub fn of<'s>(tasks: impl IntoIterator<Item = &'s TaskSpec>, known: &[Secret]) -> Self {
        let mut all = BTreeSet::new();
        let mut mask = Self::default();
        let mut secrets = Secrets::default();
        for secret in known {
            all.extend(pieces(secret.expose()));
        }
        for task in tasks {
            let handed = kaniko::secret_variables(&task.kaniko.extra_flags);
            let mut found_here: Vec<&str> =
                task.credentials.iter().map(|login| login.password.expose()).collect();
            found_here.extend(task.kaniko.secrets.values().map(Secret::expose));
            let env = task.env.iter().map(|(name, value)| (name, value.expose()));
            let args = task.kaniko.build_args.iter().map(|(name, value)| (name, value.as_str()));
            let is_handed = |name: &str| handed.contains(name);
            found_here.extend(env.clone().filter(|(name, _)| is_handed(name)).map(|(_, value)| value));
            for (name, value) in env.chain(args) {
                if name_suggests_secret(name) {
                    found_here.push(value);
                }
                found_here.extend(found(value, Form::Plain));
            }
            let scripts = [&task.pre_script, &task.post_script, &task.kaniko.dockerfile_inline];
            for script in scripts.into_iter().flatten() {
                found_here.extend(found(script, Form::Script));
            }
            let flags = [kaniko::free_arguments(&task.kaniko), task.kaniko.extra_flags.clone()].concat();
            for (flag, span) in flags.iter().zip(argument_spans(&flags)) {
                found_here.extend(span.into_iter().map(|span| &flag[span]));
            }
            all.extend(found_here.into_iter().flat_map(pieces));
            for login in &task.credentials {
                secrets.add_login(&login.username, login.password.expose());
            }
            mask.handed.extend(handed.into_iter().map(str::to_owned));
        }
        for secret in &all {
            secrets.add(secret);
        }
        match secrets.matcher() {
            Ok(matcher) => mask.matcher = matcher,
            Err(_) => mask.is_blind = true,
        }
        mask.secrets = all.into_iter().map(Secret::new).collect();
        mask
    }

    /// The value of a variable.
    pub fn value(&self, name: &str, value: &str) -> String {
        let is_secret = name_suggests_secret(name) || self.handed.contains(name);
        if is_secret { MASK.to_owned() } else { self.text(value, Form::Plain) }
    }

    /// Any text.
    pub fn text(&self, text: &str, form: Form) -> String {
        self.masked(text, spans(text, form))
    }

    /// An image's name.
    pub fn reference(&self, text: &str) -> String {
        masked(text, &merged(self.known_in(text, |secret| secret.len() >= LEAST_IN_REFERENCE))).into_owned()
    }

    /// The arguments of a program; a flag and its value may be two of them.
    pub fn arguments(&self, args: &[String]) -> Vec<String> {
        let spans = argument_spans(args);
        args.iter().zip(spans).map(|(arg, spans)| self.masked(arg, spans)).collect()
    }

    /// `text` with `spans` and all known secrets masked.
    fn masked(&self, text: &str, mut spans: Vec<Range<usize>>) -> String {
        if self.is_blind {
            return MASK.to_owned();
        }
        // The others are found line by line.
        spans.extend(self.known_in(text, |secret| secret.contains('\n')));
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let found = self.matcher.spans(line.trim_end_matches(['\r', '\n']).as_bytes());
            spans.extend(found.into_iter().map(|span| start + span.start..start + span.end));
            start += line.len();
        }
        masked(text, &merged(spans)).into_owned()
    }

    fn known_in(&self, text: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<Range<usize>> {
        let secrets = self.secrets.iter().map(Secret::expose).filter(|secret| is_wanted(secret));
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

#[cfg(test)]
mod tests;
