//! The tree of a YAML file: nodes, each with its file and its place.

use std::sync::Arc;

/// The file of a node, and how its values are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceFile {
    /// Its name in messages.
    pub name: Arc<str>,
    /// The folder that its paths are relative to, if that is not the one of the whole project.
    pub folder: Option<Arc<Folder>>,
    /// The included project that it belongs to, whose variables its values get; 0 is the whole one.
    pub project: usize,
    /// It is an option: its values have no place in a file.
    pub is_option: bool,
}

/// A folder that paths are relative to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Folder {
    /// Its path: absolute, links resolved.
    pub path: String,
    /// How messages name it; empty for the working directory.
    pub shown: String,
}

/// One node of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it holds.
    pub value: Value,
    /// Its file.
    pub file: Arc<SourceFile>,
    /// Line from 1.
    pub line: usize,
    /// Column (characters) from 1.
    pub col: usize,
    /// A tag other than YAML's own, as it is written: `!reset`.
    pub tag: Option<String>,
    /// What became of the variables in its text.
    pub replacement: Replacement,
}

/// What became of the variables in a text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Replacement {
    /// The text is that of the file.
    #[default]
    None,
    /// They were replaced; this is the text of the file, which messages show.
    Of(String),
    /// They could not be replaced: the mistake has been reported, and the text means nothing.
    Failed,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text, a number, a boolean or null, as written.
    Scalar {
        /// Its text, escapes resolved.
        text: String,
        /// False if it was quoted, a block, or tagged `!!str`: then it is a text, whatever it looks like.
        plain: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file; merged keys come after its own.
    Map(Vec<Entry>),
}

/// One key of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The key's line.
    pub line: usize,
    /// The key's column.
    pub col: usize,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// True for `~`, `null` and an empty value.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// An empty mapping at the place of this node.
    pub fn emptied(&self) -> Self {
        Self {
            value: Value::Map(Vec::new()),
            file: self.file.clone(),
            line: self.line,
            col: self.col,
            tag: None,
            replacement: Replacement::None,
        }
    }

    /// Whether both hold the same, wherever they are. Keys may have another order.
    pub fn is_same(&self, other: &Self) -> bool {
        if self.tag != other.tag {
            return false;
        }
        match (&self.value, &other.value) {
            (Value::List(own), Value::List(others)) => {
                own.len() == others.len() && own.iter().zip(others).all(|(own, other)| own.is_same(other))
            }
            (Value::Map(own), Value::Map(others)) => {
                let same =
                    |entry: &Entry| other.get(&entry.key).is_some_and(|other| entry.value.is_same(other));
                own.len() == others.len() && own.iter().all(same)
            }
            (own, other) => own == other,
        }
    }

    /// The value of `key`, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
            _ => None,
        }
    }

    /// What it is, as a noun phrase for messages.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}
