//! The meaning of each attribute of a Compose file.

use bakery_core::compose::{Attribute, FILES, Fate, NO_NETWORK, SECTIONS};

use super::{code, head, table};

pub(super) fn text() -> String {
    let files = FILES.map(code).join(", ");
    let about = format!(
        "What `bakery-client --compose FILE` makes of a service. Without `--compose`, and where there is no config.yaml, the first of \
         {files} counts, here or in a folder above. *Taken* counts; *refused* is a mistake, exit code 2, since a build without it would \
         be another build; *ignored* is said, and has no effect. `x-` keys of others are left alone. `${{NAME}}`, `${{NAME:-default}}` \
         and the rest of Compose's interpolation work everywhere; override files, `include` and `!reset` do not. An attribute that \
         is refused may stand there switched off (`false`, `''`, `[]`, `{{}}`)."
    );
    let mut text = head("Compose files", &about);
    for (path, attributes) in SECTIONS {
        let title = if path.is_empty() { "A service".to_owned() } else { code(path) };
        let mut rows: Vec<_> = attributes.iter().map(|it| row(it.name, it.fate)).collect();
        if attributes.iter().any(|it: &Attribute| it.name == "network") {
            rows.push(row(&format!("network: {}", NO_NETWORK.0), NO_NETWORK.1));
        }
        table(&mut text, &title, ["Attribute", "", "What comes of it"], &rows);
    }
    text
}

fn row(name: &str, fate: Fate) -> [String; 3] {
    let (word, what) = match fate {
        Fate::Taken(becomes) => ("taken", becomes.to_owned()),
        Fate::Refused { message, hint } => ("refused", format!("{message}: {hint}")),
        Fate::Ignored { hint } => ("ignored", hint.unwrap_or("-").to_owned()),
    };
    [code(name), word.to_owned(), what]
}
