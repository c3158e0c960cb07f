//! The JSON Schema of config.yaml, for editors: made from the declaration of the keys.
//!
//! Draft 7, which editors read best. It accepts what the decoder accepts with or without a notice: also a key without a
//! value, an empty one, which clears, and a text with variables, whatever these make of it.

use serde_json::{Map, Value, json};

use crate::config::forms::{KeyDoc, Pattern, Records, Scalar, Text, ValueForm};
use crate::config::keys::TOP;

const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// The schema.
pub fn schema() -> Value {
    let mut schema = section(&TOP, false);
    schema["$schema"] = DRAFT.into();
    schema["title"] = "Bakery's config.yaml".into();
    schema["description"] = "What `bakery-client --config FILE` builds.".into();
    schema["definitions"] = json!({
        "empty": {
            "description": "'' or [] clears the inherited value; a key without a value is ignored.",
            "type": ["string", "array", "null"],
            "maxLength": 0,
            "maxItems": 0,
        },
    });
    schema
}

/// A mapping with these keys and no others; of an entry of `bake` if `entry`.
fn section(keys: &[KeyDoc], entry: bool) -> Value {
    let keys = keys.iter().filter(|key| !(entry && key.global_only));
    let properties: Map<_, _> = keys.map(|key| (key.name.to_owned(), property(key, entry))).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn property(key: &KeyDoc, entry: bool) -> Value {
    let mut schema = match key.form {
        // A section cannot be cleared, only be without a value.
        ValueForm::Section(keys) => {
            let mut schema = section(keys, entry);
            schema["type"] = json!(["object", "null"]);
            schema
        }
        ValueForm::Entries(keys) => or_empty(&json!({ "type": "array", "items": section(keys, true) })),
        ValueForm::Records(records) => or_empty(&list_of(&records)),
        ValueForm::Word(words) => or_empty(&word(words)),
        ValueForm::Switch => or_empty(&json!({
            "anyOf": [{ "type": "boolean" }, { "type": "string", "pattern": or_variable("^(true|True|TRUE|false|False|FALSE)$") }],
        })),
        ValueForm::Text(text) => or_empty(&single(&text)),
        ValueForm::Texts(text) => {
            or_empty(&json!({ "type": "array", "items": { "anyOf": [single(&text), { "type": "null" }] } }))
        }
        ValueForm::Map(names) => or_empty(&json!({
            "type": "object",
            "propertyNames": matching(names.pattern),
            "additionalProperties": { "type": ["string", "number", "boolean"] },
        })),
        ValueForm::Unused { .. } => json!({ "deprecated": true }),
    };
    schema["description"] = description(key).into();
    schema
}

fn list_of(records: &Records) -> Value {
    let list = |item: Value| json!({ "type": "array", "items": item });
    let record = record(records);
    match records.word {
        None => list(record),
        Some(text) => {
            let word = word(&[text]);
            json!({ "anyOf": [list(json!({ "anyOf": [record, word] })), word] })
        }
    }
}

/// A mapping with the keys of one of its forms.
fn record(records: &Records) -> Value {
    let property = |key: &KeyDoc| {
        let mut schema = match key.form {
            ValueForm::Text(text) => single(&text),
            ValueForm::Word(words) => word(words),
            _ => json!({}),
        };
        schema["description"] = key.meaning.into();
        (key.name.to_owned(), schema)
    };
    let properties: Map<_, _> = records.keys.iter().map(property).collect();
    let form = |keys: Vec<&str>| {
        let others = records.keys.iter().filter(|key| !keys.contains(&key.name));
        let others: Map<_, _> = others.map(|key| (key.name.to_owned(), false.into())).collect();
        json!({ "required": keys, "properties": others })
    };
    let forms: Vec<_> = records.forms().map(form).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false, "oneOf": forms })
}

/// One of these words.
fn word(words: &[&str]) -> Value {
    json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": VARIABLE }] })
}

/// What makes a text one with variables.
const VARIABLE: &str = r"\$\{";

/// The pattern of a text that may have variables in place of what `pattern` asks for.
fn or_variable(pattern: &str) -> String {
    format!("{pattern}|{VARIABLE}")
}

/// The value, or what clears it.
fn or_empty(value: &Value) -> Value {
    json!({ "anyOf": [value, { "$ref": "#/definitions/empty" }] })
}

/// A single value. What is not a text in YAML has no pattern.
fn single(text: &Text) -> Value {
    let mut schema = matching(text.pattern);
    if let Some(must) = text.pattern.must {
        schema["pattern"] = or_variable(must).into();
    }
    match text.scalar {
        Scalar::None => schema["type"] = "string".into(),
        Scalar::Any => schema["type"] = json!(["string", "number", "boolean"]),
        Scalar::Number(least, most) => {
            schema["type"] = json!(["string", "number"]);
            let lower = if least == 0 { "exclusiveMinimum" } else { "minimum" };
            schema[lower] = least.into();
            schema["maximum"] = most.into();
        }
        Scalar::Count(most) => {
            schema["type"] = json!(["string", "integer"]);
            schema["minimum"] = 0.into();
            schema["maximum"] = most.into();
        }
    }
    schema
}

fn matching(pattern: Pattern) -> Value {
    let mut schema = json!({});
    if let Some(must) = pattern.must {
        schema["pattern"] = must.into();
    }
    if let Some(not) = pattern.not {
        schema["not"] = json!({ "type": "string", "pattern": not });
    }
    schema
}

fn description(key: &KeyDoc) -> String {
    match key.default {
        "" => key.meaning.to_owned(),
        default => format!("{} Default: {default}.", key.meaning),
    }
}
