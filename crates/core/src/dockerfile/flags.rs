//! The flags of each instruction.

use std::collections::BTreeSet;

use crate::dockerfile::problems::Problems;
use crate::dockerfile::split::RawFlag;
use crate::dockerfile::tree::{Flag, Word};
use crate::message::Message;
use crate::report::{did_you_mean, shown};

/// What follows a flag's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FlagValue {
    /// Nothing, `true` or `false`.
    Switch,
    /// A text.
    Text,
    /// A text; the flag may stand several times.
    Texts,
}

use FlagValue::{Switch, Text, Texts};

/// The flags of an instruction (its keyword in upper case).
fn known(instruction: &str) -> &'static [(&'static str, FlagValue)] {
    match instruction {
        "FROM" => &[("platform", Text)],
        "RUN" => &[("mount", Texts), ("network", Text), ("security", Text), ("device", Texts)],
        "COPY" => &[
            ("from", Text),
            ("chown", Text),
            ("chmod", Text),
            ("link", Switch),
            ("parents", Switch),
            ("exclude", Texts),
        ],
        "ADD" => &[
            ("chown", Text),
            ("chmod", Text),
            ("link", Switch),
            ("keep-git-dir", Switch),
            ("checksum", Text),
            ("unpack", Switch),
            ("exclude", Texts),
        ],
        "HEALTHCHECK" => &[
            ("interval", Text),
            ("timeout", Text),
            ("start-period", Text),
            ("start-interval", Text),
            ("retries", Text),
        ],
        _ => &[],
    }
}

/// A flag as its parts.
pub(super) fn flag(raw: &RawFlag<'_>) -> Flag {
    let (name, value) = match raw.text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (raw.text.as_str(), None),
    };
    let value =
        value.map(|value| Word { text: value.to_owned(), span: raw.span(name.len() + 1, raw.text.len()) });
    let name = name.strip_prefix("--").unwrap_or(name).to_owned();
    Flag { name, value, span: raw.slice.span() }
}

/// Reports flags that are read differently from how they look; whether there is none.
pub(super) fn check_characters(instruction: &str, flags: &[Flag], problems: &mut Problems<'_>) -> bool {
    let is_ascii =
        |flag: &&Flag| flag.name.is_ascii() && flag.value.as_ref().is_none_or(|value| value.text.is_ascii());
    let strange = flags.iter().filter(|flag| !is_ascii(flag));
    let mut is_right = true;
    for flag in strange {
        let message = Message::new("a flag has a character that is not ASCII")
            .with_hint("BuildKit and Kaniko read the bytes of a flag one by one; use ASCII characters");
        problems.mistake(flag.span.start, instruction, message);
        is_right = false;
    }
    is_right
}

/// Reports flags that an instruction does not have, or that have a wrong value; whether there is none.
pub(super) fn check(instruction: &str, flags: &[Flag], problems: &mut Problems<'_>) -> bool {
    let known = known(instruction);
    let mut is_right = true;
    let mut seen = BTreeSet::new();
    for flag in flags {
        let is_repeated = !seen.insert(flag.name.as_str());
        if let Some(message) = mistake(flag, is_repeated, instruction, known) {
            problems.mistake(flag.span.start, instruction, message);
            is_right = false;
            if problems.is_full() {
                break;
            }
        }
    }
    is_right
}

fn mistake(
    flag: &Flag,
    is_repeated: bool,
    instruction: &str,
    known: &[(&'static str, FlagValue)],
) -> Option<Message> {
    let Flag { name, value, .. } = flag;
    let value = value.as_ref().map(|value| value.text.as_str());
    let Some((_, kind)) = known.iter().find(|(known, _)| known == name) else {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let text = format!("`--{}` is not a flag of {instruction}", shown(name));
        let message = Message::new(text);
        return Some(if names.is_empty() { message } else { message.with_hint(did_you_mean(name, &names)) });
    };
    if *kind != Texts && is_repeated {
        return Some(Message::new(format!("`--{name}` is there twice")));
    }
    match (kind, value) {
        (Switch, Some(value)) if !["true", "false"].iter().any(|it| value.eq_ignore_ascii_case(it)) => {
            let text = format!("`--{name}={}` is not `true` or `false`", shown(value));
            Some(Message::new(text).with_hint(format!("`--{name}` alone is `true`")))
        }
        (Text | Texts, None) => {
            let text = format!("`--{name}` has no value");
            Some(Message::new(text).with_hint(format!("write `--{name}=VALUE`")))
        }
        _ => None,
    }
}
