//! Folders with an ignore file.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use bakery_testkit::repository;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

/// How many folders are made up.
pub(crate) const GENERATED: u32 = 2000;

/// A folder with an ignore file.
#[derive(Debug, Clone)]
pub(crate) struct IgnoreCase {
    /// Its files; folders end with a slash.
    pub(crate) paths: Vec<String>,
    pub(crate) ignore: String,
    /// Those of the files that BuildKit leaves out, as the table of the crate has them.
    pub(crate) expected: Option<Vec<String>>,
}

impl IgnoreCase {
    /// Writes the files. A path that another one needs as a folder is left out.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        for path in &self.paths {
            let full = folder.join(path);
            let parent = if path.ends_with('/') { Some(full.as_path()) } else { full.parent() };
            let parent = parent.context("a path without a folder")?;
            if fs::create_dir_all(parent).is_ok() && !full.exists() {
                fs::write(full, "")?;
            }
        }
        Ok(())
    }
}

/// The table of the crate: each ignore file with what is left out of the same folder.
pub(crate) fn written() -> Result<Vec<IgnoreCase>> {
    let folder = "crates/context/src/ignore";
    let paths = repository::read(&format!("{folder}/buildkit-paths.txt"))?;
    let paths: Vec<_> = paths.lines().collect();
    let is_file = |path: &&&str| !paths.iter().any(|other| other.starts_with(&format!("{path}/")));
    let files: Vec<_> = paths.iter().filter(is_file).map(|path| (*path).to_owned()).collect();
    let table = repository::read(&format!("{folder}/buildkit.tsv"))?;
    let mut cases = Vec::new();
    for row in table.lines() {
        let (ignore, excluded) = row.split_once('\t').context("a row without a tab")?;
        let ignore =
            ignore.replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t").replace("\\u", "\u{feff}");
        let excluded = excluded.split('\t').filter(|path| !path.is_empty()).map(str::to_owned).collect();
        cases.push(IgnoreCase { paths: files.clone(), ignore, expected: Some(excluded) });
    }
    Ok(cases)
}

/// Every pair of an excluding line and an exception, in both orders and with a third line.
pub(crate) fn paired() -> Vec<IgnoreCase> {
    const EXCLUDED: [&str; 14] = [
        "*", "**", "a", "a/b", "a/**", "a/*", "**/b", "**/b/**", "*/b", "**/*.md", "a*", "**b", "[ab]",
        "**/.env",
    ];
    const INCLUDED: [&str; 15] = [
        "!a",
        "!a/b",
        "!a/",
        "!a/**",
        "!a/*",
        "!a/*/**",
        "!**/b",
        "!**/*.md",
        "!*/b",
        "!a/b/c.md",
        "!**",
        "!*.md",
        "!a/?",
        "!a**",
        "!**b",
    ];
    let files = [
        "a/.env",
        "a/b/.env",
        "a/b/c.md",
        "a/b/d/e.md",
        "a/c/b",
        "a/c/x",
        "a/x.md",
        "ab/b",
        "ab/x.md",
        "b/a/b",
        "b/x.md",
        "c.md",
        "d/",
        "a/empty/",
        "a/b/empty/",
        ".env",
    ];
    let paths: Vec<_> = files.iter().map(|path| (*path).to_owned()).collect();
    let case = |lines: &[&str]| IgnoreCase { paths: paths.clone(), ignore: lines.join("\n"), expected: None };
    let mut cases = Vec::new();
    for excluded in EXCLUDED {
        for included in INCLUDED {
            cases.extend([
                case(&[excluded, included]),
                case(&[included, excluded]),
                case(&[excluded, included, "a/b"]),
                case(&["**/c.md", included, excluded, "!a/b/d"]),
            ]);
        }
    }
    cases
}

/// Made-up folders and ignore files, the same in every run: few names, so that the rules match often.
pub(crate) fn generated() -> Result<Vec<IgnoreCase>> {
    let name = || prop_oneof![6 => "[abc]", 1 => Just("é".to_owned()), 1 => Just("a.b".to_owned()), 1 => Just(".a".to_owned())];
    let path = (prop::collection::vec(name(), 1..5), any::<bool>())
        .prop_map(|(parts, folder)| format!("{}{}", parts.join("/"), if folder { "/" } else { "" }));
    let part = prop_oneof![
        6 => name(),
        2 => Just("*".to_owned()),
        3 => Just("**".to_owned()),
        1 => "[abc*?]{1,3}",
        1 => Just("[a-b]".to_owned()),
        1 => Just("[^a]".to_owned()),
        1 => Just("\\*".to_owned()),
        1 => "\\*\\*[abc]",
        1 => "[abc]\\*\\*",
        1 => Just("..".to_owned()),
    ];
    let line = (
        prop_oneof![3 => Just(""), 2 => Just("!"), 1 => Just("! "), 1 => Just(" "), 1 => Just("/"), 1 => Just("!/")],
        prop::collection::vec(part, 1..4),
        prop_oneof![6 => Just(""), 1 => Just("/"), 1 => Just(" "), 1 => Just("\r")],
    )
        .prop_map(|(start, parts, end)| format!("{start}{}{end}", parts.join("/")));
    let case = (prop::collection::vec(path, 1..14), prop::collection::vec(line, 1..7))
        .prop_map(|(paths, lines)| IgnoreCase { paths, ignore: lines.join("\n"), expected: None });
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let mut one = || case.new_tree(&mut runner).map(|tree| tree.current());
    (0..GENERATED).map(|_| one().map_err(|reason| anyhow::anyhow!("{reason}"))).collect()
}
