//! The name of a Compose project: `COMPOSE_PROJECT_NAME`, else `name:`, else that of its folder.

use crate::compose::scalar::Scalars;
use crate::decode::Field;
use crate::message::Message;
use crate::report::{Findings, Location};
use crate::vars::Vars;
use crate::yaml::Node;

/// The variable that names the project. Every Compose file can use it.
pub(super) const VARIABLE: &str = "COMPOSE_PROJECT_NAME";

/// The name of the project, of the last of its files that has one; `None` after a mistake. It is empty for a folder without a
/// letter or a digit in its name.
///
/// It becomes a part of image names and a variable of every build: `scalars` refuse what a build does not get.
pub(super) fn name(
    files: &[Node],
    folder: &str,
    scalars: &Scalars<'_>,
    findings: &mut Findings,
) -> Option<String> {
    let hint = "lower-case letters, digits, `-` and `_`, with a letter or a digit first";
    let known = findings.mistakes.len();
    if let Some(name) = scalars.setting(VARIABLE, findings) {
        if is_name(&name) {
            return Some(name);
        }
        let message = Message::new("not a name of a project").with_hint(hint);
        findings.mistake(Location::setting(VARIABLE), message);
        return None;
    }
    if findings.mistakes.len() > known {
        return None;
    }
    let mut names = files.iter().rev().filter_map(|file| Field::root(file).get("name"));
    let Some(field) = names.find(|field| !field.node.is_null()) else {
        return Some(of_folder(folder));
    };
    match scalars.text(&field, findings) {
        None => None,
        Some(name) if name.is_empty() => Some(of_folder(folder)),
        Some(name) if is_name(&name) => Some(name),
        Some(name) => {
            let name = normalized(&name);
            if name.is_empty() {
                findings.mistake(field.location, Message::new("not a name of a project").with_hint(hint));
                return None;
            }
            let message = Message::new("what is not allowed in a project's name is left out, as in Compose");
            findings.notice(field.location, message.with_hint(hint));
            Some(name)
        }
    }
}

fn is_name(text: &str) -> bool {
    text.chars().all(is_allowed) && !text.is_empty() && !text.starts_with(NOT_FIRST)
}

fn of_folder(folder: &str) -> String {
    normalized(folder.rsplit('/').next().unwrap_or_default())
}

/// A name as Compose makes it of a text: what is not allowed is left out.
fn normalized(text: &str) -> String {
    let name: String = text.to_lowercase().chars().filter(|c| is_allowed(*c)).collect();
    name.trim_start_matches(NOT_FIRST).to_owned()
}

/// Allowed characters with which a name does not begin.
const NOT_FIRST: [char; 2] = ['-', '_'];

fn is_allowed(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || NOT_FIRST.contains(&c)
}

/// An environment in which the project's name is a variable.
pub(super) struct WithProject<'a> {
    pub(super) vars: &'a dyn Vars,
    /// `None` after a mistake in it.
    pub(super) project: Option<&'a str>,
}

impl Vars for WithProject<'_> {
    fn get(&self, name: &str) -> Option<String> {
        if name == VARIABLE { Some(self.project.unwrap_or_default().to_owned()) } else { self.vars.get(name) }
    }

    fn defaulted(&self, name: &str, text: &str) {
        self.vars.defaulted(name, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_becomes_a_name() {
        for (folder, name) in [
            ("/src/Bread Shop", "breadshop"),
            ("/a/_x-1", "x-1"),
            ("/a/my.app", "myapp"),
            ("/", ""),
            ("/a/ö", ""),
        ] {
            assert_eq!(of_folder(folder), name);
        }
        assert!(is_name("a-1_b") && !is_name("A") && !is_name("-a") && !is_name(""));
    }
}
