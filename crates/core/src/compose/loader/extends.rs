//! `extends`: a service with what another one has, of the same file or of another.
//!
//! As in Compose, each file is complete in itself: its `extends` are resolved before it is merged with others.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::compose::files::NamedFile;
use crate::compose::loader::Loader;
use crate::compose::merge;
use crate::compose::scalar::Substituted;
use crate::compose::tags::Removals;
use crate::decode::{Field, section};
use crate::message::Message;
use crate::report::{Location, did_you_mean, shown};
use crate::yaml::{Node, SourceFile, Value};

/// A service of a file that was read.
type ServiceKey = (usize, String);

/// What is known of the files of one project that are extended.
#[derive(Default)]
pub(super) struct Extended {
    files: Vec<ExtendedFile>,
    /// Files by their paths; `None` after a mistake.
    by_path: HashMap<String, Option<usize>>,
    /// `None` after a mistake.
    resolved: HashMap<ServiceKey, Option<Node>>,
}

/// Resolves `extends`, and reads the files that it names, each once.
pub(super) struct Extender<'e, 'a, 'f> {
    pub(super) loader: &'e mut Loader<'a, 'f>,
    pub(super) known: &'e mut Extended,
}

/// A file whose services can be extended.
struct ExtendedFile {
    source: Arc<SourceFile>,
    services: BTreeMap<String, Node>,
    removals: Removals,
}

impl Extender<'_, '_, '_> {
    /// Completes the services of a file whose tags were taken out, and returns what its tags remove from earlier files.
    pub(super) fn complete(&mut self, tree: &mut Node, removals: Removals) -> Removals {
        let Value::Map(top) = &mut tree.value else { return removals };
        let Some(services) = top.iter_mut().find(|entry| entry.key == "services") else { return removals };
        let Value::Map(entries) = &mut services.value.value else { return removals };
        if !entries.iter().any(|entry| entry.value.get("extends").is_some()) {
            return removals;
        }
        let file = self.known.files.len();
        let named = entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect();
        self.known.files.push(ExtendedFile {
            source: services.value.file.clone(),
            services: named,
            removals,
        });
        for entry in entries.iter_mut().filter(|entry| entry.value.get("extends").is_some()) {
            entry.value = self.service((file, entry.key.clone())).unwrap_or_else(|| own(&entry.value));
        }
        std::mem::take(&mut self.known.files[file].removals)
    }

    /// A service with everything that it extends; `None` after a mistake.
    fn service(&mut self, key: ServiceKey) -> Option<Node> {
        let mut chain = vec![key];
        let complete = self.end_of(&mut chain).and_then(|end| self.join(&mut chain, end));
        if complete.is_none() {
            // Whoever extends one of these has the same mistake, which is reported once.
            self.known.resolved.extend(chain.into_iter().map(|key| (key, None)));
        }
        complete
    }

    /// Follows `extends` until a service is complete, and returns that one. `chain` gets those before it.
    fn end_of(&mut self, chain: &mut Vec<ServiceKey>) -> Option<Node> {
        let mut seen: HashSet<ServiceKey> = chain.iter().cloned().collect();
        loop {
            let (file, name) = chain.last()?.clone();
            if let Some(known) = self.known.resolved.get(&(file, name.clone())) {
                chain.pop();
                return known.clone();
            }
            if self.loader.room.is_used_up() {
                return None;
            }
            let service = self.known.files[file].services.get(&name)?.clone();
            let field = Field { node: &service, location: location(&service, &name) };
            if !matches!(service.value, Value::Map(_)) && !service.is_null() {
                field.expected("a mapping", self.loader.findings);
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
            let ExtendedFile { services, removals, .. } = &self.known.files[file];
            let service = services.get(&name)?;
            let at = location(service, &name);
            removals.apply_to_service(&name, &mut complete);
            complete = merge::service(complete, own(service), &at.path, self.loader.findings);
            self.loader.room.take(&complete, at, "extends", self.loader.findings)?;
            self.known.resolved.insert((file, name), Some(complete.clone()));
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
        self.loader.findings.mistake(at, message.with_hint("remove one of these `extends`"));
    }

    /// A service's name, with its file if that is another one.
    fn name_beside(&self, file: usize, name: &str, usual: usize) -> String {
        if file == usual {
            shown(name)
        } else {
            format!("{} ({})", shown(name), shown(&self.known.files[file].source.name))
        }
    }

    /// The service that an `extends` names; `None` after a mistake.
    fn target(&mut self, file: usize, extends: &Field<'_>) -> Option<ServiceKey> {
        let (service, named) = match &extends.node.value {
            Value::Scalar { .. } => (Some(extends.clone()), None),
            Value::Map(_) => {
                let known = ["service", "file"];
                let mut fields = section(extends, &known, |_| None, self.loader.findings)?;
                let mut take = |key| {
                    let place = fields.iter().position(|(name, _)| *name == key)?;
                    Some(fields.swap_remove(place).1)
                };
                (take("service"), take("file"))
            }
            Value::List(_) => {
                extends.expected("the name of a service, or `service` and `file`", self.loader.findings);
                return None;
            }
        };
        let name = match &service {
            Some(field) => self.loader.scalars.substituted(field, self.loader.findings)?,
            None => Substituted::plain(""),
        };
        let Some(service) = service.filter(|_| !name.value.is_empty()) else {
            let message = Message::new("`service` is missing");
            self.loader
                .findings
                .mistake(extends.location.clone(), message.with_hint("name the service to extend"));
            return None;
        };
        let file = match named {
            Some(named) => self.file(file, &named)?,
            None => file,
        };
        let extended = &self.known.files[file];
        if !extended.services.contains_key(&name.value) {
            let known: Vec<&str> = extended.services.keys().map(String::as_str).collect();
            let text = format!("there is no service `{}` in {}", name.shown(), shown(&extended.source.name));
            let message = Message::new(text).with_hint(did_you_mean(&name.value, &known));
            self.loader.findings.mistake(service.location, message);
            return None;
        }
        Some((file, name.value))
    }

    /// The file that `named` names, read; `None` after a mistake.
    fn file(&mut self, from: usize, named: &Field<'_>) -> Option<usize> {
        let Loader { files, scalars, findings, .. } = &mut *self.loader;
        let source = &self.known.files[from].source;
        let file = NamedFile::of(named, files.folder(source), scalars, findings)?;
        if let Some(known) = self.known.by_path.get(&file.path) {
            return *known;
        }
        let project = source.project;
        let read = self.read(&file, project, named);
        self.known.by_path.insert(file.path, read);
        read
    }

    fn read(&mut self, file: &NamedFile, project: usize, named: &Field<'_>) -> Option<usize> {
        let Loader { files, findings, .. } = &mut *self.loader;
        let mut tree = files.tree(file, (Arc::new(file.folder()), project), named, findings)?;
        let removals = Removals::take(&mut tree);
        let source = tree.file.clone();
        let root = Field::root(&tree);
        let services = root.get("services");
        let Some(services) = services.filter(|services| matches!(services.node.value, Value::Map(_))) else {
            let message = Message::new("`services` is missing");
            let hint = "a Compose file lists its services there";
            findings.mistake(root.location, message.with_hint(hint));
            return None;
        };
        let entries = services.entries().into_iter();
        let named = entries.map(|(name, field)| (name.to_owned(), field.node.clone())).collect();
        self.known.files.push(ExtendedFile { source, services: named, removals });
        Some(self.known.files.len() - 1)
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
