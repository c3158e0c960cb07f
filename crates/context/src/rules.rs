//! What of a source folder belongs into its archive, by the ignore rules of every context in it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use crate::ignore::{BadLine, IgnoreFile, Trail};

/// Bytes that an ignore file may have.
const IGNORE_FILE_BYTES: u64 = 1 << 20;

/// A build context below a source folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContextFolder {
    /// Below the source folder; `.` is the source folder itself.
    pub path: String,
    /// The Dockerfile, relative to the context.
    pub dockerfile: String,
}

/// A file that lies in a context, as that context names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// The file, relative to the context.
    pub path: String,
    /// The ignore file that could drop it, relative to the source folder; it may not exist yet.
    pub ignore_file: String,
}

/// Why a context's rules are not known.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The context or its Dockerfile is not below the source folder.
    #[error("`{0}` leads out of the source folder")]
    Outside(String),
    /// The ignore file cannot be read.
    #[error("{file}: cannot be read: {cause}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        cause: io::Error,
    },
    /// The ignore file is larger than any that people write.
    #[error("{file}: larger than 1 MiB")]
    Large {
        /// The file.
        file: String,
    },
    /// Lines that are no rules.
    #[error("{}", render(file, lines))]
    Lines {
        /// The file.
        file: String,
        /// All of them.
        lines: Vec<BadLine>,
    },
}

impl RulesError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Outside(_) => "choose `--repo` so that every context and Dockerfile lies below it",
            Self::Read { .. } => "an ignore file is a text file that the caller may read",
            Self::Large { .. } => "an ignore file is a list of patterns, one a line",
            Self::Lines { .. } => "the patterns are those of Docker's `.dockerignore`",
        }
    }
}

fn render(file: &str, lines: &[BadLine]) -> String {
    let lines: Vec<_> = lines.iter().map(|bad| format!("{file}: {bad}")).collect();
    lines.join("\n")
}

/// The rules of all contexts of one source folder.
///
/// A path is left out where at least one context holds it and every context that holds it ignores it. The Dockerfiles
/// and the ignore files themselves always stay.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    contexts: Vec<Context>,
    keep: BTreeSet<Vec<u8>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Context {
    /// Empty = the source folder itself.
    path: Vec<u8>,
    ignore: IgnoreFile,
    /// Where its rules come from, or would.
    file: Vec<u8>,
}

/// The contexts that hold a folder, and what each of them says of it.
#[derive(Debug)]
pub(crate) struct Scope(Vec<(usize, Trail)>);

/// A folder, as the rules see it.
#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) scope: Scope,
    /// It stays only for the sake of what lies in it.
    pub(crate) dropped: bool,
    /// Nothing in it stays.
    pub(crate) barren: bool,
}

impl Rules {
    /// Reads the ignore files: `<Dockerfile>.dockerignore` where it exists, else the context's `.dockerignore`. A context
    /// that does not exist (a pre-script may make it) has no rules.
    pub(crate) fn read(root: &Path, folders: &[ContextFolder]) -> Result<Self, RulesError> {
        let mut rules = Self::default();
        for folder in folders {
            let named = below(&folder.path).ok_or_else(|| RulesError::Outside(folder.path.clone()))?;
            let context = rules.resolve(root, &named)?;
            let dockerfile = if folder.dockerfile.is_empty() { "Dockerfile" } else { &folder.dockerfile };
            let dockerfile = below(&format!("./{}/{dockerfile}", folder.path))
                .ok_or_else(|| RulesError::Outside(dockerfile.to_owned()))?;
            let own = [dockerfile.as_slice(), b".dockerignore"].concat();
            let shared = join(&named, b".dockerignore");
            rules.resolve(root, &dockerfile)?;
            let mut ignore = None;
            for file in [&own, &shared] {
                let real = rules.resolve(root, file)?;
                if ignore.is_none() {
                    let parsed = read_ignore_file(root, &real, &String::from_utf8_lossy(file))?;
                    ignore = parsed.map(|parsed| (parsed, file.clone()));
                }
            }
            let (ignore, file) = ignore.unwrap_or_else(|| (IgnoreFile::default(), shared.clone()));
            rules.keep.extend([dockerfile, own, shared]);
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

    /// Is this entry (no folder) of a folder with this scope left out?
    pub(crate) fn drops(&self, parent: &Scope, path: &[u8]) -> bool {
        let ignored = |(at, trail): &(usize, Trail)| {
            self.contexts[*at].ignore.ignores_in(trail, self.inside(*at, path))
        };
        !parent.0.is_empty() && parent.0.iter().all(ignored) && !self.keep.contains(path)
    }

    /// Steps into a folder.
    pub(crate) fn enter(&self, parent: &Scope, path: &[u8]) -> Entered {
        let (mut dropped, mut barren) = (!parent.0.is_empty(), true);
        let mut scope = Vec::with_capacity(parent.0.len());
        for (at, trail) in &parent.0 {
            let (ignore, inside) = (&self.contexts[*at].ignore, self.inside(*at, path));
            let ignored = ignore.ignores_in(trail, inside);
            let trail = ignore.enter(trail, inside);
            dropped &= ignored;
            barren &= ignored && !ignore.may_keep_below(&trail, inside);
            scope.push((*at, trail));
        }
        let before = scope.len();
        scope.extend(self.rooted_at(path));
        dropped &= scope.len() == before && !self.keep.contains(path);
        let below = [path, b"/"].concat();
        let kept_below = self.keep.range(below.clone()..).next().is_some_and(|kept| kept.starts_with(&below));
        let context_below = self.contexts.iter().any(|context| context.path.starts_with(&below));
        barren &= dropped && !kept_below && !context_below;
        Entered { scope: Scope(scope), dropped, barren }
    }

    /// The file at `path` as the first context that holds it names it; `None` where none holds it, or all drop it.
    fn held(&self, path: &[u8]) -> Option<Held> {
        let mut scope = self.root();
        for (end, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            scope = self.enter(&scope, &path[..end]).scope;
        }
        let (at, _) = scope.0.first().filter(|_| !self.drops(&scope, path))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(Held { path: text(self.inside(*at, path)), ignore_file: text(&self.contexts[*at].file) })
    }

    fn rooted_at(&self, path: &[u8]) -> impl Iterator<Item = (usize, Trail)> {
        let at_home = self.contexts.iter().enumerate().filter(move |(_, context)| context.path == path);
        at_home.map(|(at, context)| (at, context.ignore.root()))
    }

    /// A path as the context that holds it names it.
    fn inside<'p>(&self, at: usize, path: &'p [u8]) -> &'p [u8] {
        match self.contexts[at].path.len() {
            0 => path,
            len => &path[len + 1..],
        }
    }

    /// Where a path really is below the root; links on the way are kept, since whoever unpacks takes the same way.
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
        let shown = String::from_utf8_lossy(path).into_owned();
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
            Err(cause) => Err(RulesError::Read { file: shown, cause }),
        }
    }
}

/// Whether a build of this context can copy the file at `path` (relative to the source folder, in its shortest form) into
/// an image: it lies inside, and the context's rules do not drop it.
pub fn held(root: &Path, folder: &ContextFolder, path: &str) -> Result<Option<Held>, RulesError> {
    Ok(Rules::read(root, std::slice::from_ref(folder))?.held(path.as_bytes()))
}

/// A path below the root in its shortest form, empty for the root; `None` where it leads out.
fn below(path: &str) -> Option<Vec<u8>> {
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

pub(crate) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

fn read_ignore_file(root: &Path, path: &[u8], shown: &str) -> Result<Option<IgnoreFile>, RulesError> {
    let full = root.join(OsStr::from_bytes(path));
    let file = || shown.to_owned();
    match full.symlink_metadata() {
        Err(gone) if matches!(gone.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Ok(meta) if !meta.is_file() => {
            let cause = io::Error::other("it is not a file");
            return Err(RulesError::Read { file: file(), cause });
        }
        _ => {}
    }
    let mut bytes = Vec::new();
    std::fs::File::open(&full)
        .and_then(|open| open.take(IGNORE_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|cause| RulesError::Read { file: file(), cause })?;
    if bytes.len() as u64 > IGNORE_FILE_BYTES {
        return Err(RulesError::Large { file: file() });
    }
    IgnoreFile::parse(&bytes).map(Some).map_err(|lines| RulesError::Lines { file: file(), lines })
}
