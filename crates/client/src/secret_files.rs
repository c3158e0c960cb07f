//! Warns about files with secrets that a build could copy into an image.
//!
//! They are not excluded automatically, because a Dockerfile may need a file of that name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bakery_context::{ContextFolder, RegularFileError, find_in_context, read_user_file};
use bakery_core::limits;
use bakery_core::mask::name_suggests_secret;
use bakery_core::message::Message;
use bakery_core::report::{Location, Notice};

/// The file with settings in a source folder.
const ENV: &str = ".env";

/// Warnings about the `config` file (`None` if it contains no secrets), about each `.env` with secrets in `root` (absolute,
/// links resolved) or in a context, and about the files whose texts are `secrets`: one for each context that contains the
/// file and does not exclude it.
pub fn warnings(
    root: &Path,
    folders: &[ContextFolder],
    config: Option<&Path>,
    secrets: &[PathBuf],
) -> Vec<Notice> {
    let mut files = BTreeMap::new();
    let contexts = folders.iter().map(|folder| root.join(&folder.path));
    for path in contexts.chain([root.to_owned()]).map(|folder| folder.join(ENV)) {
        if holds_secrets(&path) {
            files.extend(below(root, &path).map(|path| (path, "contains secrets")));
        }
    }
    files.extend(secrets.iter().filter_map(|path| below(root, path)).map(|path| (path, "contains a secret")));
    files.extend(config.and_then(|path| below(root, path)).map(|path| (path, "contains credentials")));
    let mut found = BTreeSet::new();
    for (file, what) in files {
        // The packer reports rules that cannot be read.
        let found_in = |folder| find_in_context(root, folder, &file).ok().flatten();
        let held = folders.iter().filter_map(found_in);
        found.extend(held.map(|held| (file.clone(), what, held)));
    }
    let notices = found.into_iter().map(|(file, what, held)| {
        let hint =
            format!("add `{}` to {}, else `COPY . .` copies it into the image", held.path, held.ignore_file);
        let message = Message::new(format!("{what} and is part of the build context")).with_hint(hint);
        Notice::new(Location::file(&file), message)
    });
    notices.collect()
}

/// The path of a file below the root, links resolved. `None` for a link that leads outside: it is packed as a link.
fn below(root: &Path, path: &Path) -> Option<String> {
    path.canonicalize().ok()?.strip_prefix(root).ok()?.to_str().map(str::to_owned)
}

/// Whether a line assigns a value to a name that suggests a secret. The file may have any format, so it is not parsed.
fn holds_secrets(path: &Path) -> bool {
    let bytes = match read_user_file(path, limits::SPEC_BYTES as u64) {
        Ok(bytes) => bytes,
        // It is not read, so the user is warned in any case.
        Err(error) => return matches!(error, RegularFileError::Large(_)),
    };
    String::from_utf8_lossy(&bytes).lines().any(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line);
        line.split_once(['=', ':']).is_some_and(|(name, value)| {
            let value = value.trim().trim_matches(['"', '\'']);
            !name.starts_with('#') && name_suggests_secret(name.trim()) && !value.is_empty()
        })
    })
}
