//! The config of a git repository without its credentials.
//!
//! The text is read as git reads it and written again, so nothing of it stays that git does not read: comments are left
//! out too.

use bakery_core::mask::name_suggests_secret;

/// A config without credentials.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CleanConfig {
    /// The text.
    pub(crate) text: Vec<u8>,
    /// Files that may hold credentials, as the config writes their paths.
    pub(crate) files: Vec<String>,
}

/// Removes every credential: sections `credential`, headers, keys whose names suggest a secret, user names and passwords
/// in URLs. `Err` has the line, from 1, that git would not read.
pub(crate) fn without_credentials(text: &[u8]) -> Result<CleanConfig, usize> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let text = String::from_utf8_lossy(text).replace("\r\n", "\n");
    let mut reader = Reader { rest: &text, line: 1 };
    let (mut clean, mut files) = (String::new(), Vec::new());
    // A section is written when something of it is kept.
    let mut section: Option<(Section, bool)> = None;
    while let Some(item) = reader.item()? {
        match (item, &mut section) {
            (Item::Section(found), _) => section = Some((found, false)),
            // It has no name that git could ask for.
            (Item::Entry { .. }, None) => {}
            (Item::Entry { key, value }, Some((section, is_written))) => {
                files.extend(value.as_deref().map(|value| section.files(&key, value)).unwrap_or_default());
                if section.is_secret(&key) {
                    continue;
                }
                if !std::mem::replace(is_written, true) {
                    clean.push_str(&section.header());
                }
                let value = value.map(|value| format!(" = {}", quoted(&without_userinfo(&value))));
                clean.extend(["\t", key.as_str(), &value.unwrap_or_default(), "\n"]);
            }
        }
    }
    Ok(CleanConfig { text: clean.into_bytes(), files })
}

#[derive(Debug)]
enum Item {
    Section(Section),
    Entry { key: String, value: Option<String> },
}

#[derive(Debug)]
struct Section {
    /// In lower case.
    name: String,
    subsection: Option<String>,
}

impl Section {
    fn header(&self) -> String {
        match &self.subsection {
            Some(subsection) => format!("[{} {}]\n", self.name, quoted(&without_userinfo(subsection))),
            None => format!("[{}]\n", self.name),
        }
    }

    fn is_secret(&self, key: &str) -> bool {
        let first = self.name.split('.').next().unwrap_or_default();
        let key = key.to_ascii_lowercase();
        first == "credential" || key == "extraheader" || key.ends_with("pass") || name_suggests_secret(&key)
    }

    /// The files that an entry names and that may hold credentials.
    fn files(&self, key: &str, value: &str) -> Vec<String> {
        let key = key.to_ascii_lowercase();
        match self.name.split('.').next().unwrap_or_default() {
            "include" | "includeif" if key == "path" => vec![value.to_owned()],
            // `store --file=.git/credentials`
            "credential" if key == "helper" => value
                .split([' ', '\t', '=', '\'', '"'])
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect(),
            "http" if key == "cookiefile" => vec![value.to_owned()],
            _ => Vec::new(),
        }
    }
}

/// Reads as git does (its `config.c`). A line that git refuses is an error.
struct Reader<'t> {
    rest: &'t str,
    line: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn skip(&mut self, is_skipped: impl Fn(char) -> bool) {
        self.rest = self.rest.trim_start_matches(is_skipped);
    }

    fn item(&mut self) -> Result<Option<Item>, usize> {
        loop {
            match self.peek() {
                None => return Ok(None),
                Some('\n') => {
                    self.next();
                    self.line += 1;
                }
                Some('#' | ';') => self.skip(|c| c != '\n'),
                Some('[') => return self.section().map(|section| Some(Item::Section(section))),
                Some(c) if c.is_ascii_whitespace() => {
                    self.next();
                }
                Some(c) if c.is_ascii_alphabetic() => return self.entry().map(Some),
                Some(_) => return Err(self.line),
            }
        }
    }

    /// `[name]`, `[name "subsection"]` or `[name.subsection]`.
    fn section(&mut self) -> Result<Section, usize> {
        self.next();
        let name = self.word(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')).to_ascii_lowercase();
        let mut subsection = None;
        if matches!(self.peek(), Some(' ' | '\t')) {
            self.skip(|c| matches!(c, ' ' | '\t'));
            if self.next() != Some('"') {
                return Err(self.line);
            }
            let mut text = String::new();
            loop {
                match self.next() {
                    Some('"') => break,
                    Some('\\') if self.peek().is_some_and(|c| c != '\n') => text.extend(self.next()),
                    Some(c) if c != '\n' && c != '\\' => text.push(c),
                    _ => return Err(self.line),
                }
            }
            subsection = Some(text);
        }
        if name.is_empty() || self.next() != Some(']') {
            Err(self.line)
        } else {
            Ok(Section { name, subsection })
        }
    }

    fn entry(&mut self) -> Result<Item, usize> {
        let key = self.word(|c| c.is_ascii_alphanumeric() || c == '-').to_owned();
        self.skip(|c| matches!(c, ' ' | '\t'));
        match self.peek() {
            None | Some('\n') => Ok(Item::Entry { key, value: None }),
            Some('=') => {
                self.next();
                let value = Some(self.value()?);
                Ok(Item::Entry { key, value })
            }
            Some(_) => Err(self.line),
        }
    }

    fn word(&mut self, is_part: impl Fn(char) -> bool) -> &str {
        let all = self.rest;
        self.skip(is_part);
        &all[..all.len() - self.rest.len()]
    }

    /// The rest of a line. A backslash continues it on the next one; quotes keep blanks and comment signs.
    fn value(&mut self) -> Result<String, usize> {
        let (mut value, mut quoted, mut end) = (String::new(), false, 0);
        loop {
            match self.peek() {
                None | Some('\n') if quoted => return Err(self.line),
                None | Some('\n') => break,
                Some('#' | ';') if !quoted => {
                    self.skip(|c| c != '\n');
                    break;
                }
                _ => {}
            }
            match self.next() {
                Some('"') => {
                    quoted = !quoted;
                    end = value.len();
                }
                Some('\\') => {
                    match self.next() {
                        Some('\n') => self.line += 1,
                        Some('n') => value.push('\n'),
                        Some('t') => value.push('\t'),
                        Some('b') => value.push('\u{8}'),
                        Some(c @ ('\\' | '"')) => value.push(c),
                        _ => return Err(self.line),
                    }
                    end = value.len();
                }
                Some(c) => {
                    let is_blank = !quoted && c.is_ascii_whitespace();
                    if !is_blank || !value.is_empty() {
                        value.push(c);
                    }
                    if !is_blank {
                        end = value.len();
                    }
                }
                None => {}
            }
        }
        // Blanks at the end are not part of it; nor are those at the beginning.
        value.truncate(end);
        Ok(value)
    }
}

/// A text as git reads it back.
fn quoted(text: &str) -> String {
    let mut all = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => all.extend(['\\', c]),
            '\n' => all.push_str("\\n"),
            '\t' => all.push_str("\\t"),
            '\u{8}' => all.push_str("\\b"),
            c => all.push(c),
        }
    }
    all.push('"');
    all
}

/// A text whose URLs name no user and no password; the user of SSH, which is no secret, stays.
fn without_userinfo(text: &str) -> String {
    let (mut all, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        all.push_str(before);
        let scheme = before[..at].rsplit(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c)).next();
        let scheme = scheme.unwrap_or_default().to_ascii_lowercase();
        let word = &after[..after.find(char::is_whitespace).unwrap_or(after.len())];
        let authority = &word[..word.find(['/', '?', '#']).unwrap_or(word.len())];
        let port = authority.split_once(':').map_or("", |(_, port)| port);
        let end = match authority.rfind('@') {
            // A password with a slash: what looks like a port is not one.
            None if !port.bytes().all(|byte| byte.is_ascii_digit()) => word.rfind('@'),
            end => end,
        };
        rest = after;
        if let Some(end) = end {
            let userinfo = &after[..end];
            if matches!(scheme.as_str(), "ssh" | "git+ssh" | "ssh+git" | "svn+ssh" | "git" | "rsync") {
                all.push_str(userinfo.split(':').next().unwrap_or_default());
                all.push('@');
            }
            rest = &after[end + 1..];
        }
    }
    all + rest
}

#[cfg(test)]
mod tests;
