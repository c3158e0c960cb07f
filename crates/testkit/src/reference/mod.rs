//! The pages that are generated from the code.

mod cli;
mod compose;
mod config;
mod dotenv;
mod limits;
mod modules;
mod reasons;
mod variables;

use std::fmt::Write as _;

/// The note at the top of each page.
const MADE: &str = "Generated from the code; `make reference` renews it.";

/// A generated file of the repository.
#[derive(Debug)]
pub struct Page {
    /// The path from the repository's root.
    pub path: &'static str,
    /// The content.
    pub text: String,
}

/// All of them.
pub fn pages() -> Vec<Page> {
    let page = |path, text| Page { path, text };
    vec![
        page(".env.example", dotenv::text()),
        page("docs/reference/variables.md", variables::text()),
        page("docs/reference/config.md", config::text()),
        page("docs/reference/config.schema.json", format!("{:#}\n", bakery_core::config::schema::schema())),
        page("docs/reference/compose.md", compose::text()),
        page("docs/reference/compose.schema.json", format!("{:#}\n", bakery_core::compose::schema::schema())),
        page("docs/reference/cli.md", cli::text()),
        page("docs/reference/reasons.md", reasons::text()),
        page("docs/reference/limits.md", limits::text()),
        page("docs/reference/modules.md", modules::text()),
    ]
}

/// The head of a page.
fn head(title: &str, about: &str) -> String {
    format!("# {title}\n\n{about}\n\n{MADE}\n")
}

/// A section with a table.
fn table<const N: usize>(text: &mut String, title: &str, columns: [&str; N], rows: &[[String; N]]) {
    if !title.is_empty() {
        let _ = write!(text, "\n## {title}\n");
    }
    let _ = write!(text, "\n| {} |\n|{}\n", columns.join(" | "), "---|".repeat(N));
    for row in rows {
        // A `|` would end the cell.
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
}

/// As code.
fn code(text: &str) -> String {
    format!("`{text}`")
}
