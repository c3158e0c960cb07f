//! The parts of a Dockerfile that are secrets by their names.

use crate::dockerfile::{Dockerfile, Instruction, Kind, Span};
use crate::mask::name_suggests_secret;

/// What a name ends with that says where a secret is.
const PLACES: [&str; 3] = ["_FILE", "_PATH", "_DIR"];

/// Whether a variable with this name has a secret, and not the place of one.
pub(super) fn is_secret(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    name_suggests_secret(name) && !PLACES.iter().any(|place| upper.ends_with(place))
}

/// Where the values of such variables are, in their order.
pub(super) fn values(file: &Dockerfile) -> Vec<Span> {
    let mut found = Vec::new();
    for instruction in &file.instructions {
        add(file, instruction, &mut found);
    }
    found
}

fn add(file: &Dockerfile, instruction: &Instruction, found: &mut Vec<Span>) {
    match &instruction.kind {
        Kind::Env(pairs) => {
            found.extend(
                pairs.iter().filter(|it| name_suggests_secret(&it.name.text)).map(|it| it.value.span),
            );
        }
        Kind::Arg(arguments) => {
            let secret = arguments.iter().filter(|it| name_suggests_secret(&it.name.text));
            found.extend(secret.filter_map(|it| it.value.as_ref()).map(|it| it.span));
        }
        Kind::Onbuild(trigger) => add(file, trigger, found),
        // What is a name and what a value cannot be told apart.
        Kind::Broken => found.extend(after_a_name(file, instruction.span)),
        _ => {}
    }
}

/// All that follows the first word with the name of a secret.
fn after_a_name(file: &Dockerfile, span: Span) -> Option<Span> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let bytes = file.text.bytes(span);
    let mut at = 0;
    for word in bytes.split(|byte| !is_part(byte)) {
        let end = at + word.len();
        if std::str::from_utf8(word).is_ok_and(name_suggests_secret) {
            return (end < bytes.len()).then_some(Span { start: span.start + end + 1, end: span.end });
        }
        at = end + 1;
    }
    None
}
