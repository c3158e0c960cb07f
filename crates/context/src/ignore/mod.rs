//! `.dockerignore`: which paths of a build context are excluded.
//!
//! The rules are those of Docker (moby's `ignorefile` and `patternmatcher`, its `MatchesOrParentMatches`): the last
//! rule that matches a path or one of its parents decides. Where moby's translation to regular expressions shows
//! (`[*]`, `\d`, `^` next to a wildcard, a newline under `**`), characters are literal here.

mod pattern;

use std::fmt;

pub use pattern::{BadPattern, Pattern};

/// A parsed ignore file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IgnoreFile {
    patterns: Vec<Pattern>,
}

/// A line of an ignore file that is not a valid rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Line number, from 1.
    pub line: usize,
    /// The line's text.
    pub text: String,
    /// What is wrong with it.
    pub problem: BadPattern,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: `{}`: {}", self.line, self.text, self.problem)
    }
}

/// Which rules match a folder or one of its parents, one flag per rule. The folder's entries inherit it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trail(Vec<bool>);

impl IgnoreFile {
    /// Parses an ignore file. Returns all invalid lines at once.
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

    /// Whether the file contains no rule.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether this path (relative to the context, slashes between its parts) is excluded.
    pub fn ignores(&self, path: &[u8]) -> bool {
        let mut trail = self.root();
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            trail = self.enter(&trail, &path[..at]);
        }
        self.ignores_in(&trail, path)
    }

    /// The trail of the context's own folder, which no rule matches.
    pub fn root(&self) -> Trail {
        Trail(vec![false; self.patterns.len()])
    }

    /// The trail of a folder, computed from its parent's.
    pub fn enter(&self, parent: &Trail, path: &[u8]) -> Trail {
        let rules = parent.0.iter().zip(&self.patterns);
        Trail(rules.map(|(inherited, pattern)| *inherited || pattern.matches(path)).collect())
    }

    /// As [`Self::ignores`], for an entry of the folder with this trail.
    pub fn ignores_in(&self, parent: &Trail, path: &[u8]) -> bool {
        let mut ignored = false;
        for (inherited, pattern) in parent.0.iter().zip(&self.patterns) {
            // A rule that would change nothing need not be matched.
            if pattern.is_exception() == ignored && (*inherited || pattern.matches(path)) {
                ignored = !pattern.is_exception();
            }
        }
        ignored
    }

    /// Whether a later `!` rule may include something below an ignored folder. May be wrongly `true`, never wrongly
    /// `false`.
    pub fn may_keep_below(&self, trail: &Trail, path: &[u8]) -> bool {
        let last =
            trail.0.iter().zip(&self.patterns).rposition(|(inherited, p)| *inherited && !p.is_exception());
        let after = last.map_or(0, |at| at + 1);
        self.patterns[after..].iter().any(|p| p.is_exception() && p.may_match_below(path))
    }
}

/// The cleaned rule of a line, with its `!`; `None` for comments and empty lines. The steps are those of moby, which
/// trims and cleans a second time, which also removes blanks that were next to a slash.
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
        // A lone slash is kept: it matches nothing, while an empty pattern would be an error.
        rule.extend_from_slice(if rooted.is_empty() && !exception { b"/" } else { rooted });
    }
    let rule = trim(&rule);
    (!rule.is_empty()).then(|| clean(rule))
}

fn trim(bytes: &[u8]) -> &[u8] {
    std::str::from_utf8(bytes).map_or(bytes.trim_ascii(), |text| text.trim().as_bytes())
}

/// The shortest equivalent path, as Go's `filepath.Clean` returns it.
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
