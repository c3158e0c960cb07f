//! Which findings are let pass: `# bakery: allow=BK101,BK102` in the Dockerfile, and the same list of an option.

use std::collections::BTreeSet;

use super::excerpt::excerpt;
use super::finding::DockerfileFinding;
use super::table::{codes, general};
use crate::dockerfile::{Dockerfile, Span};
use crate::mask::Mask;
use crate::message::Message;
use crate::report::{did_you_mean, nearest, shown};

/// The only key of such a comment.
const KEY: &str = "allow";

/// The codes of a list, separated by commas.
pub fn code_list(text: &str) -> Result<BTreeSet<&'static str>, Message> {
    let mut allowed = BTreeSet::new();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let Some(code) = codes().find(|code| code.eq_ignore_ascii_case(word)) else {
            let known: Vec<&str> = codes().collect();
            let hint = nearest(word, &known).map_or_else(
                || "docs/reference/dockerfile.md lists all codes".to_owned(),
                |code| format!("did you mean `{code}`?"),
            );
            let text = format!("`{}` is not the code of a finding", shown(word));
            return Err(Message::new(text).with_hint(hint));
        };
        allowed.insert(code);
    }
    Ok(allowed)
}

/// The codes that the comments of a file name. What is wrong with them is found.
pub(super) fn of_comments(
    file: &Dockerfile,
    mask: &Mask,
    found: &mut Vec<DockerfileFinding>,
) -> BTreeSet<&'static str> {
    let mut allowed = BTreeSet::new();
    for comment in &file.comments {
        match of_comment(&file.text.text(*comment)) {
            None => {}
            Some(Ok(codes)) => allowed.extend(codes),
            Some(Err(message)) => found.push(mistake(file, *comment, message, mask)),
        }
    }
    allowed
}

fn of_comment(comment: &str) -> Option<Result<BTreeSet<&'static str>, Message>> {
    let rest = comment.trim_start_matches('#').trim_start().strip_prefix("bakery:")?;
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    if key.trim() != KEY {
        let text = format!("`{}` is not a key of a `# bakery:` comment", shown(key.trim()));
        return Some(Err(Message::new(text).with_hint(did_you_mean(key.trim(), &[KEY]))));
    }
    if value.trim().is_empty() {
        let hint = "write `# bakery: allow=CODE`, with commas between several";
        return Some(Err(Message::new("no code follows `allow`").with_hint(hint)));
    }
    Some(code_list(value))
}

fn mistake(file: &Dockerfile, span: Span, message: Message, mask: &Mask) -> DockerfileFinding {
    let place = file.text.position(span.start);
    let Message { text, hint } = message;
    DockerfileFinding {
        code: general::MISTAKE.code.unwrap_or_default(),
        level: general::MISTAKE.severity(),
        file: file.text.name().to_owned(),
        line: place.line,
        column: place.column,
        text,
        hint,
        excerpt: excerpt(file, span, &[], mask),
    }
}
