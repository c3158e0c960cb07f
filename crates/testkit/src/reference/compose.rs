//! The meaning of each attribute of a Compose file.

use std::fmt::Write as _;

use bakery_core::compose::{Attribute, FILES, Fate, NO_NETWORK, SECTIONS, WITHHELD};

use super::{code, head, table};

pub(super) fn text() -> String {
    let files = FILES.map(code).join(", ");
    let about = format!(
        "What `bakery-client --compose FILE` makes of a service. Without `--compose`, and where there is no config.yaml, the first of \
         {files} is used, in the working directory or in a folder above (up to one that everybody can write to). *Taken* has an effect; *refused* is a mistake, exit code 2, \
         because the attribute changes the result and is not supported; *ignored* has no effect and is reported as a notice. \
         `x-` keys of other tools are skipped. `${{NAME}}`, `${{NAME:-default}}` and the rest of Compose's interpolation work \
         everywhere; override files, `include` and `!reset` do not. A refused attribute is accepted if it is switched off \
         (`false`, `''`, `[]`, `{{}}`)."
    );
    let mut text = head("Compose files", &about);
    for (path, attributes) in SECTIONS {
        let title = if path.is_empty() { "A service".to_owned() } else { code(path) };
        let mut rows: Vec<_> = attributes.iter().map(|it| row(it.name, it.fate)).collect();
        if attributes.iter().any(|it: &Attribute| it.name == "network") {
            rows.push(row(&format!("network: {}", NO_NETWORK.0), NO_NETWORK.1));
        }
        table(&mut text, &title, ["Attribute", "", "Effect"], &rows);
    }
    let names = WITHHELD.map(code).join(", ");
    let _ = write!(
        text,
        "\n## Secrets of the environment\n\nA value of the process environment under one of these names is a mistake in `image` and `build`, because every `RUN` step could \
         read it; `--allow-env NAME` allows one. Values that the project's `.env` has itself are not refused.\n\n{names}\n"
    );
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
