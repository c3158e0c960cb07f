//! The files of a project as one tree.

mod extends;
mod include;

use crate::compose::files::{FileReader, NamedFile};
use crate::compose::merge;
use crate::compose::scalar::Scalars;
use crate::compose::tags::Removals;
use crate::decode::Field;
use crate::limits;
use crate::message::Message;
use crate::report::{Findings, Location};
use crate::yaml::{self, Node, Value};

use extends::{Extended, Extender};
use include::Include;

/// Merges the files of a project, with those that they name.
pub(super) struct Loader<'a, 'f> {
    files: FileReader<'a>,
    scalars: &'a Scalars<'a>,
    findings: &'f mut Findings,
    room: Room,
    /// The main files of the projects that are being included, each by the one before it.
    including: Vec<NamedFile>,
    /// Projects that were included already; `None` after a mistake.
    included: Vec<(Include, Option<Node>)>,
}

impl<'a, 'f> Loader<'a, 'f> {
    pub(super) fn new(files: FileReader<'a>, scalars: &'a Scalars<'a>, findings: &'f mut Findings) -> Self {
        let room = Room { nodes: limits::YAML_NODES, bytes: limits::YAML_BYTES };
        Self { files, scalars, findings, room, including: Vec::new(), included: Vec::new() }
    }

    /// Merges the files, each over those before it. `None` if one is not a Compose file, or includes none.
    pub(super) fn merged(&mut self, files: &[Node]) -> Option<Node> {
        let (mut all, mut known): (Option<Node>, _) = (None, Extended::default());
        let mut complete = true;
        for file in files {
            self.findings.source(&file.file.name);
        }
        let is_empty = files.iter().all(Node::is_null);
        for file in files {
            // An empty file changes nothing.
            if file.is_null() && !is_empty {
                continue;
            }
            let Value::Map(_) = file.value else {
                Field::root(file).expected("a Compose file: a mapping with `services`", self.findings);
                continue;
            };
            let mut file = file.clone();
            let removals = Removals::take(&mut file);
            complete &= self.include(&mut file, &removals);
            let removals = Extender { loader: self, known: &mut known }.complete(&mut file, removals);
            all = Some(match all.take() {
                None => file,
                Some(mut earlier) => {
                    removals.apply(&mut earlier);
                    merge::files(earlier, file, self.findings)
                }
            });
        }
        all.filter(|_| complete)
    }
}

/// How much may be copied: many that extend or include what is large would be a large tree.
pub(super) struct Room {
    nodes: usize,
    bytes: usize,
}

impl Room {
    /// Counts a copy, which `key` makes; `None` if there is no room for it. That is reported once.
    pub(super) fn take(
        &mut self,
        copy: &Node,
        at: Location,
        key: &str,
        findings: &mut Findings,
    ) -> Option<()> {
        let (nodes, bytes) = size(copy);
        let left = (self.nodes.checked_sub(nodes), self.bytes.checked_sub(bytes));
        if let (Some(nodes), Some(bytes)) = left {
            (self.nodes, self.bytes) = (nodes, bytes);
            return Some(());
        }
        if !self.is_used_up() {
            let message = Message::new(format!("the services are too large once `{key}` is resolved"));
            findings.mistake(at, message.with_hint("extend or include fewer or smaller services"));
        }
        (self.nodes, self.bytes) = (0, 0);
        None
    }

    pub(super) fn is_used_up(&self) -> bool {
        self.nodes == 0
    }
}

/// Nodes, and bytes of their texts.
fn size(node: &Node) -> (usize, usize) {
    let add = |(nodes, bytes), (more, text)| (nodes + more, bytes + text);
    match &node.value {
        Value::Scalar { text, .. } => (1, text.len()),
        Value::List(items) => items.iter().map(size).fold((1, 0), add),
        Value::Map(entries) => {
            let entry = |entry: &yaml::Entry| add(size(&entry.value), (1, entry.key.len()));
            entries.iter().map(entry).fold((1, 0), add)
        }
    }
}
