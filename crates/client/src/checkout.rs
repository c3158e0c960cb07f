//! What a checkout can have read: only its own files.

use std::path::Path;

use bakery_context::read_user_text;
use bakery_core::limits;
use bakery_core::message::{Hint as _, Message};
use bakery_core::report::shown;
use bakery_core::secret::Secret;

/// Whether a file is in the checkout that `folder` belongs to, links resolved; true for a file that does not exist.
pub(crate) fn is_in_checkout(file: &Path, folder: &Path) -> bool {
    match (file.canonicalize(), folder.canonicalize()) {
        (Ok(target), Ok(folder)) => target.starts_with(checkout_of(&folder)),
        // A link below /proc can lead to a file that has no path any more, and can be read all the same.
        _ => std::fs::metadata(file).is_err(),
    }
}

/// The folder of the repository that `folder` belongs to; without one, the folder itself.
fn checkout_of(folder: &Path) -> &Path {
    folder.ancestors().find(|ancestor| ancestor.join(".git").exists()).unwrap_or(folder)
}

/// The refusal of a file elsewhere, which is `named` like this.
pub(crate) fn outside(named: &str, hint: &str) -> Message {
    let text = format!("`{}` is neither in this checkout nor below --repo", shown(named));
    Message::new(text).with_hint(hint)
}

/// The text of a file that is a secret.
pub(crate) fn read_secret(name: &str, path: &Path) -> Result<Secret, Message> {
    let text = read_user_text(path, limits::SECRET_BYTES as u64);
    text.map(Secret::new).map_err(|error| {
        let hint = error.hint().map(Into::into);
        Message { hint, ..Message::new(format!("`{name}` {error}")) }
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn probe_23_6_a_link_to_a_file_without_a_path_is_not_in_the_checkout() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("gone"), folder.path().join(".env"));
        std::fs::write(&file, "X=hunter2").unwrap();
        let open = std::fs::File::open(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert!(is_in_checkout(&file, folder.path()), "it is reported as missing");
        std::os::unix::fs::symlink(format!("/proc/self/fd/{}", open.as_raw_fd()), &link).unwrap();
        assert!(!is_in_checkout(&link, folder.path()));
    }
}
