//! The pages of the documentation and their blocks.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::repository;

/// The languages that a block may be written in.
const LANGUAGES: [&str; 4] = ["sh", "yaml", "nginx", "text"];

/// A fenced block of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The page's path from the root of the repository.
    pub page: String,
    /// The line of its fence, starting with 1.
    pub line: usize,
    /// The word after the fence.
    pub language: String,
    /// The content, without the indentation of its fence.
    pub text: String,
    /// Whether only blank lines and tags (which fold a block) are between it and the block before.
    pub follows: bool,
}

impl Block {
    /// Its first line, which identifies it.
    pub fn name(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }
}

/// Every page: those in the root, all of docs, and the READMEs of the examples.
pub fn pages() -> Result<BTreeSet<String>> {
    let mut pages: BTreeSet<String> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(str::to_owned).into();
    let mut folders = vec!["docs".to_owned(), "examples".to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(repository::path(&folder)).with_context(|| folder.clone())? {
            let entry = entry?;
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                folders.push(name);
                continue;
            }
            let page = entry.path().extension().is_some_and(|it| it == "md") && name.starts_with("docs/");
            if page || name.ends_with("/README.md") {
                pages.insert(name);
            }
        }
    }
    Ok(pages)
}

/// The blocks of a page. Indented code and unknown languages are errors: no test would
/// check them.
pub fn blocks(page: &str, text: &str) -> Result<Vec<Block>> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open: Option<(usize, Block)> = None;
    let mut follows = false;
    for (line, number) in text.lines().zip(1..) {
        let indent = line.len() - line.trim_start().len();
        match &mut open {
            Some(_) if line.trim() == "```" => {
                blocks.extend(open.take().map(|(_, block)| block));
                follows = true;
            }
            Some((margin, block)) => {
                block.text.push_str(&line[indent.min(*margin)..]);
                block.text.push('\n');
            }
            None => match line.trim_start().strip_prefix("```") {
                Some(language) => {
                    ensure!(LANGUAGES.contains(&language), "{page}:{number}: a block in `{language}`");
                    let (page, language) = (page.to_owned(), language.to_owned());
                    let block = Block { page, line: number, language, text: String::new(), follows };
                    open = Some((indent, block));
                }
                None if line.trim().is_empty() || line.starts_with('<') => {}
                None => {
                    ensure!(indent < 4, "{page}:{number}: indented code: put it into a fence");
                    follows = false;
                }
            },
        }
    }
    ensure!(open.is_none(), "{page}: the last block is not closed");
    Ok(blocks)
}

/// The targets of the page's links: files and folders relative to the page's folder, each with the heading's anchor.
pub fn links(text: &str) -> Vec<(String, Option<String>)> {
    let mut links = Vec::new();
    let mut code = false;
    for line in text.lines() {
        code ^= line.trim_start().starts_with("```");
        for (at, _) in line.match_indices("](").filter(|_| !code) {
            let Some((target, _)) = line[at + 2..].split_once(')') else { continue };
            if !target.contains("://") {
                let (path, anchor) =
                    target.split_once('#').map_or((target, None), |(path, it)| (path, Some(it)));
                links.push((path.to_owned(), anchor.map(str::to_owned)));
            }
        }
    }
    links
}

/// The anchors of a page's headings, as GitHub and GitLab make them.
pub fn anchors(text: &str) -> BTreeSet<String> {
    let mut code = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        code ^= line.trim_start().starts_with("```");
        if let (false, Some(title)) = (code, line.strip_prefix('#')) {
            let kept = title.trim_start_matches('#').trim().to_lowercase();
            let kept = kept.chars().filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
            anchors.insert(kept.map(|it| if it == ' ' { '-' } else { it }).collect());
        }
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_with_their_margin_taken_off() {
        let text =
            "a\n\n```sh\nb\n  c\n```\n\n<details>\n```text\nd\n```\n\n1. e\n\n   ```yaml\n   f: 1\n   ```\n";
        let blocks = blocks("P.md", text).unwrap();
        let seen: Vec<_> =
            blocks.iter().map(|it| (it.line, it.language.as_str(), it.text.as_str(), it.follows)).collect();
        assert_eq!(
            seen,
            [(3, "sh", "b\n  c\n", false), (9, "text", "d\n", true), (15, "yaml", "f: 1\n", false)]
        );
    }

    #[test]
    fn blocks_that_no_test_would_check_are_an_error() {
        assert!(blocks("P.md", "a\n\n    make\n").is_err());
        assert!(blocks("P.md", "```\nmake\n```\n").is_err());
        assert!(blocks("P.md", "```sh\nmake\n").is_err());
    }

    #[test]
    fn links_and_anchors_meet() {
        let text = "# A `b` page\n[x](#a-b-page) [y](c.md) [z](https://d.test/)\n```text\n[no](e)\n```\n";
        let links = links(text);
        assert_eq!(links, [(String::new(), Some("a-b-page".to_owned())), ("c.md".to_owned(), None)]);
        assert!(anchors(text).contains("a-b-page"));
    }
}
