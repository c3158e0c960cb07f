//! The programs of the agent image that run the scripts. They are in Kaniko's folder, where a `RUN` step can replace them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bakery_context::{RegularFileError, read_regular_file};
use bakery_core::image::Digest;

use crate::layout::Layout;

/// The programs as they were before the first `RUN` step.
#[derive(Debug)]
pub struct Tools {
    /// The shell, and everything in its folder if that folder is Kaniko's.
    programs: BTreeMap<PathBuf, Program>,
    /// Kaniko's folder of programs.
    folder: PathBuf,
}

#[derive(Debug, PartialEq, Eq)]
enum Program {
    Link(PathBuf),
    File { bytes: u64, digest: Digest },
    Other,
}

impl Tools {
    /// Reads the programs.
    pub fn read(layout: &Layout) -> io::Result<Self> {
        let folder = layout.root.join("bin");
        let shell = layout.find("sh");
        let target = shell.as_ref().and_then(|shell| fs::canonicalize(shell).ok());
        let all: BTreeSet<PathBuf> = paths(&folder).into_iter().chain(shell).chain(target).collect();
        let programs = all.into_iter().map(|path| {
            let bytes = fs::symlink_metadata(&path)?.len();
            Program::read(&path, bytes).map(|program| (path, program))
        });
        let programs = programs.collect::<io::Result<_>>()?;
        Ok(Self { programs, folder })
    }

    /// A program that is not as it was, or is new.
    pub fn changed(&self) -> Option<PathBuf> {
        let is_same = |path: &Path, program: &Program| {
            let bytes = if let Program::File { bytes, .. } = program { *bytes } else { 0 };
            Program::read(path, bytes).is_ok_and(|now| now == *program)
        };
        let changed = self.programs.iter().find(|(path, program)| !is_same(path, program));
        changed
            .map(|(path, _)| path.clone())
            .or_else(|| paths(&self.folder).into_iter().find(|path| !self.programs.contains_key(path)))
    }
}

impl Program {
    /// The program at `path`; a file must have at most `bytes` bytes.
    fn read(path: &Path, bytes: u64) -> io::Result<Self> {
        let kind = fs::symlink_metadata(path)?;
        if kind.is_symlink() {
            return Ok(Self::Link(fs::read_link(path)?));
        }
        if !kind.is_file() {
            return Ok(Self::Other);
        }
        Ok(Self::File { bytes, digest: Digest::of(&read_regular_file(path, bytes).map_err(to_io)?) })
    }
}

fn to_io(error: RegularFileError) -> io::Error {
    match error {
        RegularFileError::Io(error) => error,
        error => io::Error::other(error),
    }
}

/// What is in the folder.
fn paths(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_06_a_changed_new_or_missing_program_is_found() {
        let machine = tempfile::tempdir().unwrap();
        let root = machine.path().join("kaniko");
        let path = |name: &str| root.join("bin").join(name);
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::write(path("busybox"), "program").unwrap();
        std::os::unix::fs::symlink("busybox", path("sh")).unwrap();
        std::os::unix::fs::symlink("busybox", path("ls")).unwrap();
        let layout = Layout { path: root.join("bin").to_string_lossy().into_owned(), ..Layout::below(&root) };
        let tools = Tools::read(&layout).unwrap();
        assert_eq!(tools.changed(), None);

        fs::write(path("busybox"), "PROGRAM").unwrap();
        assert_eq!(tools.changed(), Some(path("busybox")));
        fs::write(path("busybox"), "program").unwrap();
        assert_eq!(tools.changed(), None);

        fs::remove_file(path("ls")).unwrap();
        assert_eq!(tools.changed(), Some(path("ls")));
        std::os::unix::fs::symlink("/tmp/evil", path("ls")).unwrap();
        assert_eq!(tools.changed(), Some(path("ls")));
        fs::remove_file(path("ls")).unwrap();
        std::os::unix::fs::symlink("busybox", path("ls")).unwrap();

        fs::write(path("cat"), "new").unwrap();
        assert_eq!(tools.changed(), Some(path("cat")));
    }
}
