//! Reads parts of a YAML tree as Kubernetes' own types and reports every mistake at its location.

use bakery_core::decode::Field;
use bakery_core::message::Message;
use bakery_core::report::Findings;
use bakery_core::yaml::{Node, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

/// The suffixes of a Kubernetes quantity.
const QUANTITY_SUFFIXES: [&str; 13] = ["m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// Reads a field as a type of Kubernetes. Keys that the type does not have are mistakes, too.
pub(super) fn typed<T: DeserializeOwned + Serialize>(
    field: &Field<'_>,
    findings: &mut Findings,
) -> Option<T> {
    let json = json(field.node);
    let value: T = match serde_path_to_error::deserialize(&json) {
        Ok(value) => value,
        Err(error) => {
            let at = follow(field, error.path());
            let text = error.inner().to_string();
            let number =
                text.contains("expected a string") && !text.contains("map") && !text.contains("sequence");
            let hint = if number {
                "quote it: '1' is a string, 1 is a number"
            } else {
                "the Kubernetes API reference has the type of this field"
            };
            findings.mistake(at.location, Message::new(text).with_hint(hint));
            return None;
        }
    };
    // Kubernetes' types ignore unknown keys: a key that is missing after a round trip was ignored.
    let taken = serde_json::to_value(&value).unwrap_or_default();
    let before = findings.mistakes.len();
    unknown(field, &json, &taken, findings);
    (findings.mistakes.len() == before).then_some(value)
}

/// Reads a list item by item, so that one mistake does not hide the next.
pub(super) fn list<T: DeserializeOwned + Serialize>(field: &Field<'_>, findings: &mut Findings) -> Vec<T> {
    if !matches!(field.node.value, Value::List(_)) {
        field.expected("a list", findings);
    }
    field.items().iter().filter_map(|item| typed(item, findings)).collect()
}

/// A Kubernetes quantity: `500m`, `20Gi`.
pub(super) fn quantity(field: &Field<'_>, findings: &mut Findings) -> Option<String> {
    let text = field.text(findings)?;
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let number_ok = number.parse::<f64>().is_ok_and(|number| number > 0.0);
    if number_ok && (suffix.is_empty() || QUANTITY_SUFFIXES.contains(&suffix)) {
        return Some(text.to_owned());
    }
    findings.mistake(
        field.location.clone(),
        Message::new(format!("`{text}` is not a Kubernetes quantity")).with_hint("for example 20Gi"),
    );
    None
}

/// The tree as JSON; plain scalars are resolved by YAML 1.2's core schema.
fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(entries) => {
            let entries = entries.iter().map(|entry| (entry.key.clone(), json(&entry.value)));
            serde_json::Value::Object(entries.collect())
        }
        Value::Scalar { .. } if node.is_null() => serde_json::Value::Null,
        Value::Scalar { text, plain: false } => text.as_str().into(),
        Value::Scalar { text, plain: true } => match text.as_str() {
            "true" | "True" | "TRUE" => true.into(),
            "false" | "False" | "FALSE" => false.into(),
            number => number.parse::<i64>().map_or_else(
                |_| match number.parse::<f64>() {
                    Ok(float) if float.is_finite() => float.into(),
                    _ => number.into(),
                },
                Into::into,
            ),
        },
    }
}

/// The deepest field on this path that exists.
fn follow<'n>(field: &Field<'n>, path: &Path) -> Field<'n> {
    let mut at = field.clone();
    for segment in path {
        let next = match segment {
            Segment::Seq { index } => at.items().into_iter().nth(*index),
            Segment::Map { key } => at.get(key),
            _ => None,
        };
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    at
}

fn unknown(field: &Field<'_>, given: &serde_json::Value, taken: &serde_json::Value, findings: &mut Findings) {
    match (given, taken) {
        (serde_json::Value::Object(given), serde_json::Value::Object(taken)) => {
            for (key, below) in field.entries() {
                match (given.get(key), taken.get(key)) {
                    (Some(given), Some(taken)) => unknown(&below, given, taken, findings),
                    (Some(given), None) if !given.is_null() => {
                        let hint = "check the spelling; the Kubernetes API reference lists the fields";
                        findings.mistake(
                            below.location,
                            Message::new("unknown key: Kubernetes has no such field here").with_hint(hint),
                        );
                    }
                    _ => {}
                }
            }
        }
        (serde_json::Value::Array(given), serde_json::Value::Array(taken)) => {
            for ((below, given), taken) in field.items().iter().zip(given).zip(taken) {
                unknown(below, given, taken, findings);
            }
        }
        _ => {}
    }
}
