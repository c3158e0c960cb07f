//! What `--mount` and `--device` hold: a list with commas, of keys and values.

use crate::dockerfile::problems::Wrong;
use crate::dockerfile::text::Span;
use crate::dockerfile::tree::{Device, MountOption, Word};
use crate::message::Message;
use crate::report::{did_you_mean, shown};

/// The fields of a line with commas: each with where it is in the text, if that can be said; `None` if quotes are wrong.
fn fields(text: &str) -> Option<Vec<(String, Option<usize>)>> {
    if text.is_empty() {
        return None;
    }
    let (mut fields, mut rest) = (Vec::new(), text);
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (mut field, mut inner) = (String::new(), quoted);
            loop {
                let (before, after) = inner.split_once('"')?;
                field.push_str(before);
                inner = after;
                let Some(after) = after.strip_prefix('"') else { break };
                field.push('"');
                inner = after;
            }
            fields.push((field, None));
            match inner.strip_prefix(',') {
                Some(after) => rest = after,
                None => return inner.is_empty().then_some(fields),
            }
        } else {
            let (field, after) =
                rest.split_once(',').map_or((rest, None), |(field, after)| (field, Some(after)));
            if field.contains('"') {
                return None;
            }
            fields.push((field.to_owned(), Some(text.len() - rest.len())));
            match after {
                Some(after) => rest = after,
                None => return Some(fields),
            }
        }
    }
}

fn wrong_quotes(text: &str) -> Message {
    let what = if text.is_empty() { "it is empty" } else { "its quotes are wrong" };
    Message::new(format!("`{}` is not a list of options: {what}", shown(text)))
        .with_hint("separate options with commas: `type=bind,target=/src`")
}

/// A part of a word: where it is written if the word is as long in the file, else the whole word.
fn part(word: &Word, start: usize, len: usize) -> Span {
    if word.span.end - word.span.start == word.text.len() {
        Span { start: word.span.start + start, end: word.span.start + start + len }
    } else {
        word.span
    }
}

/// The options of a mount.
pub(super) fn options(word: &Word) -> Result<Vec<MountOption>, Wrong> {
    let fields = fields(&word.text).ok_or_else(|| (word.span.start, wrong_quotes(&word.text)))?;
    let mut options = Vec::new();
    for (field, at) in fields {
        let span = at.map_or(word.span, |at| part(word, at, field.len()));
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => {
                let start = at.map(|at| at + key.len() + 1);
                let span = start.map_or(word.span, |start| part(word, start, value.len()));
                (key, Some(Word { text: value.to_owned(), span }))
            }
            None => (field.as_str(), None),
        };
        let key = key.to_lowercase();
        if let (true, Some(value)) = (key == "from", &value)
            && value.text.find('$').is_some_and(|at| at + 1 != value.text.len())
        {
            let message = Message::new("variables are not replaced in `from`")
                .with_hint("add a stage `FROM image:$TAG AS name`, and write `from=name`");
            return Err((value.span.start, message));
        }
        options.push(MountOption { key, value, span });
    }
    Ok(options)
}

/// A device.
pub(super) fn device(word: &Word) -> Result<Device, Wrong> {
    let wrong = |message| Err((word.span.start, message));
    let Some(fields) = fields(&word.text) else { return wrong(wrong_quotes(&word.text)) };
    let mut device = Device::default();
    for (field, _) in fields {
        let (key, value) =
            field.split_once('=').map_or((field.as_str(), None), |(key, value)| (key, Some(value)));
        match (key.to_lowercase().as_str(), value) {
            ("required", None) => device.required = true,
            ("required", Some(value)) => match boolean(value) {
                Some(value) => device.required = value,
                None => return wrong(not_boolean("required", value)),
            },
            ("name", Some(_)) if !device.name.is_empty() => {
                return wrong(Message::new("the device has two names"));
            }
            ("name", Some(value)) => value.clone_into(&mut device.name),
            _ if device.name.is_empty() => device.name = field,
            (key, _) => {
                let message = Message::new(format!("`{}` is not an option of a device", shown(key)));
                return wrong(message.with_hint(did_you_mean(key, &["name", "required"])));
            }
        }
    }
    Ok(device)
}

/// What Go takes for a truth value.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// The mistake that a value is none.
pub(super) fn not_boolean(key: &str, value: &str) -> Message {
    Message::new(format!("`{key}={}` is not `true` or `false`", shown(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Option<Vec<String>> {
        Some(fields(text)?.into_iter().map(|(field, _)| field).collect())
    }

    #[test]
    fn fields_are_csvs() {
        let is = |fields: &[&str]| Some(fields.iter().map(|field| (*field).to_owned()).collect());
        assert_eq!(texts("a,b=c,"), is(&["a", "b=c", ""]));
        assert_eq!(texts("\"a,b\",\"c\"\"d\""), is(&["a,b", "c\"d"]));
        assert_eq!(texts("\"a\","), is(&["a", ""]));
        for text in ["", "a\"b", "\"a", "\"a\"b"] {
            assert_eq!(texts(text), None, "{text}");
        }
    }
}
