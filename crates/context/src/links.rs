//! Links with an absolute target in the source folder.
//!
//! In a task the source folder is another one, so such a link would lead nowhere. It is packed with the relative target
//! that means the same; any other link is packed as it is.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// The relative target for a link at `path`, below the source folder, whose target is an absolute path in the source
/// folder; `None` for every other link.
pub(crate) fn relative_target(root: &Path, path: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    let target = Path::new(OsStr::from_bytes(target));
    if !target.is_absolute() || root.parent().is_none() {
        return None;
    }
    let inside = inside(root, target)?;
    let folder: Vec<_> = path.split(|byte| *byte == b'/').collect();
    let folder = &folder[..folder.len() - 1];
    let parts: Vec<_> = inside.iter().map(OsStr::as_bytes).collect();
    let shared = folder.iter().zip(&parts).take_while(|(a, b)| a == b).count();
    let mut relative = vec![&b".."[..]; folder.len() - shared];
    relative.extend(&parts[shared..]);
    Some(if relative.is_empty() { b".".to_vec() } else { relative.join(&b'/') })
}

/// The target below the root; `None` if it is not there.
fn inside(root: &Path, target: &Path) -> Option<PathBuf> {
    let has_parents = target.components().any(|part| part == Component::ParentDir);
    match target.strip_prefix(root) {
        Ok(inside) if !has_parents => Some(inside.to_owned()),
        // The root may have been reached through a link of its own.
        _ => Some(target.canonicalize().ok()?.strip_prefix(root.canonicalize().ok()?).ok()?.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_absolute_target_in_the_source_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(place.join("repo/a/b")).unwrap();
        std::os::unix::fs::symlink("repo", place.join("same")).unwrap();
        let relative = |path: &str, target: &str| {
            let target = target.replace("PLACE", place.to_str().unwrap());
            let found = relative_target(&place.join("repo"), path.as_bytes(), target.as_bytes());
            found.map(|target| String::from_utf8(target).unwrap())
        };
        for (path, target, expected) in [
            ("link", "PLACE/repo/a/b", "a/b"),
            ("a/link", "PLACE/repo/a/b", "b"),
            ("a/b/c/link", "PLACE/repo/a/gone", "../../gone"),
            ("x/y/link", "PLACE/repo/a//b/", "../../a/b"),
            ("a/link", "PLACE/repo", ".."),
            ("link", "PLACE/repo/", "."),
            ("a/link", "PLACE/repo/x/../a/b", "b"),
            ("a/link", "PLACE/same/a/b", "b"),
        ] {
            let expected = (!target.contains("x/..")).then_some(expected);
            assert_eq!(relative(path, target).as_deref(), expected, "{path} -> {target}");
        }
        for target in ["a/b", "/etc/passwd", "PLACE", "PLACE/repo2/a", "PLACE/repo/../elsewhere", "/gone/a"] {
            assert_eq!(relative("a/link", target), None, "{target}");
        }
        assert_eq!(relative_target(Path::new("/"), b"a/link", b"/etc/passwd"), None);
    }
}
