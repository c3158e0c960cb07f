//! Relocation of Kaniko and the agent to another folder, for images that contain files below `/kaniko`: Kaniko never
//! adds files of its own folder to an image, and skips what a Dockerfile copies there.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bakery_core::reason::Reason;

use crate::failure::Failure;
use crate::layout::Layout;

/// Copies everything that a build needs to the folder `to` and returns the new layout. The old folder stays until
/// [`remove_old`] is called: the agent itself still reads its certificates from there.
pub fn copy(layout: &Layout, to: &Path) -> Result<Layout, Failure> {
    if to.symlink_metadata().is_ok() {
        let text =
            format!("Kaniko cannot be relocated to `{}`: the path exists in the agent image", to.display());
        return Err(
            Failure::new(Reason::ExecutorFailed, text).with_hint("set `kaniko.dir` to another folder")
        );
    }
    let relocated = layout.relocated(to);
    // The agent creates its own files in the new folder.
    let copied = to
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| copy_tree(&layout.root, to, &layout.home));
    copied.map_err(|error| Failure::io(to, &error))?;
    Ok(relocated)
}

/// Deletes the contents of the old folder and returns the paths that could not be deleted. Mounts are kept; nothing
/// uses them any more.
pub fn remove_old(old: &Path) -> Vec<PathBuf> {
    let mut kept = Vec::new();
    match fs::symlink_metadata(old) {
        Ok(folder) => empty(old, folder.dev(), &mut kept),
        Err(_) => kept.push(old.to_owned()),
    }
    kept
}

/// Copies a file or a folder with everything in it, but for the path `except`.
fn copy_tree(from: &Path, to: &Path, except: &Path) -> io::Result<()> {
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
        if path != except {
            copy_tree(&path, &to.join(name), except)?;
        }
    }
    Ok(())
}

/// Deletes what is in `folder` and on the device `device`; adds to `kept` what could not be deleted.
fn empty(folder: &Path, device: u64, kept: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return kept.push(folder.to_owned()) };
    for path in entries.flatten().map(|entry| entry.path()) {
        let before = kept.len();
        let removed = match fs::symlink_metadata(&path) {
            Ok(it) if it.is_dir() && it.dev() == device => {
                empty(&path, device, kept);
                // A folder that contains a kept path stays, and is not listed itself.
                if kept.len() > before { Ok(()) } else { fs::remove_dir(&path) }
            }
            Ok(it) if it.is_dir() => Err(io::ErrorKind::ResourceBusy.into()),
            Ok(_) => fs::remove_file(&path),
            Err(error) => Err(error),
        };
        if removed.is_err() {
            kept.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn everything_but_the_agents_own_files_is_relocated() {
        let machine = tempfile::tempdir().unwrap();
        let (old, new) = (machine.path().join("kaniko"), machine.path().join("opt/kaniko2"));
        fs::create_dir_all(old.join("bin")).unwrap();
        fs::create_dir_all(old.join("bakery")).unwrap();
        fs::write(old.join("bakery/spool"), "a line").unwrap();
        fs::write(old.join("bin/busybox"), "program").unwrap();
        fs::set_permissions(old.join("bin/busybox"), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("busybox", old.join("bin/sh")).unwrap();

        let relocated = copy(&Layout::below(&old), &new).unwrap();
        assert_eq!(relocated.executor, new.join("executor"));
        assert_eq!(relocated.find("sh"), Some(new.join("bin/sh")));
        assert_eq!(fs::read_link(new.join("bin/sh")).unwrap(), Path::new("busybox"));
        assert_eq!(fs::metadata(new.join("bin/sh")).unwrap().permissions().mode() & 0o777, 0o755);
        assert!(!new.join("bakery").exists());
        assert!(old.join("bin/busybox").exists(), "the old folder is needed until the build begins");

        assert!(remove_old(&old).is_empty());
        assert_eq!(fs::read_dir(&old).unwrap().count(), 0);
        let gone = machine.path().join("gone");
        assert_eq!(remove_old(&gone), std::slice::from_ref(&gone));
    }

    #[test]
    fn an_existing_path_is_rejected() {
        let machine = tempfile::tempdir().unwrap();
        let failure = copy(&Layout::below(&machine.path().join("kaniko")), machine.path()).unwrap_err();
        assert!(failure.message.text.ends_with("the path exists in the agent image"), "{failure:?}");
        assert_eq!(failure.message.hint.as_deref(), Some("set `kaniko.dir` to another folder"));
    }
}
