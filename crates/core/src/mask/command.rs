//! Secrets that a script, or a Dockerfile, passes to commands.

use std::ops::Range;

use crate::mask::forms::{Found, names_secret};

/// Commands whose `-u` (or `-a`) takes `user:password`.
const FETCHERS: [&str; 3] = ["curl", "wget", "http"];
/// The flags of [`FETCHERS`] for it.
const USERS: [&str; 5] = ["-u", "--user", "-U", "--proxy-user", "-a"];
/// Settings of npm that are secrets; a registry may precede them.
const NPM: [&str; 3] = ["_authToken", "_auth", "_password"];

/// Searches each command line; a line that ends with a backslash is continued by the next.
pub(super) fn search(found: &mut Found<'_>) {
    let text = found.text;
    let mut words: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let mut at = start;
        for piece in line.split_inclusive(char::is_whitespace) {
            let word = piece.trim_end();
            if !word.is_empty() && word != "\\" {
                words.push(at..at + word.len());
            }
            at += piece.len();
        }
        start += line.len();
        if !line.trim_end().ends_with('\\') {
            command_line(found, &words);
            words.clear();
        }
    }
    command_line(found, &words);
}

fn command_line(found: &mut Found<'_>, words: &[Range<usize>]) {
    let text = found.text;
    let bare = |nth: usize| text[words[nth].clone()].trim_matches(['"', '\'', '(', ')', ';']);
    let program = |nth: usize| bare(nth).rsplit('/').next().unwrap_or_default();
    let mut login = false;
    let mut fetcher = false;
    let mut attached = false;
    let mut fed_by = None;
    let mut here = false;
    // In a Dockerfile; with a `=` it is an assignment.
    if let [_, name, value, ..] = words
        && bare(0) == "ENV"
        && !text[name.clone()].contains('=')
        && names_secret(&text[name.clone()])
    {
        found.add(value.start..words[words.len() - 1].end);
    }
    for nth in 0..words.len() {
        let word = bare(nth);
        let written = &text[words[nth].clone()];
        let next = words.get(nth + 1).map(|next| next.start);
        // What follows a flag is its value, unless it is the next flag or the next command.
        let value =
            next.filter(|&at| !text[at..].starts_with("--") && !text[at..].starts_with(['|', '&', ';']));
        if word.starts_with('-') && !word.contains('=') {
            let user = USERS.contains(&word) || is_cluster(word, 'u');
            match value {
                Some(at) if names_secret(word) || word == "-p" && login => found.add(found.value(at)),
                Some(at) if user && fetcher => after_colon(found, found.value(at)),
                _ if fetcher && word.starts_with("-u") => after_colon(found, words[nth].clone()),
                _ if attached && word.starts_with("-p") => {
                    let flag = words[nth].start + written.find("-p").unwrap_or(0) + 2;
                    found.add(found.value(flag));
                }
                _ => {}
            }
            if word.ends_with("-stdin") {
                // One command feeds one other, so its arguments are searched once.
                if let Some(from) = fed_by.take() {
                    fed(found, &words[from..nth]);
                }
                here = true;
            }
        }
        if ["echo", "printf"].contains(&written) {
            fed_by = Some(nth + 1);
        } else if here && written.starts_with("<<<") {
            here = false;
            let attached = (written.len() > 3).then_some(words[nth].start + 3);
            if let Some(start) = attached.or(next) {
                found.add(found.value(start));
            }
        }
        if let Some((flag, _)) = word.split_once('=').filter(|_| word.starts_with('-')) {
            let equals = written.find('=').unwrap_or(0);
            let value = found.value(words[nth].start + equals + 1);
            match flag {
                "-p" if login => found.add(value),
                _ if fetcher && USERS.contains(&flag) => after_colon(found, value),
                _ => {}
            }
        }
        let key = word.rsplit([':', '/']).next().unwrap_or_default();
        if let (Some(at), true) = (value, NPM.contains(&key))
            && (0..nth).rev().map(bare).find(|word| !word.starts_with('-')) == Some("set")
        {
            found.add(found.value(at));
        }
        // As in .netrc.
        if let (Some(at), true, "password") = (value, login, word) {
            found.add(found.value(at));
        }
        login |= ["login", "sshpass"].contains(&program(nth));
        attached |=
            program(nth).starts_with("mysql") || ["mariadb", "sshpass", "login"].contains(&program(nth));
        fetcher |= FETCHERS.contains(&program(nth));
    }
}

/// True for a cluster of short flags (`-sSu`) whose last is `last`.
fn is_cluster(word: &str, last: char) -> bool {
    let flags = word.trim_start_matches('-');
    word.len() - flags.len() == 1
        && flags.ends_with(last)
        && flags.chars().all(|flag| flag.is_ascii_alphabetic())
}

fn after_colon(found: &mut Found<'_>, login: Range<usize>) {
    if let Some(at) = found.text[login.clone()].find(':') {
        found.add(login.start + at + 1..login.end);
    }
}

/// What `echo` and `printf` feed to a command that reads a secret from its standard input.
fn fed(found: &mut Found<'_>, words: &[Range<usize>]) {
    for word in words {
        let shown = &found.text[word.clone()];
        if shown.starts_with('|') {
            break;
        }
        if !shown.starts_with('-') && !shown.contains('%') {
            found.add(found.value(word.start));
        }
    }
}
