//! Changes of a config file by options, before it is decoded: a key that does not exist is then found like one of the file.

use crate::change::{Change, NewValue, entry};
use crate::config::forms::{KeyDoc, ValueForm};
use crate::config::keys::TASK;
use crate::message::Message;
use crate::report::{Findings, nearest, shown};
use crate::yaml::{Node, Value};

/// What a path can begin with.
const SELECTORS: &str = "`global.KEY`, `bake[0].KEY` for an entry, or `*.KEY` for every entry";

/// Applies the changes, in their order.
pub(super) fn apply(tree: &mut Node, changes: &[Change], findings: &mut Findings) {
    for change in changes {
        let (selector, path) = change.parts();
        let wrong = match select(tree, selector, change) {
            Ok(tasks) => tasks.into_iter().find_map(|task| set(task, &TASK, path, change).err()),
            Err(message) => Some(message),
        };
        if let Some(message) = wrong {
            findings.mistake(change.location(), message);
        }
    }
}

/// The tasks that a path begins with: `global`, entries of `bake`.
fn select<'t>(tree: &'t mut Node, selector: &str, change: &Change) -> Result<Vec<&'t mut Node>, Message> {
    let count = match tree.get("bake").map(|bake| &bake.value) {
        Some(Value::List(entries)) => entries.len(),
        _ => 0,
    };
    let number =
        selector.strip_prefix("bake[").and_then(|rest| rest.strip_suffix(']')?.parse::<usize>().ok());
    match (selector, number) {
        // Without entries `global` alone is the task.
        ("*", _) if count > 0 => Ok(entries(tree)),
        ("global" | "*", _) => Ok(vec![below(tree, "global", change)]),
        (_, Some(number)) => {
            entries(tree).into_iter().nth(number).map(|entry| vec![entry]).ok_or_else(|| {
                Message::new(format!("there is no entry {number}: the file has {count}"))
                    .with_hint("entries are counted from 0; a file without any has `global` alone")
            })
        }
        _ => {
            let hint = nearest(selector, &["global"]).map(|name| format!("did you mean `{name}`?"));
            let text = format!("there is no service `{}`: no Compose file is read", shown(selector));
            Err(Message::new(text).with_hint(hint.unwrap_or_else(|| SELECTORS.to_owned())))
        }
    }
}

fn entries(tree: &mut Node) -> Vec<&mut Node> {
    let Value::Map(keys) = &mut tree.value else { return Vec::new() };
    match keys.iter_mut().find(|entry| entry.key == "bake").map(|entry| &mut entry.value.value) {
        Some(Value::List(entries)) => entries.iter_mut().collect(),
        _ => Vec::new(),
    }
}

/// Sets the value at a path below one of these sections.
fn set(node: &mut Node, keys: &[KeyDoc], path: &str, change: &Change) -> Result<(), Message> {
    let (key, rest) = path.split_once('.').map_or((path, None), |(key, rest)| (key, Some(rest)));
    let form = keys.iter().find(|it| it.name == key).map(|it| it.form);
    match (form, rest) {
        (Some(ValueForm::Section(keys)), Some(rest)) => set(below(node, key, change), keys, rest, change),
        // Names may have dots.
        (Some(ValueForm::Map(_)), Some(name)) => {
            let NewValue::Text(text) = change.value() else { return Err("expected a single value".into()) };
            *below(below(node, key, change), name, change) = scalar(text, change)?;
            Ok(())
        }
        (Some(_), Some(_)) => {
            Err(Message::new(format!("`{key}` has no keys below it"))
                .with_hint(format!("set `{key}` itself")))
        }
        (None, _) => {
            // The decoder reports the key.
            *below(node, key, change) = change.text("");
            Ok(())
        }
        (Some(form), None) => write(below(node, key, change), form, change),
    }
}

/// Writes the value of a key.
fn write(node: &mut Node, form: ValueForm, change: &Change) -> Result<(), Message> {
    let new = match (form, change.value()) {
        (ValueForm::Texts(_), NewValue::Text(text)) => change.texts(text),
        (ValueForm::Records(records), NewValue::Text(text)) => {
            if text.is_empty() || records.word == Some(text) {
                change.text(text)
            } else {
                let pairs: Option<Vec<_>> = text.split(',').map(|part| part.split_once('=')).collect();
                let hint = || format!("write KEY=VALUE,KEY=VALUE: a {form}");
                record(
                    pairs.ok_or_else(|| Message::new("not an entry of the list").with_hint(hint()))?,
                    change,
                )
            }
        }
        (_, NewValue::Record(pairs)) => {
            record(pairs.iter().map(|(key, value)| (*key, value.as_str())).collect(), change)
        }
        (_, NewValue::Text(text)) => scalar(text, change)?,
    };
    match (&mut node.value, new) {
        (Value::List(items), Node { value: Value::List(more), .. }) if change.appends() => items.extend(more),
        (_, new) => *node = new,
    }
    Ok(())
}

/// A list with one mapping.
fn record(pairs: Vec<(&str, &str)>, change: &Change) -> Node {
    let entries = pairs.into_iter().map(|(key, value)| (key, change.text(value)));
    change.node(Value::List(vec![change.mapping(entries)]))
}

fn scalar(text: &str, change: &Change) -> Result<Node, Message> {
    if change.appends() {
        return Err(Message::new("`+=` adds to a list, and this is not one").with_hint("write `=`"));
    }
    Ok(change.text(text))
}

/// The value of a key, which is added if it does not exist. What has no keys becomes a mapping.
fn below<'t>(node: &'t mut Node, key: &str, change: &Change) -> &'t mut Node {
    if !matches!(node.value, Value::Map(_)) {
        *node = change.mapping([]);
    }
    let Value::Map(entries) = &mut node.value else { unreachable!("it is a mapping now") };
    let place = entries.iter().position(|entry| entry.key == key).unwrap_or_else(|| {
        entries.push(entry(key, change.mapping([])));
        entries.len() - 1
    });
    &mut entries[place].value
}
