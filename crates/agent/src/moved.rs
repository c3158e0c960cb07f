//! Another folder for Kaniko and the agent than the one of the agent's image, for images that hold `/kaniko` themselves:
//! Kaniko takes nothing from its own folder into an image, and skips what a Dockerfile copies there.

use std::fs;
use std::io;
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

/// Removes the old folder. What is mounted there stays, and is empty: Kaniko takes no mount into an image either.
pub fn leave(old: &Path) {
    empty(old).unwrap_or_else(|error| {
        tracing::warn!(old = %old.display(), %error, "not all of the old folder is gone");
    });
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

fn empty(folder: &Path) -> io::Result<()> {
    let paths: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    for path in paths {
        let folder = fs::symlink_metadata(&path)?.is_dir();
        match if folder { empty(&path).and_then(|()| fs::remove_dir(&path)) } else { fs::remove_file(&path) }
        {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
            done => done?,
        }
    }
    Ok(())
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

        leave(&old);
        assert_eq!(fs::read_dir(&old).unwrap().count(), 0);
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
