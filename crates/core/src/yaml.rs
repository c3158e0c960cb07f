//! Parses YAML files into one tree of nodes with their locations. Only this file uses the parser library.
//!
//! Scalars keep their text as it is written (`0755`, `yes`, `1.10` stay what they are), aliases are resolved, merge
//! keys (`<<`) are applied, repeated keys are mistakes. Depth and nodes are bounded, so that a small file cannot
//! become a large tree.

use std::collections::{HashMap, hash_map};
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, Tag};

use crate::limits;
use crate::message::Message;
use crate::report::{Findings, Location};

mod tree;

pub use tree::{Entry, Folder, Node, Replacement, SourceFile, Value};

/// Parses one document. `None` if the text is not valid YAML or exceeds a limit. Mistakes that leave a tree (such as
/// repeated keys) are in `findings` as well.
pub fn parse(file: &str, text: &str, findings: &mut Findings) -> Option<Node> {
    parse_source(SourceFile { name: file.into(), ..SourceFile::default() }, text, findings)
}

/// The same for a file that has paths of its own.
pub fn parse_source(file: SourceFile, text: &str, findings: &mut Findings) -> Option<Node> {
    let file = Arc::new(file);
    if text.len() > limits::SPEC_BYTES {
        let message = format!("the file has {} bytes; the limit is {}", text.len(), limits::SPEC_BYTES);
        findings.mistake(Location { source: file.name.clone(), ..Location::default() }, message);
        return None;
    }
    let mut builder = Builder {
        file,
        findings,
        open: Vec::new(),
        anchors: HashMap::new(),
        size: Size::default(),
        root: None,
        documents: 0,
    };
    let options = granit_parser::options! { emit_comments: false };
    for next in Parser::new_from_str_with_options(text, options) {
        let step = match next {
            Ok((event, span)) => builder.event(event, (span.start.line().max(1), span.start.col() + 1)),
            Err(error) => {
                let at = (error.marker().line().max(1), error.marker().col() + 1);
                let message = Message::new(format!("not valid YAML: {}", error.info()));
                builder.mistake(at, message.with_hint(syntax_hint(text, at.0)));
                None
            }
        };
        step?;
    }
    let Builder { root, file, .. } = builder;
    Some(root.unwrap_or_else(|| Node {
        value: scalar(String::new(), true),
        file,
        line: 1,
        col: 1,
        tag: None,
        replacement: Replacement::None,
    }))
}

type At = (usize, usize);

/// How large a tree is, aliases resolved.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
}

/// A collection that has been opened and not closed.
struct Open {
    at: At,
    tag: Option<String>,
    anchor: usize,
    /// The size of what was read before it.
    before: Size,
    /// The deepest nesting below it so far, counted from here.
    height: usize,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    Map { entries: Entries, merged: Entries, key: Option<PendingKey> },
}

/// Keys in order, each once.
#[derive(Default)]
struct Entries {
    list: Vec<Entry>,
    lines: HashMap<String, usize>,
}

impl Entries {
    /// Adds an entry; if the key exists already, the error is its line.
    fn add(&mut self, entry: Entry) -> Result<(), usize> {
        match self.lines.entry(entry.key.clone()) {
            hash_map::Entry::Occupied(known) => Err(*known.get()),
            hash_map::Entry::Vacant(new) => {
                new.insert(entry.line);
                self.list.push(entry);
                Ok(())
            }
        }
    }
}

/// A key whose value has not been read yet.
enum PendingKey {
    Text(String, At),
    Merge(At),
    /// A mistake that has been reported; its value is dropped.
    Bad,
}

struct Anchored {
    node: Node,
    size: Size,
    height: usize,
}

struct Builder<'a> {
    file: Arc<SourceFile>,
    findings: &'a mut Findings,
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    size: Size,
    root: Option<Node>,
    documents: usize,
}

impl Builder<'_> {
    fn mistake(&mut self, (line, col): At, message: impl Into<Message>) {
        let location = Location { source: self.file.name.clone(), line, col, path: String::new() };
        self.findings.mistake(location, message);
    }

    /// `None` stops parsing: the tree would be meaningless or too large.
    fn event(&mut self, event: Event<'_>, at: At) -> Option<()> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let message = Message::new("a second document begins here");
                    self.mistake(at, message.with_hint("one file is one document: remove `---`"));
                    return None;
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let text_tag = tag.as_deref().is_some_and(|tag| tag.core_suffix() == Some("str"));
                let plain = style == ScalarStyle::Plain && !text_tag;
                let size = Size { nodes: 1, bytes: text.len() };
                let node = Node {
                    value: scalar(text.into_owned(), plain),
                    file: self.file.clone(),
                    line: at.0,
                    col: at.1,
                    tag: local_tag(tag.as_deref()),
                    replacement: Replacement::None,
                };
                self.count(at, size)?;
                self.done(node, anchor, size, 0)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.start(at, anchor, tag.as_deref(), Items::List(Vec::new()))?;
            }
            Event::MappingStart(_, anchor, tag) => {
                let items = Items::Map { entries: Entries::default(), merged: Entries::default(), key: None };
                self.start(at, anchor, tag.as_deref(), items)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            Event::Alias(id) => {
                let Some(anchored) = self.anchors.get(&id) else {
                    self.mistake(at, "this alias is inside the value that it refers to");
                    return None;
                };
                let (size, height) = (anchored.size, anchored.height);
                self.count(at, size)?;
                let node = self.anchors.get(&id)?.node.clone();
                self.done(node, 0, size, height)?;
            }
            _ => {}
        }
        Some(())
    }

    fn start(&mut self, at: At, anchor: usize, tag: Option<&Tag>, items: Items) -> Option<()> {
        let before = self.size;
        self.count(at, Size { nodes: 1, bytes: 0 })?;
        let tag = local_tag(tag);
        self.open.push(Open { at, tag, anchor, before, height: 0, items });
        self.deep(at, self.open.len())
    }

    fn end(&mut self) -> Option<()> {
        let open = self.open.pop()?;
        let value = match open.items {
            Items::List(items) => Value::List(items),
            Items::Map { mut entries, merged, .. } => {
                for entry in merged.list {
                    // The mapping's own key wins.
                    let _ = entries.add(entry);
                }
                Value::Map(entries.list)
            }
        };
        let file = self.file.clone();
        let (line, col) = open.at;
        let node = Node { value, file, line, col, tag: open.tag, replacement: Replacement::None };
        let size =
            Size { nodes: self.size.nodes - open.before.nodes, bytes: self.size.bytes - open.before.bytes };
        self.done(node, open.anchor, size, open.height + 1)
    }

    /// Adds a complete node to its parent; `size` and `height` are its total size and its depth of nesting.
    fn done(&mut self, node: Node, anchor: usize, size: Size, height: usize) -> Option<()> {
        if anchor > 0 {
            self.anchors.insert(anchor, Anchored { node: node.clone(), size, height });
        }
        self.deep((node.line, node.col), self.open.len() + height)?;
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Some(());
        };
        parent.height = parent.height.max(height);
        match &mut parent.items {
            Items::List(items) => items.push(node),
            Items::Map { key, .. } => match key.take() {
                None => {
                    let read = self.key(node);
                    if let Some(Open { items: Items::Map { key, .. }, .. }) = self.open.last_mut() {
                        *key = Some(read);
                    }
                }
                Some(PendingKey::Text(key, at)) => self.entry(key, at, node),
                Some(PendingKey::Merge(at)) => self.merge(at, node),
                Some(PendingKey::Bad) => {}
            },
        }
        Some(())
    }

    fn key(&mut self, node: Node) -> PendingKey {
        let at = (node.line, node.col);
        match node.value {
            Value::Scalar { text, plain: true } if text == "<<" => PendingKey::Merge(at),
            Value::Scalar { text, .. } => PendingKey::Text(text, at),
            _ => {
                self.mistake(at, "a key must be a single value");
                PendingKey::Bad
            }
        }
    }

    fn entry(&mut self, key: String, at: At, value: Node) {
        let Some(Open { items: Items::Map { entries, .. }, .. }) = self.open.last_mut() else { return };
        let shown = crate::report::shown(&key);
        if let Err(first) = entries.add(Entry { key, line: at.0, col: at.1, value }) {
            let text = format!("the key `{shown}` is defined twice (first on line {first})");
            self.mistake(at, Message::new(text).with_hint("keep one of them"));
        }
    }

    /// `<<: *map` or `<<: [*a, *b]`: the mapping's own keys win, then the earlier of the list.
    fn merge(&mut self, at: At, value: Node) {
        let sources = match value.value {
            Value::Map(_) => vec![value],
            Value::List(items) => items,
            Value::Scalar { .. } => Vec::new(),
        };
        if sources.is_empty() || sources.iter().any(|source| !matches!(source.value, Value::Map(_))) {
            let message = Message::new("`<<` takes a mapping or a list of mappings");
            self.mistake(at, message.with_hint("write `<<: *anchor`"));
            return;
        }
        let Some(Open { items: Items::Map { merged, .. }, .. }) = self.open.last_mut() else { return };
        for source in sources {
            let Value::Map(entries) = source.value else { continue };
            for entry in entries {
                // The earlier source wins.
                let _ = merged.add(entry);
            }
        }
    }

    fn count(&mut self, at: At, more: Size) -> Option<()> {
        self.size.nodes = self.size.nodes.saturating_add(more.nodes);
        self.size.bytes = self.size.bytes.saturating_add(more.bytes);
        let text = if self.size.nodes > limits::YAML_NODES {
            format!("more than {} nodes once aliases are resolved", limits::YAML_NODES)
        } else if self.size.bytes > limits::YAML_BYTES {
            format!("more than {} bytes of text once aliases are resolved", limits::YAML_BYTES)
        } else {
            return Some(());
        };
        self.mistake(at, Message::new(text).with_hint("shorten the file, or use fewer aliases of aliases"));
        None
    }

    fn deep(&mut self, at: At, depth: usize) -> Option<()> {
        if depth > limits::YAML_DEPTH {
            self.mistake(at, format!("nested deeper than {} levels", limits::YAML_DEPTH));
            return None;
        }
        Some(())
    }
}

/// The tag as it is written, unless it is one of YAML's own.
fn local_tag(tag: Option<&Tag>) -> Option<String> {
    let tag = tag?;
    let own = tag.core_suffix().is_some() || (tag.suffix().is_empty() && tag.original_handle() == "!");
    (!own).then(|| format!("{}{}", tag.original_handle(), tag.suffix()))
}

fn scalar(text: String, plain: bool) -> Value {
    Value::Scalar { text, plain }
}

fn syntax_hint(text: &str, line: usize) -> &'static str {
    let indent = |line: &str| line.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t');
    if text.lines().nth(line.saturating_sub(1)).is_some_and(indent) {
        "indent with spaces: YAML forbids tabs"
    } else {
        "check the indentation, and quote texts that hold `: `, `#`, `{`, `[`, `*`, `&` or `%`"
    }
}

#[cfg(test)]
mod tests;
