//! The forms that secrets have in free text. The text is not trusted: whatever it contains, it is searched in linear
//! time.

use std::cell::Cell;
use std::ops::Range;

use super::name_suggests_secret;
use crate::mask::{Form, MASK};

/// Prefixes that identify tokens of well-known services.
const TOKENS: [&str; 17] = [
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "gldt-",
    "dckr_pat_",
    "npm_",
    "pypi-",
    "xoxb-",
    "xoxp-",
    "sk_live_",
    "sk_test_",
    "AIza",
    "hvs.",
];

/// What precedes a colon in texts that are not logins.
const SCHEMES: [&str; 9] = ["npm", "jsr", "workspace", "patch", "mailto", "docker", "oci", "pkg", "file"];

/// What ends a word besides blanks.
const BOUNDS: &str = "\"'`<>";

/// Maximum bytes of a variable's name, and of a host with its port. The rest of a longer text is not read.
const LONGEST_NAME: usize = 256;

/// Adds every secret of `found`'s text that is written in one of these forms.
pub(super) fn search(found: &mut Found<'_>) {
    found.urls();
    found.logins();
    found.assignments();
    found.headers();
    found.tokens();
    found.private_keys();
}

/// True for the name of a flag or a key whose value is a secret; `--token-file` names a file, not a secret.
pub(super) fn names_secret(name: &str) -> bool {
    let name = name.trim_start_matches(['-', '.']).to_ascii_lowercase().replace('_', "-");
    let references =
        ["-file", "-stdin", "-path", "-dir", "-url", "-env", "-name", "-id", "-arn", "-type", "-ttl"];
    let keys = ["x-amz-signature", "sig", "accountkey", "sharedaccesskey"];
    let known = keys.contains(&name.as_str()) || name_suggests_secret(&name);
    known && !references.iter().any(|end| name.ends_with(end)) && name != "credential-helpers"
}

/// False for a value that only refers to a secret, as in Kaniko's `--secret id=...`.
pub(super) fn may_be_secret(value: &str) -> bool {
    !value.is_empty() && !value.starts_with("id=")
}

/// The ranges of a text that look like secrets, as far as it has been searched; they may overlap.
pub(super) struct Found<'t> {
    pub(super) text: &'t str,
    pub(super) spans: Vec<Range<usize>>,
    form: Form,
    words: Ends,
    values: Ends,
    braces: Ends,
}

/// Where the last search for an end began, and where it ended: one that begins in between ends there too.
#[derive(Debug, Clone, Default)]
struct Ends(Cell<(usize, usize)>);

impl Ends {
    /// Where what begins at `start` ends; `find` looks into what follows.
    fn of(&self, text: &str, start: usize, find: impl Fn(&str) -> Option<usize>) -> usize {
        let (from, end) = self.0.get();
        if (from..end).contains(&start) {
            return end;
        }
        let rest = &text[start..];
        let end = start + find(rest).unwrap_or(rest.len());
        self.0.set((start, end));
        end
    }
}

impl<'t> Found<'t> {
    /// Nothing found in `text` yet.
    pub(super) fn new(text: &'t str, form: Form) -> Self {
        let ends = Ends::default();
        Self { text, spans: Vec::new(), form, words: ends.clone(), values: ends.clone(), braces: ends }
    }

    /// Adds a range, unless its text only names a secret.
    pub(super) fn add(&mut self, span: Range<usize>) {
        let Some(text) = self.text.get(span.clone()) else { return };
        let variable = self.form == Form::Script && is_variable(text);
        if may_be_secret(text) && text != MASK && !variable {
            self.spans.push(span);
        }
    }

    /// The value that begins at `start`: what is quoted, or up to what ends a word.
    pub(super) fn value(&self, start: usize) -> Range<usize> {
        let rest = &self.text[start..];
        let escaped = rest.strip_prefix('\\').unwrap_or(rest);
        if let Some(quote) = escaped.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            let start = start + rest.len() - escaped.len() + 1;
            let inner = &self.text[start..];
            let end = inner.find(quote).unwrap_or(inner.len());
            return start..start + inner[..end].trim_end_matches('\\').len();
        }
        let command = rest.starts_with("$(") || rest.starts_with('`');
        if self.form == Form::Script && command {
            return start..start;
        }
        let ends = |c: char| c.is_whitespace() || "\"'`;&|<>),".contains(c);
        start..self.values.of(self.text, start, |rest| rest.find(ends))
    }

    /// Where the word at `start` ends: at a blank or a quote, and before the backslash that escapes it.
    fn word_end(&self, start: usize) -> usize {
        let end = |rest: &str| {
            let end = rest.find(|c: char| c.is_whitespace() || BOUNDS.contains(c)).unwrap_or(rest.len());
            Some(rest[..end].trim_end_matches('\\').len())
        };
        self.words.of(self.text, start, end)
    }

    /// `scheme://user:password@host`, and `https://token@host`.
    fn urls(&mut self) {
        let text = self.text;
        let mut begin = 0;
        for word in text.split_inclusive(|c: char| c.is_whitespace() || BOUNDS.contains(c)) {
            let last = word.rfind('@').map(|at| begin + at);
            for (at, _) in word.match_indices("://") {
                self.url(begin + at, &text[begin + at + 3..begin + word.len()], last);
            }
            begin += word.len();
        }
    }

    /// A URL whose `://` is at `at`; what follows is `whole`, and `last` is the last `@` of the word.
    fn url(&mut self, at: usize, whole: &str, last: Option<usize>) {
        let start = at + 3;
        let authority = &whole[..whole.find(['/', '?', '#']).unwrap_or(whole.len())];
        let login = match authority.rfind('@') {
            Some(end) => &authority[..end],
            // A password with a slash of its own: what follows the colon is not a port.
            None => match (authority.split_once(':'), last.and_then(|last| last.checked_sub(start))) {
                (Some((_, port)), Some(end))
                    if !port.starts_with('$') && !port.bytes().all(|b| b.is_ascii_digit()) =>
                {
                    &whole[..end]
                }
                _ => return,
            },
        };
        let http = ["http", "https"].iter().any(|scheme| {
            self.text[..at]
                .get(at.saturating_sub(scheme.len())..)
                .is_some_and(|s| s.eq_ignore_ascii_case(scheme))
        });
        match login.split_once(':') {
            Some((user, password)) if !password.is_empty() => {
                self.add(start + user.len() + 1..start + login.len());
            }
            Some((user, _)) => self.add(start..start + user.len()),
            None if http => self.add(start..start + login.len()),
            None => {}
        }
    }

    /// `user:password@host` without a scheme.
    fn logins(&mut self) {
        let text = self.text;
        let mut start = 0;
        for word in text.split_inclusive(|c: char| c.is_whitespace() || "\"'`/,;()<>|&".contains(c)) {
            // A part of a path, unless two slashes begin an authority.
            let inside = text[..start].ends_with('/') && !text[..start].ends_with("//");
            if let Some((user, rest)) = word.split_once(':').filter(|_| !inside) {
                let name = user.rsplit('=').next().unwrap_or(user);
                if !name.is_empty() && !SCHEMES.contains(&name) {
                    self.passwords(start + user.len() + 1, rest);
                }
            }
            start += word.len();
        }
    }

    /// Any `@` of `rest`, which begins at `start`, may be the one that ends the password.
    fn passwords(&mut self, start: usize, rest: &str) {
        for (len, _) in rest.match_indices('@') {
            if &rest[..len] != "git" && is_host_after(&self.text[start + len + 1..], len) {
                self.add(start..start + len);
            }
        }
    }

    /// `NAME=value`, `name = value`, `name: value`, `"name": "value"`, `${NAME:-value}`.
    fn assignments(&mut self) {
        for (at, sign) in self.text.match_indices(['=', ':']) {
            let before = &self.text[..at];
            let after = &self.text[at + 1..];
            let unquoted = before.strip_suffix(['"', '\'']).unwrap_or(before);
            let quoted = unquoted.len() < before.len();
            let name_end = unquoted.trim_end_matches('\\').trim_end_matches([' ', '\t']);
            let blank_before = !quoted && name_end.len() < unquoted.len();
            let word = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            let name = &name_end[name_end.trim_end_matches(word).len()..];
            let lead = &name_end[..name_end.len() - name.len()];
            // `PWD` is a folder in a shell, and a password in a connection string.
            let connection =
                lead.trim_end().ends_with(';') && name.eq_ignore_ascii_case("pwd") && !after.starts_with('/');
            if !names_secret(name) && !connection {
                continue;
            }
            let braced = lead.ends_with("${");
            if braced {
                if let Some(default) = after.strip_prefix(['-', '=']).filter(|_| sign == ":") {
                    let start = self.text.len() - default.len();
                    self.add(start..self.braces.of(self.text, start, |rest| rest.find('}')));
                }
                continue;
            }
            let blank_after = after.starts_with([' ', '\t']);
            let attached = sign == ":" && self.form == Form::Message && !blank_after && !after.is_empty();
            // What follows a slash is an image and its tag.
            if attached && !lead.ends_with(['/', '@']) {
                let start = at + sign.len();
                let end = after.find(char::is_whitespace).unwrap_or(after.len());
                self.add(start..start + end);
                continue;
            }
            let stands = match sign {
                "=" => blank_before == blank_after && !after.starts_with('='),
                // `secret:latest` is an image, and so are `a/token:1` and the like.
                _ => !blank_before && (blank_after || quoted || is_header(name)),
            };
            if stands {
                let start = self.text.len() - after.trim_start_matches([' ', '\t']).len();
                self.add(self.value(start));
            }
        }
    }

    /// `Authorization: Bearer token`, and `Bearer token` and `Basic login` wherever they occur.
    fn headers(&mut self) {
        let lower = self.text.to_ascii_lowercase();
        for (at, name) in lower.match_indices("authorization") {
            let rest = &lower[at + name.len()..];
            let value = rest.trim_start_matches(['\\', '"', '\'']).strip_prefix([':', '=']);
            let Some(value) = value.map(|value| value.trim_start_matches([' ', '\t', '\\', '"', '\'']))
            else {
                continue;
            };
            let other = value.find(|c: char| !c.is_ascii_alphabetic());
            let scheme = other.filter(|&at| value[at..].starts_with(' ')).map(|at| &value[..at]);
            let secret = scheme.map_or(value, |scheme| value[scheme.len()..].trim_start());
            let start = self.text.len() - secret.len();
            self.add(start..self.word_end(start));
        }
        for (at, name) in lower.match_indices("bearer ").chain(lower.match_indices("basic ")) {
            let start = at + name.len();
            let end = self.word_end(start);
            if end - start >= 8 && (name == "bearer " || is_base64(&self.text[start..end])) {
                self.add(start..end);
            }
        }
    }

    /// Tokens of well-known services, and signed tokens (JWT).
    fn tokens(&mut self) {
        let word = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        for prefix in TOKENS.into_iter().chain(["eyJ"]) {
            let (run, mut dots) = (Ends::default(), Dots::default());
            for (at, _) in self.text.match_indices(prefix) {
                let start = at + prefix.len();
                let end = run.of(self.text, start, |rest| rest.find(|c| !word(c)));
                let tail = &self.text[start..end];
                let whole = match prefix {
                    "eyJ" => tail.len() >= 20 && dots.of(self.text, start..end) == 2,
                    // `npm_config_...` are settings.
                    "npm_" => tail.len() >= 30 && tail.bytes().all(|b| b.is_ascii_alphanumeric()),
                    _ => tail.len() >= 12,
                };
                if whole && !self.text[..at].ends_with(|c: char| c.is_ascii_alphanumeric()) {
                    self.add(at..end);
                }
            }
        }
    }

    /// What is between the first and the last line of a private key.
    fn private_keys(&mut self) {
        let head = "PRIVATE KEY-----";
        let bodies = Ends::default();
        let mut at = 0;
        for line in self.text.split_inclusive('\n') {
            if let Some(begin) = line.find("-----BEGIN").map(|begin| begin + "-----BEGIN".len()) {
                for (nth, _) in line[begin..].match_indices(head) {
                    let start = at + begin + nth + head.len();
                    self.add(start..bodies.of(self.text, start, |body| body.find("-----END")));
                }
            }
            at += line.len();
        }
    }
}

/// Counts the dots of successive pieces. A piece that ends where the one before it ended is the rest of that one, and
/// is not read again.
#[derive(Default)]
struct Dots {
    piece: Range<usize>,
    count: usize,
}

impl Dots {
    fn of(&mut self, text: &str, piece: Range<usize>) -> usize {
        let count = |range: Range<usize>| text[range].matches('.').count();
        self.count = if self.piece.contains(&piece.start) && self.piece.end == piece.end {
            self.count - count(self.piece.start..piece.start)
        } else {
            count(piece.clone())
        };
        self.piece = piece;
        self.count
    }
}

/// True for `$NAME` and `${NAME}`.
fn is_variable(text: &str) -> bool {
    let Some(name) = text.strip_prefix('$') else { return false };
    let name = name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name);
    !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// True for text that can be base64 and is not an ordinary word.
fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let legal = body.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/-_".contains(&b));
    let mixed = text.bytes().skip(1).any(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'=');
    legal && mixed && text.len().is_multiple_of(4)
}

/// Headers that carry tokens; they are written with and without a blank after the colon.
fn is_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("x-") || ["private-token", "job-token", "deploy-token"].contains(&name.as_str())
}

/// True where what follows the `@` can be a host, not a digest or a version. A short password needs a host that can be
/// nothing else, since `a:b@c` can be anything.
fn is_host_after(rest: &str, password: usize) -> bool {
    let ends = |c: char| c.is_whitespace() || "\"'`/?#,;)<>|&\\".contains(c);
    if !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || "[$_*".contains(c)) {
        return false;
    }
    let rest = &rest[..rest.floor_char_boundary(LONGEST_NAME)];
    let host = &rest[..rest.find(ends).unwrap_or(rest.len())];
    if host.starts_with("sha256:") || host.starts_with("sha512:") {
        return false;
    }
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    let numeric = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let labels: Vec<&str> = name.split('.').collect();
    let address = labels.len() == 4 && labels.iter().all(|label| numeric(label));
    let last = labels.last().copied().unwrap_or_default();
    let versioned = name.strip_prefix('v').unwrap_or(name).starts_with(|c: char| c.is_ascii_digit())
        && !last.starts_with(|c: char| c.is_ascii_alphabetic());
    if !address && (versioned || ["latest", "next"].contains(&name)) {
        return false;
    }
    let surely = address || labels.len() > 1 || port.is_some_and(numeric) || name.contains('(');
    surely || password >= super::SHORTEST
}
