//! Decodes the YAML tree into values, without stopping at the first mistake.

use crate::message::Message;
use crate::report::{Findings, Location, did_you_mean, forgotten_blank, nearest, shown};
use crate::yaml::{Entry, Node, Replacement, Value};

/// A node with its full path, for messages.
#[derive(Debug, Clone)]
pub struct Field<'n> {
    /// The node.
    pub node: &'n Node,
    /// Its location.
    pub location: Location,
}

impl<'n> Field<'n> {
    /// The root of a file.
    pub fn root(node: &'n Node) -> Self {
        Self { node, location: location_of(node, (node.line, node.col), String::new()) }
    }

    /// The items of a list; empty if this is not a list.
    pub fn items(&self) -> Vec<Self> {
        let Value::List(items) = &self.node.value else { return Vec::new() };
        let field = |(nth, node): (usize, &'n Node)| Self {
            node,
            location: location_of(node, (node.line, node.col), format!("{}[{nth}]", self.location.path)),
        };
        items.iter().enumerate().map(field).collect()
    }

    /// The keys of a mapping with their values, in the order of the file; empty if this is not a mapping.
    pub fn entries(&self) -> Vec<(&'n str, Self)> {
        let Value::Map(entries) = &self.node.value else { return Vec::new() };
        entries.iter().map(|entry| (entry.key.as_str(), self.below(entry))).collect()
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<Self> {
        let Value::Map(entries) = &self.node.value else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| self.below(entry))
    }

    fn below(&self, entry: &'n Entry) -> Self {
        // Findings about a value without text have the location of its key.
        let (line, col) = match &entry.value.value {
            Value::Scalar { text, .. } if text.is_empty() => (entry.line, entry.col),
            _ => (entry.value.line, entry.value.col),
        };
        Self {
            node: &entry.value,
            location: location_of(&entry.value, (line, col), self.path_of(&entry.key)),
        }
    }

    /// The path of a key below this.
    pub fn path_of(&self, key: &str) -> String {
        let key = shown(key);
        if self.location.path.is_empty() { key } else { format!("{}.{key}", self.location.path) }
    }

    /// The text of a single value; otherwise a mistake.
    pub fn text(&self, findings: &mut Findings) -> Option<&'n str> {
        if let Value::Scalar { text, .. } = &self.node.value {
            return Some(text);
        }
        self.expected("a single value", findings);
        None
    }

    /// The text of the file, if variables were replaced in it: messages show this one.
    pub fn written(&self) -> Option<&'n str> {
        match &self.node.replacement {
            Replacement::Of(written) => Some(written),
            Replacement::None | Replacement::Failed => None,
        }
    }

    /// Reports that something else was expected here.
    pub fn expected(&self, what: &str, findings: &mut Findings) {
        findings.mistake(self.location.clone(), format!("expected {what}, found {}", self.node.kind()));
    }

    /// True for what a user writes to clear an inherited value: `''` or `[]`.
    pub fn clears(&self) -> bool {
        match &self.node.value {
            Value::Scalar { text, plain } => text.is_empty() && !plain,
            Value::List(items) => items.is_empty(),
            Value::Map(_) => false,
        }
    }
}

/// A node's location: several files can be merged into one tree.
fn location_of(node: &Node, (line, col): (usize, usize), path: String) -> Location {
    if node.file.is_option {
        return Location::setting(&node.file.name);
    }
    Location { source: node.file.name.clone(), line, col, path }
}

/// The known keys of a section with their values. Unknown keys are mistakes; a key without a value is ignored with a
/// notice. `None` if it is not a mapping.
///
/// `elsewhere` returns the hint for a key that belongs to another section.
pub fn section<'n>(
    field: &Field<'n>,
    known: &[&str],
    elsewhere: impl Fn(&str) -> Option<String>,
    findings: &mut Findings,
) -> Option<Vec<(&'n str, Field<'n>)>> {
    let Value::Map(entries) = &field.node.value else {
        field.expected("a mapping", findings);
        return None;
    };
    let mut fields = Vec::new();
    for (entry, (key, value)) in entries.iter().zip(field.entries()) {
        let at_key = Location { line: entry.line, col: entry.col, ..value.location.clone() };
        if !known.contains(&key) {
            let hint = elsewhere(key)
                .filter(|_| nearest(key, known).is_none())
                .unwrap_or_else(|| did_you_mean(key, known));
            findings.mistake(at_key, unknown_key(key, hint));
        } else if value.node.is_null() {
            findings.notice(
                at_key,
                Message::new("has no value, ignored").with_hint("write '' to clear an inherited value"),
            );
        } else {
            fields.push((key, value));
        }
    }
    Some(fields)
}

/// The message about a key that is not known. A forgotten blank is the likelier mistake than a misspelling.
pub fn unknown_key(key: &str, hint: String) -> Message {
    Message::new("unknown key").with_hint(forgotten_blank(key).unwrap_or(hint))
}

/// Reports tags other than YAML's own, anywhere below `field`, as mistakes.
pub fn refuse_tags(field: &Field<'_>, hint: &str, findings: &mut Findings) {
    if let Some(tag) = &field.node.tag {
        findings.mistake(
            field.location.clone(),
            Message::new(format!("the tag `{}` is not supported", shown(tag))).with_hint(hint),
        );
    }
    for item in field.items() {
        refuse_tags(&item, hint, findings);
    }
    for (_, value) in field.entries() {
        refuse_tags(&value, hint, findings);
    }
}
