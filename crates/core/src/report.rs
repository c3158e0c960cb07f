//! Findings in what users wrote, each with its location, all of them in one report; and "did you mean" for a misspelt name.

use std::cmp::Ordering;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use crate::message::{self, Message};
use crate::names::ServiceName;
use crate::{limits, mask};

/// How many bytes of a text are searched for secrets and shown.
const SEARCHED: usize = 4096;

/// Where something was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Location {
    /// A file's name as the user knows it, or the name of an option or a variable; empty for a part of a build that
    /// came without its file.
    pub source: Arc<str>,
    /// Line from 1; 0 if no single line is meant.
    pub line: usize,
    /// Column (characters) from 1.
    pub col: usize,
    /// The key, as `bake[0].kaniko.cache.ttl`; empty for the whole source.
    pub path: String,
}

impl Location {
    /// A whole file.
    pub fn file(name: &str) -> Self {
        Self { source: name.into(), ..Self::default() }
    }

    /// An environment variable or a command line option (`--repo`).
    pub fn setting(name: &str) -> Self {
        Self::file(name)
    }

    /// A part of a build without its file: a service, an entry (from 0) of its tasks, a key; what is `None` is left
    /// out.
    pub fn in_build(service: Option<&ServiceName>, entry: Option<usize>, key: Option<&str>) -> Self {
        let service = service.map(|name| format!("service {name}"));
        let entry = entry.map(|entry| format!("entry {}", entry + 1));
        let parts = service.into_iter().chain(entry).chain(key.map(str::to_owned));
        Self { path: parts.collect::<Vec<_>>().join(": "), ..Self::default() }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_on_one_line(f, &self.source)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.col)?;
        }
        if !self.source.is_empty() && !self.path.is_empty() {
            f.write_str(": ")?;
        }
        write_on_one_line(f, &self.path)
    }
}

/// A name as it may appear in a message: without the control characters that a file's name may have.
fn write_on_one_line(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.chars().try_for_each(|c| f.write_char(on_one_line(c)))
}

fn on_one_line(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

/// Something found in what a user wrote. Displays as `file:line:col: path: text`, without the hint. Never holds a
/// secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub location: Location,
    /// What is wrong, and what was expected; or what was done or left undone.
    pub text: String,
    /// What to do about it; `None` if the text is sufficient.
    pub hint: Option<String>,
}

/// A finding that the user has to correct before anything is built.
pub type Mistake = Finding;

/// A finding that is worth mentioning and stops nothing.
pub type Notice = Finding;

impl Finding {
    /// `message` at `location`.
    pub fn new(location: Location, message: impl Into<Message>) -> Self {
        let Message { text, hint } = message.into();
        Self { location, text, hint }
    }

    /// `message` about the variable or the option `name`.
    pub fn of_setting(name: &str, message: impl Into<Message>) -> Self {
        Self::new(Location::setting(name), message)
    }

    /// Location and text as one text, and the hint.
    pub fn message(&self) -> Message {
        Message { text: self.to_string(), hint: self.hint.clone() }
    }

    /// The finding as a report shows it: its hint, if any, is on an indented line of its own.
    pub fn rendered(&self) -> String {
        message::indented(&self.to_string(), self.hint.as_deref())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let location = self.location.to_string();
        if location.is_empty() { f.write_str(&self.text) } else { write!(f, "{location}: {}", self.text) }
    }
}

/// All mistakes of what was read, in the order of the files. Displays each with its hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// At least one.
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, mistake) in self.mistakes.iter().enumerate() {
            if nth > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&mistake.rendered())?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

/// Gathers mistakes and notices while a file is read.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// What is wrong.
    pub mistakes: Vec<Mistake>,
    /// What is worth mentioning.
    pub notices: Vec<Notice>,
    /// The sources whose order in a report is known, see [`Self::source`].
    sources: Vec<Arc<str>>,
}

impl Findings {
    /// Adds a mistake; at the limit, a last one reports that the rest is not listed.
    pub fn mistake(&mut self, location: Location, message: impl Into<Message>) {
        let message = match (self.mistakes.len() + 1).cmp(&limits::FINDINGS) {
            Ordering::Less => message.into(),
            Ordering::Equal => Message::new("too many mistakes: the rest is not listed"),
            Ordering::Greater => return,
        };
        self.mistakes.push(Mistake::new(location, message));
    }

    /// Adds a notice, once; those beyond the limit are dropped.
    pub fn notice(&mut self, location: Location, message: impl Into<Message>) {
        let notice = Notice::new(location, message);
        if self.notices.len() < limits::FINDINGS && !self.notices.contains(&notice) {
            self.notices.push(notice);
        }
    }

    /// Lists what is found in `source` after what is found in the sources named before, and in those that are not named.
    pub fn source(&mut self, source: &Arc<str>) {
        if !self.sources.contains(source) {
            self.sources.push(source.clone());
        }
    }

    /// `value` and the notices if there is no mistake, else the report.
    pub fn finish<T>(mut self, value: T) -> Result<(T, Vec<Notice>), Report> {
        if self.mistakes.is_empty() {
            in_order(&mut self.notices, self.sources);
            Ok((value, self.notices))
        } else {
            Err(self.into_report())
        }
    }

    /// The report: each file's mistakes from top to bottom, and each mistake once (one in `global` is found for every
    /// entry).
    pub fn into_report(mut self) -> Report {
        in_order(&mut self.mistakes, self.sources);
        let mut mistakes = Vec::new();
        for mistake in self.mistakes {
            if !mistakes.contains(&mistake) {
                mistakes.push(mistake);
            }
        }
        Report { mistakes }
    }
}

impl From<Report> for Findings {
    fn from(report: Report) -> Self {
        Self { mistakes: report.mistakes, ..Self::default() }
    }
}

/// Sources in the order in which they were read, each from top to bottom; those whose order is `known` are the last.
fn in_order(found: &mut [Finding], known: Vec<Arc<str>>) {
    let mut sources: Vec<Arc<str>> = Vec::new();
    for Finding { location, .. } in found.iter() {
        if !sources.contains(&location.source) && !known.contains(&location.source) {
            sources.push(location.source.clone());
        }
    }
    sources.extend(known);
    found.sort_by_key(|Finding { location, .. }| {
        (sources.iter().position(|source| *source == location.source), location.line, location.col)
    });
}

/// The known name that `text` most likely misspells, if any is close enough.
pub fn nearest<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace('_', "-");
    let text = plain(text);
    let allowed = (text.chars().count() / 3).clamp(1, 3);
    known
        .iter()
        .map(|&name| (distance(&text, &plain(name)), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The hint for a name that is not in `known`.
pub fn did_you_mean(text: &str, known: &[&str]) -> String {
    nearest(text, known)
        .map_or_else(|| format!("one of {}", known.join(", ")), |name| format!("did you mean `{name}`?"))
}

/// The hint for a name that is a key and its value without the blank between them.
pub fn forgotten_blank(name: &str) -> Option<String> {
    let (key, value) = name.split_once(':')?;
    (!key.is_empty() && !value.is_empty()).then(|| format!("put a blank after `{}:`", shown(key)))
}

/// A text from a file as it may appear in a message: short, on one line, without what looks like a secret.
pub fn shown(text: &str) -> String {
    shown_within(text, 60)
}

/// The same for a text of up to so many characters.
pub fn shown_within(text: &str, most: usize) -> String {
    let looked_at = beginning(text);
    if looked_at.is_empty() && !text.is_empty() {
        return format!("({} bytes without a blank)", text.len());
    }
    let masked = mask::text(looked_at, mask::Form::Message);
    let mut chars = masked.chars().map(on_one_line);
    let mut kept: String = chars.by_ref().take(most).collect();
    if chars.next().is_some() || looked_at.len() < text.len() {
        kept.push_str("...");
    }
    kept
}

/// The beginning of a text, as far as it is searched for secrets. A word at the cut is left out as a whole: its end
/// decides whether it is a login (the host is there).
fn beginning(text: &str) -> &str {
    let cut = text.floor_char_boundary(SEARCHED);
    if cut == text.len() {
        return text;
    }
    &text[..text[..cut].rfind(char::is_whitespace).unwrap_or(0)]
}

/// The number of edits between two names: insert, delete, replace, swap neighbours. Long names are not compared.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > 3 || a.len() > 64 {
        return usize::MAX;
    }
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let swap = usize::from(a[i - 1] != b[j - 1]);
                let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + swap);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_like_a_compilers() {
        let mut findings = Findings::default();
        let at =
            |line, path: &str| Location { line, col: 3, path: path.into(), ..Location::file("config.yaml") };
        findings.mistake(
            at(9, "bake[1].arch"),
            Message::new("`amd46` is not amd64 or arm64").with_hint("did you mean `amd64`?"),
        );
        findings.mistake(at(2, "globl"), "unknown key");
        findings.mistake(at(2, "globl"), "unknown key");
        findings.mistake(Location::file(".env"), "cannot be read");
        findings.mistake(Location::file("a\nb\x1b[1m"), "cannot be read");
        insta::assert_snapshot!(findings.into_report(), @r"
        config.yaml:2:3: globl: unknown key
        config.yaml:9:3: bake[1].arch: `amd46` is not amd64 or arm64
          hint: did you mean `amd64`?
        .env: cannot be read
        a b [1m: cannot be read
        ");
    }

    #[test]
    fn misspelt_names_are_recognised_and_unknown_ones_are_not() {
        let known = ["context-path", "dockerfile", "destination", "arch"];
        for (text, name) in [
            ("context_path", Some("context-path")),
            ("destnation", Some("destination")),
            ("Dockerfile", Some("dockerfile")),
            ("acrh", Some("arch")),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, &known), name, "{text}");
        }
    }

    #[test]
    fn what_follows_a_forgotten_blank_is_not_shown() {
        assert_eq!(shown("password:hunter4secret"), "password:***");
        assert_eq!(shown("MY_PASSWORD:hunter6,\"secret"), "MY_PASSWORD:***");
        assert_eq!(shown("registry:reg.test:5000"), "registry:reg.test:5000");
        assert_eq!(shown("reg.test/app-secret:latest"), "reg.test/app-secret:latest");
    }

    #[test]
    fn a_login_is_not_shown() {
        assert_eq!(shown("https://me:hunter2@reg.test/a"), "https://me:***@reg.test/a");
        assert_eq!(shown("me:hunter2@reg.test/a"), "me:***@reg.test/a");
        assert_eq!(shown(&"x".repeat(100)).len(), 63);
        let (long, login) =
            ("x".repeat(5000), |password: &str| format!("see https://me:{password}@reg.test"));
        assert_eq!(shown(&login(&"x".repeat(3000))), "see https://me:***@reg.test");
        assert_eq!(shown(&login(&long)), "see...", "the host is beyond the limit");
        assert_eq!(shown(&format!("password='a b {long} c'")), "password='***...");
        assert_eq!(shown(&format!("a@b.test {}", "@".repeat(1 << 20))), "a@b.test...");
        assert_eq!(shown(&long), "(5000 bytes without a blank)");
    }
}
