//! The JSON Schema of Compose files for editors: it refers to Compose's own schema (draft 2020-12, as this one), and adds
//! what Bakery does with the attributes of `build`, and `x-bake`.

use serde_json::{Map, Value, json};

use crate::compose::attributes::{Attribute, BUILD, Fate, X_BAKE};

/// Compose's own schema, as its project publishes it.
pub const COMPOSE_SCHEMA: &str =
    "https://raw.githubusercontent.com/compose-spec/compose-spec/main/schema/compose-spec.json";

/// A platform, also with a variable in it.
const PLATFORM: &str = r"^((linux/)?(amd64|x86_64|arm64|aarch64)(/v[A-Za-z0-9]+)?|.*\$.*)$";

/// The schema.
pub fn schema() -> Value {
    let mut x_bake = json!({ "type": ["object", "null"], "properties": properties(&X_BAKE) });
    x_bake["properties"]["platforms"] = json!({
        "description": "One task per platform, each native: linux/amd64, linux/arm64.",
        "type": ["array", "string", "null"],
        "pattern": PLATFORM,
        "items": { "type": "string", "pattern": PLATFORM, "examples": ["linux/amd64", "linux/arm64"] },
    });
    x_bake["description"] = "What only a build tool reads; Bakery takes `platforms`, `tags`, `secret`, `cache-to` and `cache-from`.".into();
    let mut build = properties(&BUILD);
    build.insert("x-bake".to_owned(), x_bake);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Compose file that Bakery builds",
        "description": "Compose's own schema, and over it what Bakery does with `build` and `build.x-bake`.",
        "allOf": [{ "$ref": COMPOSE_SCHEMA }],
        "properties": { "services": { "additionalProperties": { "properties": {
            "x-bake": { "deprecated": true, "description": "Not read here: move it below `build`." },
            "build": { "properties": build },
        } } } },
    })
}

fn properties(attributes: &[Attribute]) -> Map<String, Value> {
    attributes.iter().map(|attribute| (attribute.name.to_owned(), property(attribute.fate))).collect()
}

fn property(fate: Fate) -> Value {
    match fate {
        Fate::Taken(becomes) => json!({ "description": format!("Bakery: {becomes}.") }),
        // Switched off, it is accepted.
        Fate::Refused { message, hint } => {
            json!({ "description": format!("Bakery: {message}; {hint}."), "enum": [false, "false", "", [], {}, null] })
        }
        Fate::Ignored { hint } => {
            let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
            json!({ "description": format!("Bakery: no effect{hint}.") })
        }
    }
}
