//! Walks a source folder entry by entry, in the order of the archive.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use bakery_core::message::Message;
use rustix::fs::OFlags;

use crate::byte_path::{display, join};
use crate::git_folder::{self, ALTERNATES, GIT, GitError, GitPart};
use crate::header::{Header, Kind};
use crate::links::relative_target;
use crate::notices::Notices;
use crate::pack_error::PackError;
use crate::rules::{Rules, Scope};
use crate::source_tree::SourceTree;

/// The content of a file.
#[derive(Debug)]
pub(crate) enum Content {
    /// The file itself, open.
    Of(File),
    /// What is packed in its place.
    Text(Vec<u8>),
}

/// Why an entry is left out.
pub(crate) enum LeftOut<'r> {
    /// By the rules of every context that contains it; with the scope of its folder.
    ByRules(&'r Rules, &'r Scope),
    /// It is `.git`.
    AsGit,
    /// It may hold credentials of git.
    AsCredentials,
}

/// Receives the entries.
pub(crate) trait Visitor {
    /// An entry of the archive; a file comes with its content.
    fn entry(
        &mut self,
        header: &Header,
        content: Option<Content>,
        notices: &mut Notices,
    ) -> Result<(), PackError>;

    /// An entry that is not in the archive. The path of a folder, with everything below it, ends with a slash.
    fn left_out(&mut self, path: &[u8], why: &LeftOut<'_>) -> Result<(), PackError>;
}

/// A walk in progress. Its memory is bounded by the folders from the root to the current entry and the names in them.
pub(crate) struct Walk<'w> {
    source: &'w SourceTree<'w>,
    rules: &'w Rules,
    visitor: &'w mut dyn Visitor,
    notices: Notices,
    folders: Vec<Folder>,
    /// Files in the repositories walked so far that their configs name.
    credentials: BTreeSet<Vec<u8>>,
}

struct Folder {
    path: Vec<u8>,
    scope: Scope,
    git: GitPart,
    /// Not yet visited, in reverse order.
    children: Vec<Child>,
    /// The folder's own entry as long as it has not been visited: an excluded folder is visited only if something below
    /// it is included.
    deferred: Option<Header>,
}

/// A name, with a slash at the end if it is a folder: in this form bytewise order is the order of the archive.
struct Child(Vec<u8>);

impl<'w> Walk<'w> {
    pub(crate) fn new(source: &'w SourceTree<'w>, rules: &'w Rules, visitor: &'w mut dyn Visitor) -> Self {
        Self {
            source,
            rules,
            visitor,
            notices: Notices::default(),
            folders: Vec::new(),
            credentials: BTreeSet::new(),
        }
    }

    /// Visits everything.
    pub(crate) fn run(mut self) -> Result<Notices, PackError> {
        let root = self.source.root;
        let is_folder = fs::metadata(root)
            .and_then(|meta| if meta.is_dir() { Ok(()) } else { Err(ErrorKind::NotADirectory.into()) });
        let children = is_folder.and_then(|()| list(root));
        let children = children.map_err(|cause| PackError::Root { path: root.to_path_buf(), cause })?;
        let (scope, git) = (self.rules.root(), GitPart::Outside);
        self.folders.push(Folder { path: Vec::new(), scope, git, children, deferred: None });
        while let Some(folder) = self.folders.last_mut() {
            let Some(Child(name)) = folder.children.pop() else {
                self.folders.pop();
                continue;
            };
            if let Some(name) = name.strip_suffix(b"/") {
                let path = join(&folder.path, name);
                self.enter(path, name)?;
            } else {
                let path = join(&folder.path, &name);
                let git = folder.git;
                if name == GIT && !self.source.git {
                    self.visitor.left_out(&path, &LeftOut::AsGit)?;
                } else if self.rules.excludes(&folder.scope, &path) {
                    self.visitor.left_out(&path, &LeftOut::ByRules(self.rules, &folder.scope))?;
                } else if git.has_credentials(&name) || self.credentials.contains(&path) {
                    self.visitor.left_out(&path, &LeftOut::AsCredentials)?;
                    self.notices.add(&path, "may hold credentials of git: left out");
                } else {
                    self.leaf(path, &name, git)?;
                }
            }
        }
        Ok(self.notices)
    }

    fn enter(&mut self, path: Vec<u8>, name: &[u8]) -> Result<(), PackError> {
        let shown = || [path.as_slice(), b"/"].concat();
        // Git itself never tracks a path with such a part, so it is never part of the source.
        if name == GIT && !self.source.git {
            return self.visitor.left_out(&shown(), &LeftOut::AsGit);
        }
        let Some(parent) = self.folders.last() else { return Ok(()) };
        let entered = self.rules.enter(&parent.scope, &path);
        if entered.prunable {
            if name == GIT {
                let lines: Vec<_> =
                    self.rules.excluding(&parent.scope, &path).map(|by| by.to_string()).collect();
                let text =
                    format!("is excluded by {}, although `context.git` is `true`", lines.join(" and "));
                self.notices
                    .add(&path, Message::new(text).with_hint("remove the line, or add `!.git` after it"));
            }
            return self.visitor.left_out(&shown(), &LeftOut::ByRules(self.rules, &parent.scope));
        }
        let full = self.full(&path);
        let git = parent.git.enter(name, &full);
        let found = fs::symlink_metadata(&full).and_then(|meta| Ok((meta, list(&full)?)));
        let Some((meta, children)) = self.existing(&path, found)? else { return Ok(()) };
        if git == GitPart::Repository {
            self.credentials.extend(git_folder::named_files(self.source.root, &path));
            if git_folder::borrows_objects(self.source.root, &path) {
                let text =
                    "names objects of another repository, which are not packed: git finds them no more";
                let hint = "`git repack -a -d`, then remove the file, makes the repository complete";
                self.notices.add(&join(&path, ALTERNATES.as_bytes()), Message::new(text).with_hint(hint));
            }
        }
        let own = Header { name: shown(), kind: Kind::Folder, mode: mode(&meta), mtime: mtime(&meta) };
        self.folders.push(Folder { path, scope: entered.scope, git, children, deferred: Some(own) });
        if entered.excluded { Ok(()) } else { self.visit_deferred() }
    }

    fn leaf(&mut self, path: Vec<u8>, name: &[u8], git: GitPart) -> Result<(), PackError> {
        let full = self.full(&path);
        // Most entries are files: open first, and query the type only if that fails.
        let opened = fs::OpenOptions::new()
            .read(true)
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed())
            .open(&full)
            .and_then(|file| file.metadata().map(|meta| (file, meta)));
        let (kind, meta, content) = match opened {
            Ok((_, meta)) if meta.is_file() && git.has_config(name) => {
                let text = git_folder::config(self.source.root, &path)?;
                (Kind::File { size: text.len() as u64 }, meta, Some(Content::Text(text)))
            }
            Ok((file, meta)) if meta.is_file() => {
                if name == GIT {
                    git_folder::check_file(self.source.root, &path)?;
                }
                (Kind::File { size: meta.len() }, meta, Some(Content::Of(file)))
            }
            Ok(_) => {
                self.notices.add(&path, NOT_PACKABLE);
                return Ok(());
            }
            Err(error) => {
                let Some(meta) = self.existing(&path, fs::symlink_metadata(&full))? else { return Ok(()) };
                if meta.is_symlink() && git.has_config(name) {
                    return Err(GitError::Link { path: display(&path) }.into());
                } else if meta.is_symlink() {
                    let Some(target) = self.existing(&path, fs::read_link(&full))? else { return Ok(()) };
                    let target = self.link_target(&path, target.into_os_string().into_vec());
                    (Kind::Link { target }, meta, None)
                } else if meta.is_file() {
                    return Err(PackError::Read { path: display(&path), cause: error });
                } else {
                    self.notices.add(&path, NOT_PACKABLE);
                    return Ok(());
                }
            }
        };
        let mode = if content.is_some() { mode(&meta) } else { 0o777 };
        self.visit_deferred()?;
        let header = Header { name: path, kind, mode, mtime: mtime(&meta) };
        self.visitor.entry(&header, content, &mut self.notices)
    }

    /// The target with which a link is packed.
    fn link_target(&mut self, path: &[u8], target: Vec<u8>) -> Vec<u8> {
        let Some(relative) = relative_target(self.source.root, path, &target) else { return target };
        let shown = display(&relative);
        self.notices.add(
            path,
            format!("is a link with an absolute path of this machine: packed as a link to `{shown}`"),
        );
        relative
    }

    /// Visits the deferred folders from the root to the current one.
    fn visit_deferred(&mut self) -> Result<(), PackError> {
        let first = self.folders.iter().rposition(|folder| folder.deferred.is_none()).map_or(0, |at| at + 1);
        for folder in &mut self.folders[first..] {
            if let Some(header) = folder.deferred.take() {
                self.visitor.entry(&header, None, &mut self.notices)?;
            }
        }
        Ok(())
    }

    /// `None`, with a notice, for an entry that was removed after its folder was listed.
    fn existing<T>(&mut self, path: &[u8], found: io::Result<T>) -> Result<Option<T>, PackError> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.notices.add(path, "was removed while the source was packed: left out");
                Ok(None)
            }
            Err(cause) => Err(PackError::Read { path: display(path), cause }),
        }
    }

    fn full(&self, path: &[u8]) -> PathBuf {
        self.source.root.join(OsStr::from_bytes(path))
    }
}

const NOT_PACKABLE: &str = "is a socket, a pipe or a device: left out";

fn list(folder: &Path) -> io::Result<Vec<Child>> {
    let mut children = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let mut name = entry.file_name().into_vec();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => name.push(b'/'),
            // If it is gone already, reading it reports that.
            _ => {}
        }
        children.push(Child(name));
    }
    children.sort_unstable_by(|a, b| b.0.cmp(&a.0));
    Ok(children)
}

fn mode(meta: &Metadata) -> u32 {
    meta.mode() & 0o7777
}

fn mtime(meta: &Metadata) -> u64 {
    u64::try_from(meta.mtime()).unwrap_or_default()
}
