//! `extends`: a service with what another one has, of the same file or of another.
//!
//! As in Compose, each file is complete in itself: its `extends` are resolved before it is merged with others.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::compose::Request;
use crate::compose::merge;
use crate::compose::scalar::{Scalars, Substituted};
use crate::compose::tags::Removals;
use crate::decode::{Field, section};
use crate::limits;
use crate::message::Message;
use crate::path;
use crate::report::{Findings, Location, did_you_mean, shown};
use crate::yaml::{self, Node, SourceFile, Value};

/// A service of a file that was read.
type ServiceKey = (usize, String);

/// Resolves `extends`, and reads the files that it names, each once.
pub(super) struct Extender<'a, 'f> {
    request: &'a Request<'a>,
    /// The name of the project's first file.
    first: Arc<str>,
    scalars: &'a Scalars<'a>,
    findings: &'f mut Findings,
    files: Vec<ExtendedFile>,
    /// Files by their paths; `None` after a mistake.
    by_path: HashMap<String, Option<usize>>,
    /// `None` after a mistake.
    resolved: HashMap<ServiceKey, Option<Node>>,
    nodes_left: usize,
    bytes_left: usize,
}

/// A file whose services can be extended.
struct ExtendedFile {
    source: Arc<SourceFile>,
    services: BTreeMap<String, Node>,
    removals: Removals,
}

impl<'a, 'f> Extender<'a, 'f> {
    pub(super) fn new(
        request: &'a Request<'a>,
        first: Arc<str>,
        scalars: &'a Scalars<'a>,
        findings: &'f mut Findings,
    ) -> Self {
        Self {
            request,
            first,
            scalars,
            findings,
            files: Vec::new(),
            by_path: HashMap::new(),
            resolved: HashMap::new(),
            nodes_left: limits::YAML_NODES,
            bytes_left: limits::YAML_BYTES,
        }
    }

    /// The findings, for what follows.
    pub(super) fn findings(&mut self) -> &mut Findings {
        self.findings
    }

    /// Completes the services of a file whose tags were taken out, and returns what its tags remove from earlier files.
    pub(super) fn complete(&mut self, tree: &mut Node, removals: Removals) -> Removals {
        let Value::Map(top) = &mut tree.value else { return removals };
        let Some(services) = top.iter_mut().find(|entry| entry.key == "services") else { return removals };
        let Value::Map(entries) = &mut services.value.value else { return removals };
        if !entries.iter().any(|entry| entry.value.get("extends").is_some()) {
            return removals;
        }
        let file = self.files.len();
        let named = entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect();
        self.files.push(ExtendedFile { source: services.value.file.clone(), services: named, removals });
        for entry in entries.iter_mut().filter(|entry| entry.value.get("extends").is_some()) {
            entry.value = self.service((file, entry.key.clone())).unwrap_or_else(|| own(&entry.value));
        }
        std::mem::take(&mut self.files[file].removals)
    }

    /// A service with everything that it extends; `None` after a mistake.
    fn service(&mut self, key: ServiceKey) -> Option<Node> {
        let mut chain = vec![key];
        let complete = self.end_of(&mut chain).and_then(|end| self.join(&mut chain, end));
        if complete.is_none() {
            // Whoever extends one of these has the same mistake, which is reported once.
            self.resolved.extend(chain.into_iter().map(|key| (key, None)));
        }
        complete
    }

    /// Follows `extends` until a service is complete, and returns that one. `chain` gets those before it.
    fn end_of(&mut self, chain: &mut Vec<ServiceKey>) -> Option<Node> {
        let mut seen: HashSet<ServiceKey> = chain.iter().cloned().collect();
        loop {
            let (file, name) = chain.last()?.clone();
            if let Some(known) = self.resolved.get(&(file, name.clone())) {
                chain.pop();
                return known.clone();
            }
            if self.nodes_left == 0 {
                return None;
            }
            let service = self.files[file].services.get(&name)?.clone();
            let field = Field { node: &service, location: location(&service, &name) };
            if !matches!(service.value, Value::Map(_)) && !service.is_null() {
                field.expected("a mapping", self.findings);
                return None;
            }
            let Some(extends) = field.get("extends").filter(|extends| !extends.node.is_null()) else {
                chain.pop();
                return Some(own(&service));
            };
            let next = self.target(file, &extends)?;
            if !seen.insert(next.clone()) {
                self.report_circle(chain, &next, extends.location);
                return None;
            }
            chain.push(next);
        }
    }

    /// The first service of a chain, merged over all after it.
    fn join(&mut self, chain: &mut Vec<ServiceKey>, mut complete: Node) -> Option<Node> {
        while let Some((file, name)) = chain.last().cloned() {
            let ExtendedFile { services, removals, .. } = &self.files[file];
            let service = services.get(&name)?;
            let at = location(service, &name);
            removals.apply_to_service(&name, &mut complete);
            complete = merge::service(complete, own(service), &at.path, self.findings);
            self.take_room(&complete, at)?;
            self.resolved.insert((file, name), Some(complete.clone()));
            chain.pop();
        }
        Some(complete)
    }

    fn report_circle(&mut self, chain: &[ServiceKey], next: &ServiceKey, at: Location) {
        let start = chain.iter().position(|key| key == next).unwrap_or_default();
        let names = chain[start..].iter().chain([next]);
        let names: Vec<_> = names.map(|(file, name)| self.name_beside(*file, name, next.0)).collect();
        // Long circles are cut.
        let circle = crate::report::shown_within(&names.join(" -> "), 400);
        let message = Message::new(format!("services extend each other in a circle: {circle}"));
        self.findings.mistake(at, message.with_hint("remove one of these `extends`"));
    }

    /// A service's name, with its file if that is another one.
    fn name_beside(&self, file: usize, name: &str, usual: usize) -> String {
        if file == usual {
            shown(name)
        } else {
            format!("{} ({})", shown(name), shown(&self.files[file].source.name))
        }
    }

    /// The service that an `extends` names; `None` after a mistake.
    fn target(&mut self, file: usize, extends: &Field<'_>) -> Option<ServiceKey> {
        let (service, named) = match &extends.node.value {
            Value::Scalar { .. } => (Some(extends.clone()), None),
            Value::Map(_) => {
                let known = ["service", "file"];
                let mut fields = section(extends, &known, |_| None, self.findings)?;
                let mut take = |key| {
                    let place = fields.iter().position(|(name, _)| *name == key)?;
                    Some(fields.swap_remove(place).1)
                };
                (take("service"), take("file"))
            }
            Value::List(_) => {
                extends.expected("the name of a service, or `service` and `file`", self.findings);
                return None;
            }
        };
        let name = match &service {
            Some(field) => self.scalars.substituted(field, self.findings)?,
            None => Substituted::plain(""),
        };
        let Some(service) = service.filter(|_| !name.value.is_empty()) else {
            let message = Message::new("`service` is missing");
            self.findings.mistake(extends.location.clone(), message.with_hint("name the service to extend"));
            return None;
        };
        let file = match named {
            Some(named) => self.file(file, &named)?,
            None => file,
        };
        let extended = &self.files[file];
        if !extended.services.contains_key(&name.value) {
            let known: Vec<&str> = extended.services.keys().map(String::as_str).collect();
            let text = format!("there is no service `{}` in {}", name.shown(), shown(&extended.source.name));
            let message = Message::new(text).with_hint(did_you_mean(&name.value, &known));
            self.findings.mistake(service.location, message);
            return None;
        }
        Some((file, name.value))
    }

    /// The file that `named` names, read; `None` after a mistake.
    fn file(&mut self, from: usize, named: &Field<'_>) -> Option<usize> {
        let text = self.scalars.substituted(named, self.findings)?;
        if text.value.contains("://") || text.value.starts_with("git@") {
            let message = Message::new("a remote file is not supported");
            self.findings
                .mistake(named.location.clone(), message.with_hint("check it out and name the file"));
            return None;
        }
        let source = &self.files[from].source;
        let folder = source.folder.as_deref().unwrap_or(self.request.folder);
        let beside: &str = if source.folder.is_some() { &source.name } else { &self.first };
        // The value of a variable may be a secret: the name has the text of the file.
        let name = path::beside(beside, text.written());
        let full = path::beside(&format!("{folder}/-"), &text.value);
        if let Some(known) = self.by_path.get(&full) {
            return *known;
        }
        let read = self.read(&name, &full, named);
        self.by_path.insert(full, read);
        read
    }

    fn read(&mut self, name: &str, full: &str, named: &Field<'_>) -> Option<usize> {
        if self.by_path.len() >= limits::COMPOSE_FILES {
            let message = format!("more than {} files are extended", limits::COMPOSE_FILES);
            self.findings.mistake(named.location.clone(), message);
            return None;
        }
        let text = match (self.request.read_file)(name, full) {
            Ok(text) => text,
            Err(message) => {
                self.findings.mistake(named.location.clone(), message);
                return None;
            }
        };
        let folder = full.rsplit_once('/').map(|(folder, _)| if folder.is_empty() { "/" } else { folder });
        let source = SourceFile { name: name.into(), folder: folder.map(Arc::from) };
        self.findings.source(&source.name);
        let mut tree = yaml::parse_source(source, &text, self.findings)?;
        let removals = Removals::take(&mut tree);
        let source = tree.file.clone();
        let root = Field::root(&tree);
        let services = root.get("services");
        let Some(services) = services.filter(|services| matches!(services.node.value, Value::Map(_))) else {
            let message = Message::new("`services` is missing");
            let hint = "a Compose file lists its services there";
            self.findings.mistake(root.location, message.with_hint(hint));
            return None;
        };
        let entries = services.entries().into_iter();
        let named = entries.map(|(name, field)| (name.to_owned(), field.node.clone())).collect();
        self.files.push(ExtendedFile { source, services: named, removals });
        Some(self.files.len() - 1)
    }

    /// Counts a copy of a service: many that extend a large one would be a large tree.
    fn take_room(&mut self, service: &Node, at: Location) -> Option<()> {
        let (nodes, bytes) = size(service);
        let left = (self.nodes_left.checked_sub(nodes), self.bytes_left.checked_sub(bytes));
        if let (Some(nodes), Some(bytes)) = left {
            (self.nodes_left, self.bytes_left) = (nodes, bytes);
            return Some(());
        }
        if self.nodes_left > 0 {
            let message = Message::new("the services are too large once `extends` is resolved");
            self.findings.mistake(at, message.with_hint("extend fewer or smaller services"));
        }
        (self.nodes_left, self.bytes_left) = (0, 0);
        None
    }
}

fn location(service: &Node, name: &str) -> Location {
    let path = format!("services.{}", shown(name));
    Location { line: service.line, col: service.col, path, ..Location::file(&service.file.name) }
}

/// A service without its `extends`.
fn own(service: &Node) -> Node {
    let mut own = service.clone();
    if let Value::Map(entries) = &mut own.value {
        entries.retain(|entry| entry.key != "extends");
    }
    own
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
