//! A source folder, and what of it is packed.

use std::path::Path;

use crate::rules::ContextFolder;

/// A source folder, and what of it is packed.
#[derive(Debug, Clone, Copy)]
pub struct SourceTree<'s> {
    /// The folder.
    pub root: &'s Path,
    /// The build contexts in it: their ignore rules apply.
    pub contexts: &'s [ContextFolder],
    /// Whether `.git` is packed, without the credentials of its config. It is left out if not, at any depth.
    pub git: bool,
}

impl<'s> SourceTree<'s> {
    /// The folder without `.git`.
    pub fn new(root: &'s Path, contexts: &'s [ContextFolder]) -> Self {
        Self { root, contexts, git: false }
    }
}
