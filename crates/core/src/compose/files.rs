//! The files that Compose files name: those of `extends` and `include`.

use std::sync::Arc;

use crate::compose::Request;
use crate::compose::scalar::{Scalars, Substituted};
use crate::decode::Field;
use crate::limits;
use crate::message::Message;
use crate::path;
use crate::report::Findings;
use crate::yaml::{self, Folder, Node, SourceFile};

/// A file that a Compose file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedFile {
    /// Its name in messages.
    pub(super) name: String,
    /// Its path: absolute.
    pub(super) path: String,
}

impl NamedFile {
    /// What `text` names in `folder`. The value of a variable may be a secret: the name has the text of the file.
    pub(super) fn new(folder: &Folder, text: &Substituted) -> Self {
        let beside = |folder: &str, text: &str| path::beside(&format!("{folder}/-"), text);
        let name = if folder.shown.is_empty() {
            path::beside("-", text.written())
        } else {
            beside(&folder.shown, text.written())
        };
        Self { name, path: beside(&folder.path, &text.value) }
    }

    /// What a text without variables names in `folder`.
    pub(super) fn beside(folder: &Folder, text: &str) -> Self {
        Self::new(folder, &Substituted::plain(text))
    }

    /// The file that the value of `field` names, relative to `folder`; `None` after a mistake.
    pub(super) fn of(
        field: &Field<'_>,
        folder: &Folder,
        scalars: &Scalars<'_>,
        findings: &mut Findings,
    ) -> Option<Self> {
        let text = scalars.substituted(field, findings)?;
        let message = if text.value.is_empty() {
            Message::new("names no file").with_hint("name a file, or remove the key")
        } else if text.value.contains("://") || text.value.starts_with("git@") {
            Message::new("a remote file is not supported").with_hint("check it out and name the file")
        } else {
            return Some(Self::new(folder, &text));
        };
        findings.mistake(field.location.clone(), message);
        None
    }

    /// The folder of this file.
    pub(super) fn folder(&self) -> Folder {
        let parent = |path: &str| path.rsplit_once('/').map(|(folder, _)| folder.to_owned());
        let path = parent(&self.path).filter(|folder| !folder.is_empty()).unwrap_or_else(|| "/".to_owned());
        Folder { path, shown: parent(&self.name).unwrap_or_default() }
    }
}

/// Reads the files that Compose files name, up to [`limits::COMPOSE_FILES`].
pub(super) struct FileReader<'a> {
    pub(super) request: &'a Request<'a>,
    /// The folder of the whole project.
    top: Folder,
    count: usize,
}

impl<'a> FileReader<'a> {
    /// For a project whose first file has this name.
    pub(super) fn new(request: &'a Request<'a>, first: &str) -> Self {
        let shown = first.rsplit_once('/').map(|(folder, _)| folder.to_owned()).unwrap_or_default();
        Self { request, top: Folder { path: request.folder.to_owned(), shown }, count: 0 }
    }

    /// The folder that the paths of a file are relative to.
    pub(super) fn folder<'s>(&'s self, file: &'s SourceFile) -> &'s Folder {
        file.folder.as_deref().unwrap_or(&self.top)
    }

    /// The text of a file that `at` names; `None` after a mistake.
    pub(super) fn text(
        &mut self,
        file: &NamedFile,
        at: &Field<'_>,
        findings: &mut Findings,
    ) -> Option<String> {
        if self.count >= limits::COMPOSE_FILES {
            let message = format!("Compose files name more than {} other files", limits::COMPOSE_FILES);
            findings.mistake(at.location.clone(), message);
            return None;
        }
        self.count += 1;
        match self.request.files.read(&file.name, &file.path) {
            Ok(text) => Some(text),
            Err(message) => {
                findings.mistake(at.location.clone(), message);
                None
            }
        }
    }

    /// The tree of a file that `at` names; `None` after a mistake. Its paths are relative to `folder`.
    pub(super) fn tree(
        &mut self,
        file: &NamedFile,
        (folder, project): (Arc<Folder>, usize),
        at: &Field<'_>,
        findings: &mut Findings,
    ) -> Option<Node> {
        let text = self.text(file, at, findings)?;
        let source =
            SourceFile { name: file.name.as_str().into(), folder: Some(folder), project, is_option: false };
        findings.source(&source.name);
        yaml::parse_source(source, &text, findings)
    }
}
