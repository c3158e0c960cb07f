//! `.dockerignore`: which paths of a build context do not belong to it.
//!
//! The rules are those of Docker (moby's `ignorefile` and `patternmatcher`, its `MatchesOrParentMatches`): the last rule
//! that names a path or one of its parents decides. Where moby's translation to regular expressions leaks
//! (`[*]`, `\d`, `^` beside a wildcard, a newline under `**`), characters stand for themselves here.

mod pattern;

use std::fmt;

pub use pattern::{BadPattern, Pattern};

/// A parsed ignore file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IgnoreFile {
    patterns: Vec<Pattern>,
}

/// A line of an ignore file that is no rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Line number, from 1.
    pub line: usize,
    /// The line as it was read.
    pub text: String,
    /// What is wrong with it.
    pub problem: BadPattern,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: `{}`: {}", self.line, self.text, self.problem)
    }
}

/// Which rules name a folder or one of its parents: what the folder hands down to its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trail(Vec<bool>);

impl IgnoreFile {
    /// Parses the bytes of an ignore file. All lines that are no rules are told at once.
    pub fn parse(bytes: &[u8]) -> Result<Self, Vec<BadLine>> {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let mut patterns = Vec::new();
        let mut bad = Vec::new();
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let Some(rule) = rule_of(line) else { continue };
            match Pattern::compile(&rule) {
                Ok(pattern) => patterns.push(pattern),
                Err(problem) => bad.push(BadLine {
                    line: index + 1,
                    text: String::from_utf8_lossy(trim(line)).into_owned(),
                    problem,
                }),
            }
        }
        if bad.is_empty() { Ok(Self { patterns }) } else { Err(bad) }
    }

    /// True without a single rule.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Is this path (relative to the context, slashes between its parts) left out?
    pub fn ignores(&self, path: &[u8]) -> bool {
        let mut trail = self.root();
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            trail = self.enter(&trail, &path[..at]);
        }
        self.ignores_in(&trail, path)
    }

    /// The trail of the context's own folder, which no rule names.
    pub fn root(&self) -> Trail {
        Trail(vec![false; self.patterns.len()])
    }

    /// The trail of a folder, from its parent's.
    pub fn enter(&self, parent: &Trail, path: &[u8]) -> Trail {
        let named = parent.0.iter().zip(&self.patterns);
        Trail(named.map(|(named, pattern)| *named || pattern.matches(path)).collect())
    }

    /// As [`Self::ignores`], for an entry of the folder with this trail.
    pub fn ignores_in(&self, parent: &Trail, path: &[u8]) -> bool {
        let mut ignored = false;
        for (named, pattern) in parent.0.iter().zip(&self.patterns) {
            // A rule that would change nothing is not asked.
            if pattern.is_exception() == ignored && (*named || pattern.matches(path)) {
                ignored = !pattern.is_exception();
            }
        }
        ignored
    }

    /// Can anything below an ignored folder be brought back by a later `!` rule? Never wrongly `false`.
    pub fn may_keep_below(&self, trail: &Trail, path: &[u8]) -> bool {
        let last = trail.0.iter().zip(&self.patterns).rposition(|(named, p)| *named && !p.is_exception());
        let after = last.map_or(0, |at| at + 1);
        self.patterns[after..].iter().any(|p| p.is_exception() && p.may_match_below(path))
    }
}

/// The cleaned rule of a line, with its `!`; `None` for comments and empty lines. The steps are those of moby, which
/// trims and cleans a second time: blanks that a slash had protected go as well.
fn rule_of(line: &[u8]) -> Option<Vec<u8>> {
    if line.starts_with(b"#") {
        return None;
    }
    let line = trim(line);
    let (exception, pattern) = match line {
        [] => return None,
        [b'!', rest @ ..] => (true, trim(rest)),
        all => (false, all),
    };
    let mut rule = if exception { vec![b'!'] } else { Vec::new() };
    if !pattern.is_empty() {
        let clean = clean(pattern);
        let rooted = clean.strip_prefix(b"/").unwrap_or(&clean);
        // A lone slash stays one: it names nothing, where an empty pattern would be an error.
        rule.extend_from_slice(if rooted.is_empty() && !exception { b"/" } else { rooted });
    }
    let rule = trim(&rule);
    (!rule.is_empty()).then(|| clean(rule))
}

fn trim(bytes: &[u8]) -> &[u8] {
    std::str::from_utf8(bytes).map_or(bytes.trim_ascii(), |text| text.trim().as_bytes())
}

/// The shortest equal path, as Go's `filepath.Clean` gives it.
fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => {
                parts.pop();
            }
            b".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/".as_slice(), &joined].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests;
