//! The files of this repository that people read and copy: pages and examples are held against the code by tests.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A file or folder of the repository, named from its root.
pub fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(relative)
}

/// What a file of the repository holds.
pub fn read(relative: &str) -> Result<String> {
    std::fs::read_to_string(path(relative)).with_context(|| relative.to_owned())
}
