//! `include`: other projects whose services become services of this one.
//!
//! As in Compose, an included project is complete in itself: it has a folder and a `.env` of its own (the variables of the
//! whole project win), and its files are merged before the file that includes it is merged over them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::compose::dotenv::gather_dotenv;
use crate::compose::files::NamedFile;
use crate::compose::loader::Loader;
use crate::compose::merge;
use crate::compose::scalar::{IncludedProject, Substituted};
use crate::compose::tags::Removals;
use crate::compose::top_level::check_top_level;
use crate::decode::{Field, section};
use crate::message::Message;
use crate::report::{shown, shown_within};
use crate::vars::{Layered, Vars as _};
use crate::yaml::{Folder, Node, Value};

/// One item of `include`, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Include {
    /// Each merged over those before it.
    files: Vec<NamedFile>,
    folder: Folder,
    env_files: Vec<NamedFile>,
}

impl Loader<'_, '_> {
    /// Adds the services of the projects that a file includes. `removals` is what the file takes away from them. False after
    /// a mistake.
    pub(super) fn include(&mut self, file: &mut Node, removals: &Removals) -> bool {
        let Some(list) = Field::root(file).get("include").filter(|list| !list.node.is_null()) else {
            return true;
        };
        if !matches!(list.node.value, Value::List(_)) {
            list.expected("a list of files", self.findings);
            return false;
        }
        let projects: Vec<_> = list.items().iter().map(|item| self.included(item)).collect();
        let complete = projects.iter().all(Option::is_some);
        for project in projects.into_iter().flatten() {
            self.import(file, project, removals);
        }
        complete
    }

    /// The services of the project that an item names; `None` after a mistake.
    fn included(&mut self, item: &Field<'_>) -> Option<Node> {
        let include = self.read_include(item)?;
        let main = include.files.first()?;
        if let Some(start) = self.including.iter().position(|file| file.path == main.path) {
            let names = self.including[start..].iter().chain([main]).map(|file| shown(&file.name));
            let circle = shown_within(&names.collect::<Vec<_>>().join(" -> "), 400);
            let message = Message::new(format!("files include each other in a circle: {circle}"));
            self.findings.mistake(item.location.clone(), message.with_hint("remove one of these `include`s"));
            return None;
        }
        let known = self.included.iter().find(|(known, _)| *known == include);
        let project = if let Some((_, project)) = known {
            project.clone()
        } else {
            let project = self.project(&include, item);
            self.included.push((include, project.clone()));
            project
        }?;
        self.room.take(&project, item.location.clone(), "include", self.findings)?;
        Some(project)
    }

    fn read_include(&mut self, item: &Field<'_>) -> Option<Include> {
        let parts = match &item.node.value {
            Value::Map(_) => {
                section(item, &["path", "project_directory", "env_file"], |_| None, self.findings)?
            }
            Value::Scalar { .. } => vec![("path", item.clone())],
            Value::List(_) => {
                item.expected("a file, or a mapping with `path`", self.findings);
                return None;
            }
        };
        let part = |key| parts.iter().find(|(name, _)| *name == key).map(|(_, field)| field);
        let here = self.files.folder(&item.node.file).clone();
        let files = self.list(part("path"), &here)?;
        let Some(first) = files.first() else {
            let message = Message::new("`path` is missing").with_hint("name the file to include");
            self.findings.mistake(item.location.clone(), message);
            return None;
        };
        let folder = match part("project_directory") {
            Some(field) => {
                let text = self.scalars.substituted(field, self.findings)?;
                let NamedFile { name, path } = NamedFile::new(&here, &text);
                Folder { path, shown: if name == "." { String::new() } else { name } }
            }
            None => first.folder(),
        };
        let env_files = if let Some(field) = part("env_file") {
            self.list(Some(field), &here)?
        } else {
            let file = NamedFile::new(&folder, &Substituted::plain(".env"));
            if self.files.request.files.exists(&file.path) { vec![file] } else { Vec::new() }
        };
        // Compose's own way to have no file.
        let env_files = env_files.into_iter().filter(|file| file.path != "/dev/null").collect();
        Some(Include { files, folder, env_files })
    }

    /// One file, or several.
    fn list(&mut self, field: Option<&Field<'_>>, folder: &Folder) -> Option<Vec<NamedFile>> {
        let Some(field) = field else { return Some(Vec::new()) };
        let items =
            if matches!(field.node.value, Value::List(_)) { field.items() } else { vec![field.clone()] };
        let named: Vec<_> =
            items.iter().map(|item| NamedFile::of(item, folder, self.scalars, self.findings)).collect();
        named.into_iter().collect()
    }

    /// The files of a project, merged.
    fn project(&mut self, include: &Include, item: &Field<'_>) -> Option<Node> {
        let folder = Arc::new(include.folder.clone());
        let project = self.scalars.add_project(self.variables(include, folder.clone(), item)?);
        let mut trees = Vec::new();
        for file in &include.files {
            trees.push(self.files.tree(file, (folder.clone(), project), item, self.findings));
        }
        let trees: Vec<Node> = trees.into_iter().collect::<Option<_>>()?;
        self.including.push(include.files.first()?.clone());
        let merged = self.merged(&trees);
        self.including.pop();
        let merged = merged?;
        let root = Field::root(&merged);
        check_top_level(&root, self.findings);
        match root.get("services") {
            None => Some(merged),
            Some(services) if matches!(services.node.value, Value::Map(_)) => Some(merged),
            Some(services) => {
                services.expected("a mapping of services", self.findings);
                None
            }
        }
    }

    /// A project with what its `.env` files set; `None` after a mistake.
    fn variables(
        &mut self,
        include: &Include,
        folder: Arc<Folder>,
        item: &Field<'_>,
    ) -> Option<IncludedProject> {
        let outer = self.scalars.project(item.node.file.project);
        let vars = self.scalars.vars_of(item.node.file.project);
        let (mut values, mut withheld) = match &outer {
            Some(project) => (project.values.clone(), project.withheld.clone()),
            None => (BTreeMap::new(), self.files.request.withheld.clone()),
        };
        let known = self.findings.mistakes.len();
        for file in &include.env_files {
            let text = self.files.text(file, item, self.findings)?;
            let upper = Layered { upper: &vars, lower: &values };
            self.findings.source(&file.name.as_str().into());
            let own = gather_dotenv(&file.name, &text, &upper, self.findings);
            withheld = withheld.with_dotenv(&text, &upper);
            for (name, value) in own {
                // The value may be a secret: whoever records those gets it.
                vars.defaulted(&name, &value);
                // Later files win over earlier ones, and projects that include this one over both.
                if outer.get(&name).is_none() {
                    values.insert(name, value);
                }
            }
        }
        (self.findings.mistakes.len() == known).then_some(IncludedProject { folder, values, withheld })
    }

    /// Merges the services of an included project below those of the file that includes it.
    fn import(&mut self, file: &mut Node, project: Node, removals: &Removals) {
        let Value::Map(parts) = project.value else { return };
        let Some(services) = parts.into_iter().find(|entry| entry.key == "services") else { return };
        let Value::Map(top) = &mut file.value else { return };
        let place = top.iter().position(|entry| entry.key == "services" && !entry.value.is_null());
        let Some(place) = place else {
            top.retain(|entry| entry.key != "services");
            top.push(services);
            return;
        };
        let (Value::Map(own), Value::Map(included)) = (&mut top[place].value.value, services.value.value)
        else {
            return;
        };
        let places: BTreeMap<String, usize> =
            own.iter().enumerate().map(|(place, entry)| (entry.key.clone(), place)).collect();
        for mut entry in included {
            let Some(place) = places.get(&entry.key) else {
                own.push(entry);
                continue;
            };
            let existing = &mut own[*place].value;
            // The same service by two ways: lists would be in it twice.
            if existing.is_same(&entry.value) {
                continue;
            }
            removals.apply_to_service(&entry.key, &mut entry.value);
            let path = format!("services.{}", shown(&entry.key));
            let over = std::mem::replace(existing, entry.value.emptied());
            *existing = merge::service(entry.value, over, &path, self.findings);
        }
    }
}
