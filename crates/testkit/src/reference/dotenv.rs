//! `.env.example`.

use std::fmt::Write as _;

use bakery_server::settings::vars::GROUPS;

pub(super) fn text() -> String {
    let mut text = String::from(
        "# Copy to `.env` and edit. Server and client both read `.env` in their working directory; the process environment wins,\n\
         # and an empty value counts as unset. Durations are 90s, 10m, 1h30m; lists are comma-separated.\n",
    );
    for (group, vars) in GROUPS {
        let _ = write!(text, "\n# --- {group} ---\n");
        for var in *vars {
            let required = if var.required.is_empty() {
                String::new()
            } else {
                format!(" Needed when: {}.", var.required)
            };
            let _ =
                write!(text, "\n# {}{required}\n# Default: {}.\n{}=\n", var.meaning, var.default, var.name);
        }
    }
    text
}
