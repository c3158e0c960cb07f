//! Reads single values, lists and mappings of a config file.

use std::collections::BTreeMap;

use crate::config::keys;
use crate::config::layer::{Held, Key, MapLayer};
use crate::decode::Field;
use crate::image;
use crate::message::Message;
use crate::report::{Findings, Location, did_you_mean, shown};
use crate::yaml::{Replacement, Value};

/// A single value, or an empty one that clears it.
pub(super) fn single<T>(
    field: &Field<'_>,
    findings: &mut Findings,
    read: impl Fn(&str) -> Result<T, Message>,
) -> Key<T> {
    let value = if field.clears() {
        Held::Cleared
    } else {
        match read_text(field, findings).map(read) {
            Some(Ok(value)) => Held::Set(value),
            Some(Err(message)) => {
                refuse(field, message, findings);
                Held::Bad
            }
            None => Held::Bad,
        }
    };
    Key::new(value, field.location.clone())
}

/// Reports what is wrong with a value. One whose variables were replaced is shown as the file has it: the value may be
/// a secret.
pub(super) fn refuse(field: &Field<'_>, message: Message, findings: &mut Findings) {
    let message = match field.written() {
        None => message,
        Some(written) => {
            let text = format!("`{}`, with its variables replaced, is not a valid value", shown(written));
            let form = keys::form_at(&field.location.path);
            Message { hint: form.map(|form| format!("it must be: {form}")), ..Message::new(text) }
        }
    };
    findings.mistake(field.location.clone(), message);
}

/// A single value without NUL bytes, which no process accepts. `None` after a mistake, also in one of its variables.
pub(crate) fn read_text<'n>(field: &Field<'n>, findings: &mut Findings) -> Option<&'n str> {
    let text = field.text(findings)?;
    if field.node.replacement == Replacement::Failed {
        return None;
    }
    if text.contains('\0') {
        findings.mistake(field.location.clone(), Message::new("holds a NUL byte").with_hint("remove it"));
        return None;
    }
    Some(text)
}

pub(super) fn one_of<T: Copy>(field: &Field<'_>, known: &[(&str, T)], findings: &mut Findings) -> Key<T> {
    let accepted: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    single(field, findings, |text| {
        known.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
            // Other names of the same architectures.
            let hint = match text {
                "x86_64" | "x86-64" | "x64" if accepted.contains(&"amd64") => {
                    "did you mean `amd64`?".to_owned()
                }
                "aarch64" if accepted.contains(&"arm64") => "did you mean `arm64`?".to_owned(),
                _ => did_you_mean(text, &accepted),
            };
            Message::new(format!("`{}` is not a valid value", shown(text))).with_hint(hint)
        })
    })
}

/// A map of texts; a name for which `wrong_name` returns a reason is a mistake.
pub(super) fn texts(
    field: &Field<'_>,
    wrong_name: impl Fn(&str) -> Option<Message>,
    findings: &mut Findings,
) -> MapLayer<String> {
    map(field, wrong_name, |text| Ok(text.to_owned()), findings)
}

fn map<T>(
    field: &Field<'_>,
    wrong_name: impl Fn(&str) -> Option<Message>,
    read: impl Fn(&str) -> Result<T, Message>,
    findings: &mut Findings,
) -> MapLayer<T> {
    let mut map = MapLayer { cleared: field.clears(), ..MapLayer::default() };
    match &field.node.value {
        Value::Map(entries) if entries.is_empty() => {
            let hint = "write '' to clear the inherited entries";
            findings.notice(
                field.location.clone(),
                Message::new("`{}` adds nothing: inherited entries are kept").with_hint(hint),
            );
        }
        Value::Map(_) => {}
        _ if map.cleared => {}
        _ => {
            findings.mistake(
                field.location.clone(),
                Message::new(format!("expected a mapping, found {}", field.node.kind()))
                    .with_hint("write `NAME: value`, one per line"),
            );
        }
    }
    for (name, value) in field.entries() {
        if let Some(message) = wrong_name(name) {
            findings.mistake(value.location, message);
        } else if value.node.is_null() {
            findings.mistake(
                value.location,
                Message::new("has no value").with_hint("write '' for an empty string"),
            );
        } else if let Some(text) = read_text(&value, findings) {
            match read(text) {
                Ok(read) => {
                    map.entries.insert(name.to_owned(), (read, value.location));
                }
                Err(message) => refuse(&value, message, findings),
            }
        }
    }
    map
}

pub(super) fn verbatim(field: &Field<'_>, findings: &mut Findings) -> Key<String> {
    single(field, findings, |text| Ok(text.to_owned()))
}

/// A list of single values.
pub(super) fn list<T>(
    field: &Field<'_>,
    findings: &mut Findings,
    read: impl Fn(&str, &Location, &mut Findings) -> Result<T, Message>,
) -> Key<Vec<T>> {
    let value = match &field.node.value {
        _ if field.clears() => Held::Cleared,
        Value::List(_) => items(field, findings, &read).map_or(Held::Bad, Held::Set),
        _ => {
            field.expected("a list", findings);
            Held::Bad
        }
    };
    Key::new(value, field.location.clone())
}

/// The items of a list; `None` after a mistake.
fn items<T>(
    field: &Field<'_>,
    findings: &mut Findings,
    read: &impl Fn(&str, &Location, &mut Findings) -> Result<T, Message>,
) -> Option<Vec<T>> {
    let before = findings.mistakes.len();
    let mut values = Vec::new();
    for item in field.items() {
        if item.node.is_null() || matches!(&item.node.value, Value::Scalar { text, .. } if text.is_empty()) {
            // A job that writes the value of a variable here, which is empty, means no item.
            findings.notice(item.location, "is empty, ignored");
            continue;
        }
        let Some(text) = read_text(&item, findings) else { continue };
        match read(text, &item.location, findings) {
            Ok(value) => values.push(value),
            Err(message) => refuse(&item, message, findings),
        }
    }
    (findings.mistakes.len() == before).then_some(values)
}

/// A map of registries, each with what `read` makes of its text.
pub(super) fn by_registry<T>(
    field: &Field<'_>,
    findings: &mut Findings,
    read: impl Fn(&str) -> Result<T, Message>,
) -> MapLayer<T> {
    let map = map(field, |name| registry(name).err(), read, findings);
    let mut entries = BTreeMap::new();
    for (name, (value, location)) in map.entries {
        let Ok(registry) = registry(&name) else { continue };
        if let Some((_, earlier)) = entries.insert(registry, (value, location.clone())) {
            let message = Message::new(format!("the same registry as in {earlier}"));
            findings.mistake(location, message.with_hint("keep one"));
        }
    }
    MapLayer { cleared: map.cleared, entries }
}

/// Host and port of a registry, in the form that logins have.
pub(super) fn registry(text: &str) -> Result<String, Message> {
    image::registry_host(text).ok_or_else(|| {
        Message::new(format!("`{}` is not a registry", shown(text))).with_hint("HOST or HOST:PORT")
    })
}
