//! `!reset` and `!override`: what a file takes away from the files before it.

use std::collections::BTreeMap;

use crate::compose::merge::{name_of, spread_build};
use crate::yaml::{Node, Value};

/// What the tags of one file remove from the files before it, as a tree of keys.
#[derive(Debug, Default)]
pub(super) struct Removals {
    /// The whole value is removed.
    whole: bool,
    below: BTreeMap<String, Removals>,
}

impl Removals {
    /// Takes the tags out of a file: what `!reset` marks leaves it, what `!override` marks stays.
    pub(super) fn take(node: &mut Node) -> Self {
        let mut removals = Self::default();
        match &mut node.value {
            Value::Scalar { .. } => {}
            Value::List(items) => {
                items.retain(|item| !is(item, RESET));
                for item in items {
                    // As in Compose, an item of a list cannot be removed from an earlier file.
                    Self::take_all(item);
                }
            }
            Value::Map(entries) => entries.retain_mut(|entry| {
                let (reset, replaced) = (is(&entry.value, RESET), is(&entry.value, OVERRIDE));
                let found = Self::take_all(&mut entry.value);
                let found = if reset || replaced { Self { whole: true, ..Self::default() } } else { found };
                if !found.is_empty() {
                    removals.below.insert(entry.key.clone(), found);
                }
                !reset
            }),
        }
        removals
    }

    fn take_all(node: &mut Node) -> Self {
        if is(node, OVERRIDE) {
            node.tag = None;
        }
        Self::take(node)
    }

    fn is_empty(&self) -> bool {
        !self.whole && self.below.is_empty()
    }

    /// Removes from `earlier` what the file of these tags removes.
    pub(super) fn apply(&self, earlier: &mut Node) {
        match &mut earlier.value {
            Value::Scalar { .. } => {}
            Value::List(items) => items.retain(|item| {
                !name_of(item).and_then(|name| self.below.get(name)).is_some_and(|removal| removal.whole)
            }),
            Value::Map(entries) => entries.retain_mut(|entry| {
                let Some(removal) = self.below.get(&entry.key) else { return true };
                if entry.key == "build" {
                    spread_build(&mut entry.value);
                }
                removal.apply(&mut entry.value);
                !removal.whole
            }),
        }
    }

    /// The same for a service alone, which is `name` in the file of these tags.
    pub(super) fn apply_to_service(&self, name: &str, service: &mut Node) {
        if let Some(removals) = self.below.get("services").and_then(|services| services.below.get(name)) {
            removals.apply(service);
        }
    }
}

const RESET: &str = "!reset";
/// What marks a value that replaces that of the files before.
pub(super) const OVERRIDE: &str = "!override";

fn is(node: &Node, tag: &str) -> bool {
    node.tag.as_deref() == Some(tag)
}
