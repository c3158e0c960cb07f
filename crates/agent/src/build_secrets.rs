//! Build secrets on disk: files that only Kaniko needs, and only while it runs.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;

use bakery_core::secret::Secret;

use crate::fresh::{self, remove};
use crate::layout::Layout;

/// The files of a task's secrets. They are removed when this is dropped, with Kaniko's copies; without secrets nothing is.
#[derive(Debug)]
pub(crate) struct SecretFiles<'a> {
    written: Option<&'a Layout>,
}

impl<'a> SecretFiles<'a> {
    /// Writes each secret to a file of its own (mode 0400) in a fresh folder with mode 0700.
    pub(crate) fn write(layout: &'a Layout, secrets: &BTreeMap<String, Secret>) -> io::Result<Self> {
        if secrets.is_empty() {
            return Ok(Self { written: None });
        }
        let files = Self { written: Some(layout) };
        let folder = layout.secrets();
        remove(&folder)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        for (id, value) in secrets {
            fresh::write(&folder.join(id), 0o400, value.expose())?;
        }
        Ok(files)
    }
}

impl Drop for SecretFiles<'_> {
    fn drop(&mut self) {
        let Some(layout) = self.written else { return };
        if let Err(error) = remove(&layout.secrets()).and(remove(&layout.kanikos_secrets())) {
            tracing::warn!(%error, "build secrets could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn secrets_are_private_files_that_are_gone_afterwards() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::below(root.path());
        // What a pre-script has put there.
        fs::create_dir_all(&layout.home).unwrap();
        std::os::unix::fs::symlink("/etc", layout.secrets()).unwrap();
        let secrets = BTreeMap::from([("npm".to_owned(), Secret::new("a\nb\n"))]);
        let files = SecretFiles::write(&layout, &secrets).unwrap();
        let file = layout.secrets().join("npm");
        let mode = |path: &std::path::Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&layout.secrets()), mode(&file)), (0o700, 0o400));
        assert_eq!(fs::read_to_string(&file).unwrap(), "a\nb\n");
        fs::create_dir_all(layout.kanikos_secrets()).unwrap();
        drop(files);
        assert!(!layout.secrets().exists() && !layout.kanikos_secrets().exists());
        assert!(std::path::Path::new("/etc/passwd").exists());
    }

    #[test]
    fn without_secrets_nothing_is_written_or_removed() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::below(root.path());
        // A folder of the user's own.
        fs::create_dir_all(layout.kanikos_secrets()).unwrap();
        drop(SecretFiles::write(&layout, &BTreeMap::new()).unwrap());
        assert!(!layout.home.exists() && layout.kanikos_secrets().exists());
    }
}
