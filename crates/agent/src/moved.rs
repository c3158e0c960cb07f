//! Another folder for Kaniko and the agent than the one of the agent's image, for images that hold `/kaniko` themselves:
//! Kaniko takes nothing from its own folder into an image, and skips what a Dockerfile copies there.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bakery_core::reason::Reason;

use crate::failure::Failure;
use crate::layout::Layout;

/// Brings everything that a build needs into `to`, and says where it lies now. What was there before stays until it is
/// [left](leave): the agent itself still reads its certificates there.
pub fn bring(layout: &Layout, to: &Path) -> Result<Layout, Failure> {
    if to.symlink_metadata().is_ok() {
        let text = format!("Kaniko cannot move to `{}`: the agent image has that path already", to.display());
        return Err(Failure::new(Reason::ExecutorFailed, text).hint("name another folder as `kaniko.dir`"));
    }
    let moved = layout.moved(to);
    // The agent's own files are made where they are needed.
    let copied =
        to.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| copy(&layout.root, to, &layout.home));
    copied.map_err(|error| Failure::disk(to, &error))?;
    Ok(moved)
}

/// Empties the old folder, and says what is left in it: what is mounted there is not ours to remove, and nothing uses it
/// any more.
pub fn leave(old: &Path) -> Vec<PathBuf> {
    let mut left = Vec::new();
    match fs::symlink_metadata(old) {
        Ok(folder) => empty(old, folder.dev(), &mut left),
        Err(_) => left.push(old.to_owned()),
    }
    left
}

fn copy(from: &Path, to: &Path, but: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(from)?;
    if kind.is_symlink() {
        return std::os::unix::fs::symlink(fs::read_link(from)?, to);
    }
    if !kind.is_dir() {
        return fs::copy(from, to).map(drop);
    }
    fs::create_dir(to)?;
    fs::set_permissions(to, kind.permissions())?;
    for entry in fs::read_dir(from)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if path != but {
            copy(&path, &to.join(name), but)?;
        }
    }
    Ok(())
}

fn empty(folder: &Path, device: u64, left: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return left.push(folder.to_owned()) };
    for path in entries.flatten().map(|entry| entry.path()) {
        let before = left.len();
        let removed = match fs::symlink_metadata(&path) {
            Ok(it) if it.is_dir() && it.dev() == device => {
                empty(&path, device, left);
                // A folder that holds what is left stays, and is not named beside it.
                if left.len() > before { Ok(()) } else { fs::remove_dir(&path) }
            }
            Ok(it) if it.is_dir() => Err(io::ErrorKind::ResourceBusy.into()),
            Ok(_) => fs::remove_file(&path),
            Err(error) => Err(error),
        };
        if removed.is_err() {
            left.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn everything_but_the_agents_own_files_is_brought_and_nothing_is_left() {
        let machine = tempfile::tempdir().unwrap();
        let (old, new) = (machine.path().join("kaniko"), machine.path().join("opt/kaniko2"));
        fs::create_dir_all(old.join("bin")).unwrap();
        fs::create_dir_all(old.join("bakery")).unwrap();
        fs::write(old.join("bakery/spool"), "a line").unwrap();
        fs::write(old.join("bin/busybox"), "program").unwrap();
        fs::set_permissions(old.join("bin/busybox"), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("busybox", old.join("bin/sh")).unwrap();

        let moved = bring(&Layout::below(&old), &new).unwrap();
        assert_eq!(moved.executor, new.join("executor"));
        assert_eq!(moved.find("sh"), Some(new.join("bin/sh")));
        assert_eq!(fs::read_link(new.join("bin/sh")).unwrap(), Path::new("busybox"));
        assert_eq!(fs::metadata(new.join("bin/sh")).unwrap().permissions().mode() & 0o777, 0o755);
        assert!(!new.join("bakery").exists());
        assert!(old.join("bin/busybox").exists(), "it is needed until the build begins");

        assert!(leave(&old).is_empty());
        assert_eq!(fs::read_dir(&old).unwrap().count(), 0);
        let gone = machine.path().join("gone");
        assert_eq!(leave(&gone), std::slice::from_ref(&gone));
    }

    #[test]
    fn a_path_that_is_there_is_nobodys_new_home() {
        let machine = tempfile::tempdir().unwrap();
        let failure = bring(&Layout::below(&machine.path().join("kaniko")), machine.path()).unwrap_err();
        assert!(
            failure.sentence().contains("has that path already (hint: name another folder"),
            "{failure:?}"
        );
    }
}
