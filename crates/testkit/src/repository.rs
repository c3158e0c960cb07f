//! Files of this repository: tests compare pages and examples with the code.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The path of a file or folder, given from the repository's root.
pub fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(relative)
}

/// Reads a file of the repository.
pub fn read(relative: &str) -> Result<String> {
    fs::read_to_string(path(relative)).with_context(|| relative.to_owned())
}

/// Every file below a folder, given from the repository's root, in the order of their paths.
pub fn files(folder: &str) -> Result<Vec<PathBuf>> {
    let (mut folders, mut found) = (vec![path(folder)], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A path from the repository's root, for messages.
pub fn shown(file: &Path) -> String {
    file.strip_prefix(path("")).unwrap_or(file).display().to_string()
}
