//! Decides which entries of a source folder are packed, by the ignore rules of all its contexts, and what is packed
//! whatever they say (Dockerfiles).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use bakery_core::message::Hint;

use crate::byte_path::{display, join};
use crate::ignore::{BadLine, IgnoreFile, IgnoreLine, Trail};
use crate::regular_file::{RegularFileError, read_regular_file};

/// Maximum size of an ignore file in bytes.
const IGNORE_FILE_BYTES: u64 = 1 << 20;

/// A build context below a source folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContextFolder {
    /// Relative to the source folder; `.` is the source folder itself.
    pub path: String,
    /// The Dockerfile, relative to the context; `None` if it is not a file of the source. Then, as in Docker, only
    /// `.dockerignore` counts.
    pub dockerfile: Option<String>,
}

/// A file in a context.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContextFile {
    /// The file's path, relative to the context.
    pub path: String,
    /// The ignore file that can exclude it, relative to the source folder. It may not exist yet.
    pub ignore_file: String,
}

/// A line of an ignore file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleLine {
    /// The ignore file, relative to the source folder.
    pub file: String,
    /// The line.
    pub rule: IgnoreLine,
}

/// `.dockerignore:3`
impl fmt::Display for RuleLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.rule.line)
    }
}

/// Why a context's ignore rules are not usable.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The context or its Dockerfile is not below the source folder.
    #[error("`{0}` is outside of the source folder")]
    Outside(String),
    /// The ignore file cannot be read.
    #[error("{file} {cause}")]
    Read {
        /// The file.
        file: String,
        /// Why not.
        cause: RegularFileError,
    },
    /// Lines that are not valid rules.
    #[error("{}", join_lines(file, lines))]
    Lines {
        /// The file.
        file: String,
        /// All of them.
        lines: Vec<BadLine>,
    },
}

impl Hint for RulesError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::Outside(_) => "choose `--repo` so that it contains every context and Dockerfile",
            Self::Read { .. } => "it must be a text file that you can read: a list of patterns, one per line",
            Self::Lines { .. } => "patterns have the syntax of Docker's `.dockerignore`",
        };
        Some(hint.into())
    }
}

fn join_lines(file: &str, lines: &[BadLine]) -> String {
    let lines: Vec<_> = lines.iter().map(|bad| format!("{file}: {bad}")).collect();
    lines.join("\n")
}

/// The ignore rules of all contexts of one source folder.
///
/// A path is excluded if at least one context contains it and every context that contains it ignores it. The
/// Dockerfiles and the ignore files themselves are always kept.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    contexts: Vec<Context>,
    keep: BTreeSet<Vec<u8>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Context {
    /// Empty for the source folder itself.
    path: Vec<u8>,
    ignore: IgnoreFile,
    /// The ignore file with its rules; it may not exist.
    file: Vec<u8>,
}

/// The contexts that contain a folder, each with the rules that match it.
#[derive(Debug)]
pub(crate) struct Scope(Vec<(usize, Trail)>);

/// What the rules decide about a folder.
#[derive(Debug)]
pub(crate) struct FolderVerdict {
    pub(crate) scope: Scope,
    /// The folder is packed only if something below it is.
    pub(crate) excluded: bool,
    /// Nothing below it can be included, so it need not be walked.
    pub(crate) prunable: bool,
}

impl Rules {
    /// Reads each context's ignore file: `<Dockerfile>.dockerignore` if it exists, else `.dockerignore`. A context that
    /// does not exist (a pre-script may create it) has no rules.
    pub(crate) fn read(root: &Path, folders: &[ContextFolder]) -> Result<Self, RulesError> {
        let mut rules = Self::default();
        for folder in folders {
            let named = normalise(&folder.path).ok_or_else(|| RulesError::Outside(folder.path.clone()))?;
            let context = rules.resolve(root, &named)?;
            let shared = join(&named, b".dockerignore");
            let mut files = vec![shared.clone()];
            if let Some(dockerfile) = &folder.dockerfile {
                let dockerfile = if dockerfile.is_empty() { "Dockerfile" } else { dockerfile };
                let dockerfile = normalise(&format!("./{}/{dockerfile}", folder.path))
                    .ok_or_else(|| RulesError::Outside(dockerfile.to_owned()))?;
                rules.resolve(root, &dockerfile)?;
                files.insert(0, [dockerfile.as_slice(), b".dockerignore"].concat());
                rules.keep.insert(dockerfile);
            }
            let mut ignore = None;
            for file in &files {
                let real = rules.resolve(root, file)?;
                if ignore.is_none() {
                    let parsed = read_ignore_file(root, &real, &display(file))?;
                    ignore = parsed.map(|parsed| (parsed, file.clone()));
                }
            }
            let (ignore, file) = ignore.unwrap_or_else(|| (IgnoreFile::default(), shared));
            rules.keep.extend(files);
            let context = Context { path: context, ignore, file };
            if !rules.contexts.contains(&context) {
                rules.contexts.push(context);
            }
        }
        Ok(rules)
    }

    /// The scope of the source folder itself.
    pub(crate) fn root(&self) -> Scope {
        Scope(self.rooted_at(b"").collect())
    }

    /// Whether an entry that is not a folder is excluded; `parent` is the scope of its folder.
    pub(crate) fn excludes(&self, parent: &Scope, path: &[u8]) -> bool {
        let ignored = |(at, trail): &(usize, Trail)| {
            self.contexts[*at].ignore.ignores_in(trail, self.inside(*at, path))
        };
        !parent.0.is_empty() && parent.0.iter().all(ignored) && !self.keep.contains(path)
    }

    /// The lines that exclude an entry, one of each context that contains it; `parent` is the scope of its folder.
    pub(crate) fn excluding(&self, parent: &Scope, path: &[u8]) -> impl Iterator<Item = RuleLine> {
        parent.0.iter().filter_map(move |(at, trail)| {
            let Context { ignore, file, .. } = &self.contexts[*at];
            let rule = ignore.excluding_line(trail, self.inside(*at, path))?;
            Some(RuleLine { file: display(file), rule })
        })
    }

    /// The `!` rules that name a folder or file of this name, at any depth.
    fn exceptions_for(&self, name: &str) -> Vec<RuleLine> {
        let of = |context: &Context| {
            let file = display(&context.file);
            let rules = context.ignore.exceptions_for(name).into_iter();
            rules.map(move |rule| RuleLine { file: file.clone(), rule }).collect::<Vec<_>>()
        };
        self.contexts.iter().flat_map(of).collect()
    }

    /// Applies the rules to a folder; `parent` is the scope of the folder that contains it.
    pub(crate) fn enter(&self, parent: &Scope, path: &[u8]) -> FolderVerdict {
        let (mut excluded, mut prunable) = (!parent.0.is_empty(), true);
        let mut scope = Vec::with_capacity(parent.0.len());
        for (at, trail) in &parent.0 {
            let (ignore, inside) = (&self.contexts[*at].ignore, self.inside(*at, path));
            let trail = ignore.enter(trail, inside);
            excluded &= trail.is_excluded();
            prunable &= trail.is_excluded() && !ignore.may_keep_below(&trail, inside);
            scope.push((*at, trail));
        }
        let before = scope.len();
        scope.extend(self.rooted_at(path));
        excluded &= scope.len() == before && !self.keep.contains(path);
        let below = [path, b"/"].concat();
        let kept_below = self.keep.range(below.clone()..).next().is_some_and(|kept| kept.starts_with(&below));
        let context_below = self.contexts.iter().any(|context| context.path.starts_with(&below));
        prunable &= excluded && !kept_below && !context_below;
        FolderVerdict { scope: Scope(scope), excluded, prunable }
    }

    /// The file at `path` in the first context that contains it; `None` if no context contains it or all exclude it.
    fn find(&self, path: &[u8]) -> Option<ContextFile> {
        let mut scope = self.root();
        for (end, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            scope = self.enter(&scope, &path[..end]).scope;
        }
        let (at, _) = scope.0.first().filter(|_| !self.excludes(&scope, path))?;
        let ignore_file = display(&self.contexts[*at].file);
        Some(ContextFile { path: display(self.inside(*at, path)), ignore_file })
    }

    fn rooted_at(&self, path: &[u8]) -> impl Iterator<Item = (usize, Trail)> {
        let here = self.contexts.iter().enumerate().filter(move |(_, context)| context.path == path);
        here.map(|(at, context)| (at, context.ignore.root()))
    }

    /// A path of the source folder, relative to the context that contains it.
    fn inside<'p>(&self, at: usize, path: &'p [u8]) -> &'p [u8] {
        match self.contexts[at].path.len() {
            0 => path,
            len => &path[len + 1..],
        }
    }

    /// Resolves links in a path below the root. The archive keeps the links, because the task resolves them again.
    fn resolve(&mut self, root: &Path, path: &[u8]) -> Result<Vec<u8>, RulesError> {
        let mut is_linked = false;
        for end in (0..=path.len()).filter(|end| path.get(*end).is_none_or(|byte| *byte == b'/')) {
            let part = &path[..end];
            let link = !part.is_empty()
                && root.join(OsStr::from_bytes(part)).symlink_metadata().is_ok_and(|meta| meta.is_symlink());
            if link {
                is_linked = true;
                self.keep.insert(part.to_vec());
            }
        }
        if !is_linked {
            return Ok(path.to_vec());
        }
        let shown = display(path);
        let real = root.canonicalize().and_then(|root| {
            let real = root.join(OsStr::from_bytes(path)).canonicalize()?;
            Ok(real.strip_prefix(&root).map(|below| below.as_os_str().to_owned().into_vec()).ok())
        });
        match real {
            Ok(Some(real)) => {
                self.keep.insert(real.clone());
                Ok(real)
            }
            Ok(None) => Err(RulesError::Outside(shown)),
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => Ok(path.to_vec()),
            Err(cause) => Err(RulesError::Read { file: shown, cause: cause.into() }),
        }
    }
}

/// The file at `path` (relative to the source folder, normalised) if a build of this context can copy it into an image:
/// the context contains it and its rules do not exclude it.
pub fn find_in_context(
    root: &Path,
    folder: &ContextFolder,
    path: &str,
) -> Result<Option<ContextFile>, RulesError> {
    Ok(Rules::read(root, std::slice::from_ref(folder))?.find(path.as_bytes()))
}

/// The lines of the contexts' ignore files that include a folder or file of this name, such as `!.git/HEAD`.
pub fn exceptions_for(
    root: &Path,
    folders: &[ContextFolder],
    name: &str,
) -> Result<Vec<RuleLine>, RulesError> {
    Ok(Rules::read(root, folders)?.exceptions_for(name))
}

/// Normalises a path below the root; empty for the root, `None` if the path leads outside.
fn normalise(path: &str) -> Option<Vec<u8>> {
    let mut parts: Vec<&str> = Vec::new();
    if path.starts_with('/') {
        return None;
    }
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/").into_bytes())
}

fn read_ignore_file(root: &Path, path: &[u8], shown: &str) -> Result<Option<IgnoreFile>, RulesError> {
    let full = root.join(OsStr::from_bytes(path));
    let file = || shown.to_owned();
    let bytes = match read_regular_file(&full, IGNORE_FILE_BYTES) {
        Ok(bytes) => bytes,
        Err(RegularFileError::Io(gone))
            if matches!(gone.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        Err(cause) => return Err(RulesError::Read { file: file(), cause }),
    };
    IgnoreFile::parse(&bytes).map(Some).map_err(|lines| RulesError::Lines { file: file(), lines })
}
