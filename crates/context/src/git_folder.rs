//! What is special about `.git` when it is packed: credentials stay behind, and a repository that would be incomplete in a
//! task is refused.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use bakery_core::message::Hint;

use crate::byte_path::{display, join};
use crate::git_config::without_credentials;
use crate::regular_file::{RegularFileError, read_regular_file};

/// The name of the folder, or of the file that names the folder.
pub(crate) const GIT: &[u8] = b".git";
/// Maximum size of a config in bytes.
const CONFIG_BYTES: u64 = 4 << 20;
/// Files of a repository that hold nothing but credentials.
const CREDENTIALS: [&[u8]; 2] = [b"credentials", b".git-credentials"];

/// Why a `.git` cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// A config cannot be read.
    #[error("`{path}` {cause}")]
    Read {
        /// Below the source folder.
        path: String,
        /// Why not.
        cause: RegularFileError,
    },
    /// A line that is not valid, so credentials in it would not be found.
    #[error("{path}:{line}: git cannot read this line, so its credentials cannot be removed")]
    Config {
        /// Below the source folder.
        path: String,
        /// From 1.
        line: usize,
    },
    /// A config that is a symbolic link: the file that it leads to would be packed as it is.
    #[error("`{path}` is a link, so credentials in its file cannot be removed")]
    Link {
        /// Below the source folder.
        path: String,
    },
    /// A `.git` file, of a worktree or a submodule, whose repository is not in the source folder.
    #[error("`{path}` is a file: the repository is in `{target}`, which is not part of the source")]
    Elsewhere {
        /// Below the source folder.
        path: String,
        /// As the file has it.
        target: String,
    },
}

impl Hint for GitError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::Read { .. } => "make it readable, or leave `.git` out (`context.git: false`)",
            Self::Link { .. } => "put the file itself there, or leave `.git` out (`context.git: false`)",
            Self::Config { .. } => "`git config --list` in the repository shows what is wrong",
            Self::Elsewhere { .. } => {
                "build from a clone (`git clone --recurse-submodules`) in place of a worktree, choose `--repo` so that it \
                 contains the repository, or exclude the file in `.dockerignore`"
            }
        };
        Some(hint.into())
    }
}

/// Which part of a repository a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GitPart {
    /// None.
    Outside,
    /// `.git`, or the same of a submodule.
    Repository,
    /// `modules`, or a part of a submodule's name below it.
    Modules,
    /// `worktrees`
    Worktrees,
    /// A folder of `worktrees`.
    Worktree,
    /// Anything else: objects, refs, logs, hooks.
    Rest,
}

impl GitPart {
    /// The part that the folder `name` in this one is; `full` is its whole path.
    pub(crate) fn enter(self, name: &[u8], full: &Path) -> Self {
        match self {
            Self::Outside if name == GIT => Self::Repository,
            Self::Outside => Self::Outside,
            Self::Repository if name == b"modules" => Self::Modules,
            Self::Repository if name == b"worktrees" => Self::Worktrees,
            Self::Modules if full.join("HEAD").is_file() => Self::Repository,
            Self::Modules => Self::Modules,
            Self::Worktrees => Self::Worktree,
            Self::Repository | Self::Worktree | Self::Rest => Self::Rest,
        }
    }

    /// Whether the file `name` in it is a config of git.
    pub(crate) fn has_config(self, name: &[u8]) -> bool {
        match self {
            Self::Repository => matches!(name, b"config" | b"config.worktree"),
            Self::Worktree => name == b"config.worktree",
            _ => false,
        }
    }

    /// Whether the file `name` in it holds credentials, by its name.
    pub(crate) fn has_credentials(self, name: &[u8]) -> bool {
        self == Self::Repository && CREDENTIALS.contains(&name)
    }
}

/// The text of a config without credentials.
pub(crate) fn config(root: &Path, path: &[u8]) -> Result<Vec<u8>, GitError> {
    Ok(read_config(root, path)?.0)
}

/// The files in the repository at `folder` that its config names and that may hold credentials: included ones, and those
/// of credential helpers. A config that cannot be read is reported when it is packed.
pub(crate) fn named_files(root: &Path, folder: &[u8]) -> BTreeSet<Vec<u8>> {
    let (below, worktree) = (join(folder, b""), parent(folder));
    let mut all = BTreeSet::new();
    for config in [&b"config"[..], b"config.worktree"] {
        let Ok((_, files)) = read_config(root, &join(folder, config)) else { continue };
        // An included file is relative to the config, one of a helper to where git is called.
        let paths = files.iter().flat_map(|file| [folder, worktree].map(|base| resolve(root, base, file)));
        all.extend(paths.flatten().filter(|path| path.starts_with(&below)));
    }
    all.retain(|path| path.len() > below.len() && !path.ends_with(b"/config"));
    all
}

/// Whether the repository at `folder` takes objects from another one.
pub(crate) fn borrows_objects(root: &Path, folder: &[u8]) -> bool {
    root.join(OsStr::from_bytes(folder)).join(ALTERNATES).is_file()
}

/// The file that names other repositories, relative to its own one.
pub(crate) const ALTERNATES: &str = "objects/info/alternates";

/// Checks a `.git` that is a file: it names a folder of the source, relative to its own.
pub(crate) fn check_file(root: &Path, path: &[u8]) -> Result<(), GitError> {
    let read = read_regular_file(&root.join(OsStr::from_bytes(path)), CONFIG_BYTES);
    let text = read.map_err(|cause| GitError::Read { path: display(path), cause })?;
    let target = text.strip_prefix(b"gitdir:").unwrap_or(&text).trim_ascii();
    let inside = resolve(root, parent(path), &display(target)).filter(|_| !target.starts_with(b"/"));
    match inside {
        Some(_) => Ok(()),
        None => Err(GitError::Elsewhere { path: display(path), target: display(target) }),
    }
}

fn read_config(root: &Path, path: &[u8]) -> Result<(Vec<u8>, Vec<String>), GitError> {
    let shown = || display(path);
    let text = read_regular_file(&root.join(OsStr::from_bytes(path)), CONFIG_BYTES);
    let text = text.map_err(|cause| GitError::Read { path: shown(), cause })?;
    let clean = without_credentials(&text).map_err(|line| GitError::Config { path: shown(), line })?;
    Ok((clean.text, clean.files))
}

fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(b"", |end| &path[..end])
}

/// The path below the root that `file` means in the folder `base`; `None` if it is outside.
fn resolve(root: &Path, base: &[u8], file: &str) -> Option<Vec<u8>> {
    let (base, file) = match Path::new(file).strip_prefix(root) {
        Ok(inside) => (&b""[..], inside.as_os_str().as_bytes()),
        Err(_) if file.starts_with('/') => return None,
        Err(_) => (base, file.as_bytes()),
    };
    let mut parts: Vec<&[u8]> = base.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
    for part in file.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}
