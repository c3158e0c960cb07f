//! `schema`: a JSON Schema for editors.

use bakery_core::{compose, config};
use clap::ValueEnum;

/// The files that a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// config.yaml: every key with its text, its values and its default
    Config,
    /// Compose files: Compose's own schema, to which it refers, with `x-bake` and what Bakery does not support
    Compose,
}

/// The schema as text.
pub fn text(of: SchemaOf) -> String {
    let schema = match of {
        SchemaOf::Config => config::schema::schema(),
        SchemaOf::Compose => compose::schema::schema(),
    };
    format!("{schema:#}\n")
}
