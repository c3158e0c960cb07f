//! Walks a source folder entry by entry, in the order of the archive.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::byte_path::{display, join};
use crate::header::{Header, Kind};
use crate::pack_error::PackError;
use crate::rules::{Rules, Scope};

/// Maximum number of notices that are kept; further ones are only counted.
const NOTICES: usize = 20;

/// Messages about entries that were left out or changed while they were packed.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    lines: Vec<String>,
    more: usize,
}

impl Notices {
    pub(crate) fn add(&mut self, path: &[u8], text: &str) {
        if self.lines.len() < NOTICES {
            self.lines.push(format!("`{}` {text}", display(path)));
        } else {
            self.more += 1;
        }
    }

    pub(crate) fn into_lines(mut self) -> Vec<String> {
        if self.more > 0 {
            self.lines.push(format!("and {} more entries", self.more));
        }
        self.lines
    }
}

/// Receives the entries: a header, and the open file if the entry has content.
pub(crate) type Visit<'v> = dyn FnMut(&Header, Option<File>, &mut Notices) -> Result<(), PackError> + 'v;

/// A walk in progress. Its memory is bounded by the folders from the root to the current entry and the names in them.
pub(crate) struct Walk<'w> {
    root: &'w Path,
    rules: &'w Rules,
    visit: &'w mut Visit<'w>,
    notices: Notices,
    folders: Vec<Folder>,
}

struct Folder {
    path: Vec<u8>,
    scope: Scope,
    /// Not yet visited, in reverse order.
    children: Vec<Child>,
    /// The folder's own entry as long as it has not been visited: an excluded folder is visited only if something below
    /// it is included.
    deferred: Option<Header>,
}

/// A name, with a slash at the end if it is a folder: in this form bytewise order is the order of the archive.
struct Child(Vec<u8>);

impl<'w> Walk<'w> {
    pub(crate) fn new(root: &'w Path, rules: &'w Rules, visit: &'w mut Visit<'w>) -> Self {
        Self { root, rules, visit, notices: Notices::default(), folders: Vec::new() }
    }

    /// Visits everything that belongs in the archive.
    pub(crate) fn run(mut self) -> Result<Notices, PackError> {
        let is_folder = fs::metadata(self.root)
            .and_then(|meta| if meta.is_dir() { Ok(()) } else { Err(ErrorKind::NotADirectory.into()) });
        let children = is_folder.and_then(|()| list(self.root));
        let children = children.map_err(|cause| PackError::Root { path: self.root.to_path_buf(), cause })?;
        let scope = self.rules.root();
        self.folders.push(Folder { path: Vec::new(), scope, children, deferred: None });
        while let Some(folder) = self.folders.last_mut() {
            let Some(Child(name)) = folder.children.pop() else {
                self.folders.pop();
                continue;
            };
            if let Some(name) = name.strip_suffix(b"/") {
                let path = join(&folder.path, name);
                self.enter(path)?;
            } else {
                let path = join(&folder.path, &name);
                if !self.rules.excludes(&folder.scope, &path) {
                    self.leaf(path)?;
                }
            }
        }
        Ok(self.notices)
    }

    fn enter(&mut self, path: Vec<u8>) -> Result<(), PackError> {
        // Git itself never tracks a path with such a part, so it is never part of the source.
        if path.ends_with(b".git") && (path.len() == 4 || path[path.len() - 5] == b'/') {
            return Ok(());
        }
        let Some(parent) = self.folders.last() else { return Ok(()) };
        let entered = self.rules.enter(&parent.scope, &path);
        if entered.prunable {
            return Ok(());
        }
        let full = self.full(&path);
        let found = fs::symlink_metadata(&full).and_then(|meta| Ok((meta, list(&full)?)));
        let Some((meta, children)) = self.existing(&path, found)? else { return Ok(()) };
        let own = Header {
            name: [path.as_slice(), b"/"].concat(),
            kind: Kind::Folder,
            mode: mode(&meta),
            mtime: mtime(&meta),
        };
        self.folders.push(Folder { path, scope: entered.scope, children, deferred: Some(own) });
        if entered.excluded { Ok(()) } else { self.visit_deferred() }
    }

    fn leaf(&mut self, path: Vec<u8>) -> Result<(), PackError> {
        if path.ends_with(b"/.git") || path == b".git" {
            return Ok(());
        }
        let full = self.full(&path);
        // Most entries are files: open first, and query the type only if that fails.
        let opened = fs::OpenOptions::new()
            .read(true)
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed())
            .open(&full)
            .and_then(|file| file.metadata().map(|meta| (file, meta)));
        let (kind, meta, file) = match opened {
            Ok((file, meta)) if meta.is_file() => (Kind::File { size: meta.len() }, meta, Some(file)),
            Ok(_) => {
                self.notices.add(&path, NOT_PACKABLE);
                return Ok(());
            }
            Err(error) => {
                let Some(meta) = self.existing(&path, fs::symlink_metadata(&full))? else { return Ok(()) };
                if meta.is_symlink() {
                    let Some(target) = self.existing(&path, fs::read_link(&full))? else { return Ok(()) };
                    (Kind::Link { target: target.into_os_string().into_vec() }, meta, None)
                } else if meta.is_file() {
                    return Err(PackError::Read { path: display(&path), cause: error });
                } else {
                    self.notices.add(&path, NOT_PACKABLE);
                    return Ok(());
                }
            }
        };
        let mode = if file.is_some() { mode(&meta) } else { 0o777 };
        self.visit_deferred()?;
        let header = Header { name: path, kind, mode, mtime: mtime(&meta) };
        (self.visit)(&header, file, &mut self.notices)
    }

    /// Visits the deferred folders from the root to the current one.
    fn visit_deferred(&mut self) -> Result<(), PackError> {
        let first = self.folders.iter().rposition(|folder| folder.deferred.is_none()).map_or(0, |at| at + 1);
        for folder in &mut self.folders[first..] {
            if let Some(header) = folder.deferred.take() {
                (self.visit)(&header, None, &mut self.notices)?;
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
        self.root.join(OsStr::from_bytes(path))
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
