//! The pages that are generated from the code.

mod cli;
mod compose;
mod config;
mod dockerfile;
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
        page("docs/reference/dockerfile.md", dockerfile::text()),
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
        // A `|` would end the cell, also in code.
        let cells: Vec<String> = row.iter().map(|cell| escaped(cell).replace('|', "\\|")).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
}

/// As code.
fn code(text: &str) -> String {
    format!("`{text}`")
}

/// A text whose `<` begin no HTML. In code they begin none, and a backslash there would be shown.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('`') {
        let (before, code) = rest.split_at(start);
        let fence = &code[..code.len() - code.trim_start_matches('`').len()];
        // Without its other end it is no code.
        let end = code[fence.len()..].find(fence).map_or(fence.len(), |end| end + 2 * fence.len());
        escaped += &before.replace('<', "\\<");
        escaped += &code[..end];
        rest = &code[end..];
    }
    escaped + &rest.replace('<', "\\<")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_escaped_outside_of_code_only() {
        for (text, expected) in [
            ("<A>-server", r"\<A>-server"),
            ("`<A>`, <B> and `K_<C>`.", r"`<A>`, \<B> and `K_<C>`."),
            ("``a`<b``<c", r"``a`<b``\<c"),
            ("a ` <b", r"a ` \<b"),
        ] {
            assert_eq!(escaped(text), expected);
        }
        let mut text = String::new();
        table(&mut text, "", ["A"], &[["`<a|b>` <c|d>".to_owned()]]);
        assert!(text.ends_with("| `<a\\|b>` \\<c\\|d> |\n"), "{text}");
    }
}
