//! `.dockerignore`: which paths of a build context are excluded.
//!
//! The rules are those of BuildKit, which walks the folder (moby's `ignorefile`, and `MatchesUsingParentResults` of its
//! `patternmatcher`, as fsutil's walk calls it): the last rule that matches an entry, or has matched a folder above it,
//! decides. A rule that could change nothing is not asked, and then has not matched: `!src` after `**/.env` includes no
//! `src/.env`, because nothing had excluded `src`. Where moby's translation to regular expressions shows (`[*]`, `\d`, `^`
//! next to a wildcard, a newline under `**`), characters are literal here.

mod pattern;

use std::fmt;

pub use pattern::{BadPattern, Pattern};

/// A parsed ignore file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IgnoreFile {
    rules: Vec<Rule>,
    /// A `!` rule has a wildcard elsewhere than in a last part `*` or `**`. Without such a rule BuildKit walks an excluded
    /// folder only if a `!` rule begins with its path.
    has_open_exceptions: bool,
}

/// A line that is a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    pattern: Pattern,
    /// The path, without the wildcards at its end.
    start: Vec<u8>,
    /// Line number, from 1.
    line: usize,
    text: String,
}

/// A line of an ignore file that decides about something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IgnoreLine {
    /// Line number, from 1.
    pub line: usize,
    /// The line's text.
    pub text: String,
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

/// What the rules have found about a folder; its entries inherit it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trail {
    /// Which rules match the folder or one above it, one flag per rule.
    matched: Vec<bool>,
    /// The rule that excludes the folder; `None` if it is included.
    excluded_by: Option<usize>,
    /// Whether BuildKit skips the excluded folder with everything below it.
    is_skipped: bool,
}

impl Trail {
    /// Whether the folder is excluded. Something below it may still be included.
    pub fn is_excluded(&self) -> bool {
        self.excluded_by.is_some()
    }
}

impl IgnoreFile {
    /// Parses an ignore file. Returns all invalid lines at once.
    pub fn parse(bytes: &[u8]) -> Result<Self, Vec<BadLine>> {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let mut rules = Vec::new();
        let mut bad = Vec::new();
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let Some(rule) = rule_of(line) else { continue };
            let (line, text) = (index + 1, String::from_utf8_lossy(trim(line)).into_owned());
            match Pattern::compile(&rule) {
                Ok(pattern) => rules.push(Rule { pattern, start: start(&rule).to_vec(), line, text }),
                Err(problem) => bad.push(BadLine { line, text, problem }),
            }
        }
        let is_open =
            |rule: &Rule| rule.pattern.is_exception() && rule.start.iter().any(|b| b"*[]?^\\".contains(b));
        let has_open_exceptions = rules.iter().any(is_open);
        if bad.is_empty() { Ok(Self { rules, has_open_exceptions }) } else { Err(bad) }
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
        Trail { matched: vec![false; self.rules.len()], excluded_by: None, is_skipped: false }
    }

    /// The trail of a folder, computed from its parent's.
    pub fn enter(&self, parent: &Trail, path: &[u8]) -> Trail {
        let mut matched = vec![false; self.rules.len()];
        let excluded_by = self.decide(parent, path, |rule| matched[rule] = true);
        let is_skipped = excluded_by.is_some() && (parent.is_skipped || self.is_skipped(path));
        Trail { matched, excluded_by, is_skipped }
    }

    /// As [`Self::ignores`], for an entry of the folder with this trail.
    pub fn ignores_in(&self, parent: &Trail, path: &[u8]) -> bool {
        self.decide(parent, path, |_| ()).is_some()
    }

    /// The line that excludes an entry of the folder with this trail; `None` if it is included.
    pub fn excluding_line(&self, parent: &Trail, path: &[u8]) -> Option<IgnoreLine> {
        self.decide(parent, path, |_| ()).map(|at| self.rules[at].as_line())
    }

    /// The `!` rules that name a folder or file of this name, at any depth.
    pub fn exceptions_for(&self, name: &str) -> Vec<IgnoreLine> {
        let names = |rule: &&Rule| {
            let path = rule.start.strip_prefix(b"!").unwrap_or_default();
            rule.pattern.is_exception()
                && path.split(|byte| *byte == b'/').any(|part| part == name.as_bytes())
        };
        self.rules.iter().filter(names).map(Rule::as_line).collect()
    }

    /// Whether a later `!` rule may include something below an excluded folder. May be wrongly `true`, never wrongly
    /// `false`.
    pub fn may_keep_below(&self, trail: &Trail, path: &[u8]) -> bool {
        if trail.is_skipped {
            return false;
        }
        let rules = || trail.matched.iter().zip(&self.rules);
        let last = rules().rposition(|(matched, rule)| *matched && !rule.pattern.is_exception());
        let after = last.map_or(0, |at| at + 1);
        self.rules[after..]
            .iter()
            .any(|rule| rule.pattern.is_exception() && rule.pattern.may_match_below(path))
    }

    /// The rule that excludes an entry of the folder with this trail. Calls `record` with each rule that matches.
    fn decide(&self, parent: &Trail, path: &[u8], mut record: impl FnMut(usize)) -> Option<usize> {
        if parent.is_skipped {
            return parent.excluded_by;
        }
        let mut excluded_by: Option<usize> = None;
        for (at, (inherited, rule)) in parent.matched.iter().zip(&self.rules).enumerate() {
            let may_change = rule.pattern.is_exception() == excluded_by.is_some();
            if *inherited || may_change && rule.pattern.matches(path) {
                record(at);
                excluded_by = if rule.pattern.is_exception() { None } else { Some(at) };
            }
        }
        excluded_by
    }

    fn is_skipped(&self, folder: &[u8]) -> bool {
        let is_below = |rule: &Rule| {
            let below = rule.start.strip_prefix(b"!").and_then(|start| start.strip_prefix(folder));
            rule.pattern.is_exception() && below.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        !self.has_open_exceptions && !self.rules.iter().any(is_below)
    }
}

impl Rule {
    fn as_line(&self) -> IgnoreLine {
        IgnoreLine { line: self.line, text: self.text.clone() }
    }
}

/// A rule without `/**`, and then without `/*`, at its end.
fn start(rule: &[u8]) -> &[u8] {
    let rule = rule.strip_suffix(b"/**").unwrap_or(rule);
    rule.strip_suffix(b"/*").unwrap_or(rule)
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
