//! The source files of the workspace.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use bakery_testkit::repository;

/// A parsed source file.
pub(crate) struct Source {
    /// The path from the root of the repository.
    pub(crate) path: String,
    pub(crate) syntax: syn::File,
}

impl Source {
    fn read(path: &Path) -> Result<Self> {
        let root = repository::path("");
        let shown = path.strip_prefix(&root).unwrap_or(path).display().to_string();
        let text = fs::read_to_string(path).with_context(|| shown.clone())?;
        let syntax = syn::parse_file(&text).with_context(|| shown.clone())?;
        Ok(Self { path: shown, syntax })
    }
}

/// The folders of the crates, by name.
pub(crate) fn crates() -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(repository::path("crates"))? {
        let folder = entry?.path();
        if folder.join("Cargo.toml").is_file() {
            let name = folder.file_name().context("a folder has a name")?.to_string_lossy().into_owned();
            found.push((name, folder));
        }
    }
    found.sort();
    Ok(found)
}

/// Every source file below a folder, tests and benchmarks included, in the order of their paths.
pub(crate) fn below(folder: &Path) -> Result<Vec<Source>> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files.iter().map(|path| Source::read(path)).collect()
}

/// The files that are compiled into a crate's library and program: the tree of modules below `src/lib.rs` and
/// `src/main.rs`, without modules that exist in tests only.
pub(crate) fn compiled(folder: &Path) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    for root in ["src/lib.rs", "src/main.rs"].map(|root| folder.join(root)) {
        if root.is_file() {
            add(&root, &folder.join("src"), &mut found)?;
        }
    }
    Ok(found)
}

/// Adds a file and the files of its modules, which lie in `children`.
fn add(file: &Path, children: &Path, found: &mut Vec<Source>) -> Result<()> {
    let source = Source::read(file)?;
    let modules = declared(&source.syntax.items);
    found.push(source);
    for module in modules {
        let (flat, nested) = (children.join(format!("{module}.rs")), children.join(&module).join("mod.rs"));
        let file = if flat.is_file() { flat } else { nested };
        add(&file, &children.join(&module), found)?;
    }
    Ok(())
}

/// The modules that these items declare in files of their own.
fn declared(items: &[syn::Item]) -> Vec<String> {
    let modules = items.iter().filter_map(|item| match item {
        syn::Item::Mod(module) if module.content.is_none() && !tests_only(&module.attrs) => Some(module),
        _ => None,
    });
    modules.map(|module| module.ident.to_string()).collect()
}

/// Whether an item exists in tests only: it has `#[cfg(test)]`, or is a test.
pub(crate) fn tests_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        meta => meta.path().is_ident("test"),
    })
}
