//! How a later file changes an earlier one: Compose's rules for everything that concerns building.
//!
//! Mappings are merged key by key, lists are appended, single values are replaced, and nothing (`null`) changes nothing. Some
//! keys have rules of their own ([`Rule`]). Each node keeps its file, so that messages name the line that counts.

use std::collections::HashMap;
use std::collections::hash_map;
use std::mem;

use crate::compose::rewritten::rewritten;
use crate::message::Message;
use crate::report::{Findings, Location, shown};
use crate::yaml::{Entry, Node, Value};

/// How the values of one key are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// A whole file.
    File,
    /// The mapping of all services.
    Services,
    Service,
    /// A folder alone is its `context`.
    Build,
    Bake,
    /// A mapping, or a list of `NAME=value`: the later value of a name counts, also if it is nothing.
    Pairs,
    /// The same, but a name can have several values.
    Hosts,
    /// A list of names, or a mapping of names.
    Dependencies,
    /// A list in which each value is once.
    Unique,
    Other,
    /// Not read: what cannot be merged is replaced.
    Unread,
}

impl Rule {
    /// The rule for `key` in a mapping that has this rule.
    fn below(self, key: &str) -> Self {
        match (self, key) {
            (Self::File, "services") => Self::Services,
            (Self::Services, _) => Self::Service,
            (Self::Service, "build") => Self::Build,
            (Self::Service, "depends_on") => Self::Dependencies,
            (Self::Service, "profiles") | (Self::Build | Self::Bake, "platforms" | "tags") => Self::Unique,
            (Self::Build, "args" | "labels" | "additional_contexts") => Self::Pairs,
            (Self::Build, "extra_hosts") => Self::Hosts,
            (Self::Build, "x-bake") => Self::Bake,
            (Self::Service, "image" | "platform")
            | (Self::Build | Self::Bake | Self::Other | Self::Dependencies, _) => Self::Other,
            _ => Self::Unread,
        }
    }
}

/// An earlier file with the changes of a later one.
pub(super) fn files(base: Node, over: Node, findings: &mut Findings) -> Node {
    Merge { findings }.nodes(Rule::File, base, over, "")
}

/// A service with the changes of another. `path` is where it is.
pub(super) fn service(base: Node, over: Node, path: &str, findings: &mut Findings) -> Node {
    Merge { findings }.nodes(Rule::Service, base, over, path)
}

/// Writes `build: FOLDER` as a mapping.
pub(super) fn spread_build(build: &mut Node) {
    if matches!(build.value, Value::Scalar { .. }) && !build.is_null() {
        let (line, col, mapping) = (build.line, build.col, build.emptied());
        let context = mem::replace(build, mapping);
        build.value = Value::Map(vec![Entry { key: "context".to_owned(), line, col, value: context }]);
    }
}

/// The name of an item of a list of `NAME=value`.
pub(super) fn name_of(item: &Node) -> Option<&str> {
    let Value::Scalar { text, .. } = &item.value else { return None };
    Some(text.split_once('=').map_or(text, |(name, _)| name))
}

struct Merge<'f> {
    findings: &'f mut Findings,
}

impl Merge<'_> {
    fn nodes(&mut self, rule: Rule, mut base: Node, mut over: Node, path: &str) -> Node {
        if over.is_null() {
            return base;
        }
        if base.is_null() {
            return over;
        }
        let (found, expected) = (over.kind(), base.kind());
        match rule {
            Rule::Build => {
                spread_build(&mut base);
                spread_build(&mut over);
            }
            Rule::Hosts => [&mut base, &mut over].into_iter().for_each(spread_pairs),
            Rule::Pairs if is_list(&base) || is_list(&over) => {
                [&mut base, &mut over].into_iter().for_each(spread_pairs);
            }
            Rule::Dependencies if !(is_list(&base) && is_list(&over)) => {
                [&mut base, &mut over].into_iter().for_each(spread_names);
            }
            _ => {}
        }
        match (&mut base.value, over.value) {
            (Value::Map(entries), Value::Map(more)) => {
                self.mappings(rule, entries, more, path);
                base
            }
            (Value::List(items), Value::List(more)) => {
                append(rule, items, more);
                base
            }
            (Value::Scalar { .. }, value) => Node { value, ..over },
            (_, value) if rule == Rule::Unread => Node { value, ..over },
            _ => {
                let at = Location {
                    source: over.file.name.clone(),
                    line: over.line,
                    col: over.col,
                    path: path.to_owned(),
                };
                let message = Message::new(format!("expected {expected}, found {found}"));
                let hint = format!(
                    "it changes {}:{}; `!override` replaces that value",
                    shown(&base.file.name),
                    base.line
                );
                self.findings.mistake(at, message.with_hint(hint));
                base
            }
        }
    }

    fn mappings(&mut self, rule: Rule, base: &mut Vec<Entry>, over: Vec<Entry>, path: &str) {
        let mut places: HashMap<String, usize> =
            base.iter().enumerate().map(|(place, entry)| (entry.key.clone(), place)).collect();
        for entry in over {
            let place = match places.entry(entry.key.clone()) {
                hash_map::Entry::Vacant(new) => {
                    new.insert(base.len());
                    base.push(entry);
                    continue;
                }
                hash_map::Entry::Occupied(known) => *known.get(),
            };
            let earlier = &mut base[place];
            if rule == Rule::Pairs {
                *earlier = entry;
                continue;
            }
            let key = shown(&entry.key);
            let path = if path.is_empty() { key } else { format!("{path}.{key}") };
            let lower = mem::replace(&mut earlier.value, entry.value.emptied());
            let kept = (lower.line, lower.col, lower.file.clone());
            earlier.value = self.nodes(rule.below(&entry.key), lower, entry.value, &path);
            if kept != (earlier.value.line, earlier.value.col, earlier.value.file.clone()) {
                (earlier.line, earlier.col) = (entry.line, entry.col);
            }
        }
    }
}

fn is_list(node: &Node) -> bool {
    matches!(node.value, Value::List(_))
}

/// Appends the items of a later list.
fn append(rule: Rule, base: &mut Vec<Node>, over: Vec<Node>) {
    let key = |item: &Node| match (rule, &item.value) {
        (Rule::Pairs, _) => name_of(item).map(str::to_owned),
        (Rule::Unique | Rule::Hosts | Rule::Dependencies, Value::Scalar { text, .. }) => Some(text.clone()),
        _ => None,
    };
    let mut places: HashMap<String, usize> =
        base.iter().enumerate().filter_map(|(place, item)| Some((key(item)?, place))).collect();
    for item in over {
        let Some(key) = key(&item) else {
            base.push(item);
            continue;
        };
        match places.entry(key) {
            hash_map::Entry::Occupied(known) => base[*known.get()] = item,
            hash_map::Entry::Vacant(new) => {
                new.insert(base.len());
                base.push(item);
            }
        }
    }
}

/// Writes a mapping as a list of `NAME=value`, as Compose does. Only the values of a mapping can hold variables.
fn spread_pairs(node: &mut Node) {
    let Value::Map(entries) = &mut node.value else { return };
    let items = mem::take(entries).into_iter().map(|Entry { key, line, col, value }| {
        let name = key.replace('$', "$$");
        let text = match &value.value {
            Value::Scalar { .. } if value.is_null() => name,
            Value::Scalar { text, .. } => {
                format!("{name}={}", rewritten(&value.value).as_deref().unwrap_or(text))
            }
            // The reader reports it.
            _ => return value,
        };
        Node { value: Value::Scalar { text, plain: false }, line, col, ..value }
    });
    node.value = Value::List(items.collect());
}

/// Writes a list of services as the mapping that it stands for.
fn spread_names(node: &mut Node) {
    let Value::List(items) = &mut node.value else { return };
    if items.iter().any(|item| !matches!(item.value, Value::Scalar { .. })) {
        return;
    }
    let entry = |item: Node| {
        let Value::Scalar { text: key, .. } = &item.value else { return None };
        let (line, col, key) = (item.line, item.col, key.clone());
        let yes = Value::Scalar { text: "true".to_owned(), plain: true };
        let required =
            Entry { key: "required".to_owned(), line, col, value: Node { value: yes, ..item.clone() } };
        Some(Entry { key, line, col, value: Node { value: Value::Map(vec![required]), ..item } })
    };
    node.value = Value::Map(mem::take(items).into_iter().filter_map(entry).collect());
}
