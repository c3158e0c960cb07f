//! The page of all modules, each with the first paragraph of its documentation.

use std::path::Path;

use super::{code, head, table};
use crate::repository::{path, read};

/// In the order of the arrows: who uses others comes later.
const CRATES: [&str; 8] = ["core", "context", "link", "registry", "client", "agent", "server", "testkit"];

pub(super) fn text() -> String {
    let about = "What each file of the code is for: the first paragraph of its documentation. [ARCHITECTURE.md](../../ARCHITECTURE.md) says how they \
                 fit together.";
    let mut text = head("Modules", about);
    for name in CRATES {
        let root = format!("crates/{name}/src");
        let mut files = Vec::new();
        gather(Path::new(""), &root, &mut files);
        files.sort();
        let rows: Vec<_> = files.iter().map(|(module, about)| [code(module), about.clone()]).collect();
        table(&mut text, name, ["Module", "What it does"], &rows);
    }
    text
}

/// The modules below `folder` of the sources in `root`, without tests.
fn gather(folder: &Path, root: &str, found: &mut Vec<(String, String)>) {
    let Ok(entries) = std::fs::read_dir(path(root).join(folder)) else { return };
    for entry in entries.flatten() {
        let inside = folder.join(entry.file_name());
        let is_test = inside.file_stem().is_some_and(|stem| stem == "tests");
        if is_test {
            continue;
        }
        if entry.path().is_dir() {
            gather(&inside, root, found);
        } else if let Some(module) = inside.to_str().and_then(|it| it.strip_suffix(".rs")) {
            let about = read(&format!("{root}/{module}.rs")).map(|text| first_paragraph(&text));
            found.push((module.strip_suffix("/mod").unwrap_or(module).to_owned(), about.unwrap_or_default()));
        }
    }
}

/// The first paragraph of a module's documentation, without the brackets of its links.
fn first_paragraph(text: &str) -> String {
    let lines = text.lines().map_while(|line| line.strip_prefix("//! "));
    lines.collect::<Vec<_>>().join(" ").replace("[`", "`").replace("`]", "`")
}
