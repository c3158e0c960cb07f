//! Why a source folder could not be packed.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use bakery_core::limits;
use bakery_core::message::Hint;

use crate::git_folder::GitError;
use crate::rules::RulesError;

/// Why a folder could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The source folder cannot be listed.
    #[error("`{}` is not a readable folder: {cause}", path.display())]
    Root {
        /// As the caller passed it.
        path: PathBuf,
        /// The error of the operating system.
        cause: io::Error,
    },
    /// The ignore rules are not usable.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// `.git` cannot be packed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A file, link or folder below the source folder cannot be read.
    #[error("`{path}` cannot be read: {cause}")]
    Read {
        /// Below the source folder.
        path: String,
        /// The error of the operating system.
        cause: io::Error,
    },
    /// A file became shorter between its header and its end.
    #[error("`{path}` became shorter while it was packed")]
    Shrank {
        /// Below the source folder.
        path: String,
    },
    /// More entries than [`limits::CONTEXT_ENTRIES`].
    #[error("the source has more than {} entries", limits::CONTEXT_ENTRIES)]
    Entries,
    /// More bytes than [`limits::CONTEXT_EXPANDED_BYTES`].
    #[error("the source has more than {} GiB", limits::CONTEXT_EXPANDED_BYTES >> 30)]
    Bytes,
    /// The archive could not be written, or the caller of [`crate::list`] could not write.
    #[error("the archive cannot be written: {0}")]
    Write(io::Error),
}

impl Hint for PackError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::Root { .. } => "`--repo` must be the folder to pack",
            Self::Rules(rules) => return rules.hint(),
            Self::Git(git) => return git.hint(),
            Self::Read { .. } => "make it readable, or exclude it in `.dockerignore`",
            Self::Shrank { .. } => "stop the program that writes to it, or exclude it in `.dockerignore`",
            Self::Entries | Self::Bytes => "exclude what the build does not need in `.dockerignore`",
            Self::Write(_) => "check the free space for temporary files",
        };
        Some(hint.into())
    }
}
