//! The JSON Schema of config.yaml, for editors: made from the declaration of the keys.
//!
//! Draft 7, which editors read best. It accepts what the decoder accepts with or without a notice: also a key without a
//! value, and an empty one, which clears.

use serde_json::{Map, Value, json};

use crate::config::forms::{KeyDoc, Pattern, Scalar, Text, ValueForm};
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
        ValueForm::Records(keys) => or_empty(&json!({ "type": "array", "items": record(keys) })),
        ValueForm::Word(words) => or_empty(&json!({ "enum": words })),
        ValueForm::Switch => or_empty(&json!({
            "anyOf": [{ "type": "boolean" }, { "type": "string", "pattern": "^(true|True|TRUE|false|False|FALSE)$" }],
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

/// A mapping with the required ones of these keys, and one of the others.
fn record(keys: &[KeyDoc]) -> Value {
    let (required, others): (Vec<&KeyDoc>, Vec<&KeyDoc>) = keys.iter().partition(|key| key.is_required());
    let required: Vec<_> = required.iter().map(|key| key.name).collect();
    let property = |key: &KeyDoc| {
        let mut schema = match key.form {
            ValueForm::Text(text) => single(&text),
            _ => json!({}),
        };
        schema["description"] = key.meaning.into();
        (key.name.to_owned(), schema)
    };
    let properties: Map<_, _> = keys.iter().map(property).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false });
    if !others.is_empty() {
        schema["oneOf"] = others.iter().map(|key| json!({ "required": [key.name] })).collect();
    }
    schema
}

/// The value, or what clears it.
fn or_empty(value: &Value) -> Value {
    json!({ "anyOf": [value, { "$ref": "#/definitions/empty" }] })
}

/// A single value. What is not a text in YAML has no pattern.
fn single(text: &Text) -> Value {
    let mut schema = matching(text.pattern);
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
