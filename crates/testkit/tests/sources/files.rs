//! The source files of the workspace.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use bakery_testkit::repository;
use proc_macro2::TokenStream;
use syn::visit_mut::{self, VisitMut};

/// A parsed source file.
pub(crate) struct Source {
    /// The path from the root of the repository.
    pub(crate) path: String,
    pub(crate) syntax: syn::File,
}

impl Source {
    fn read(file: &Path) -> Result<Self> {
        let path = repository::shown(file);
        let text = fs::read_to_string(file).with_context(|| path.clone())?;
        let syntax = syn::parse_file(&text).with_context(|| path.clone())?;
        Ok(Self { path, syntax })
    }
}

/// The names of the crates' folders.
pub(crate) fn crates() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(repository::path("crates"))? {
        let folder = entry?.path();
        if folder.join("Cargo.toml").is_file() {
            let name = folder.file_name().context("a folder has a name")?.to_string_lossy().into_owned();
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}

/// Every source file of a crate, tests and benchmarks included, in the order of their paths.
pub(crate) fn all(krate: &str) -> Result<Vec<Source>> {
    let files = repository::files(&format!("crates/{krate}"))?;
    files
        .iter()
        .filter(|path| path.extension().is_some_and(|it| it == "rs"))
        .map(|path| Source::read(path))
        .collect()
}

/// The files that are compiled into a crate's library and program: the tree of modules below `src/lib.rs` and
/// `src/main.rs`, without modules that exist in tests only.
pub(crate) fn compiled(krate: &str) -> Result<Vec<Source>> {
    let (folder, mut found) = (repository::path(&format!("crates/{krate}/src")), Vec::new());
    for root in ["lib.rs", "main.rs"].map(|root| folder.join(root)) {
        if root.is_file() {
            add(&root, &folder, &mut found)?;
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

/// The modules that these items declare in files of their own, without those with a `#[path]`: their files belong to other
/// crates.
fn declared(items: &[syn::Item]) -> Vec<String> {
    let modules = items.iter().filter_map(|item| match item {
        syn::Item::Mod(module) if module.content.is_none() && !tests_only(&module.attrs) => {
            let elsewhere = module.attrs.iter().any(|attribute| attribute.path().is_ident("path"));
            (!elsewhere).then_some(module)
        }
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

/// Takes away what is not compiled into the program: tests and comments.
pub(crate) struct Product;

impl VisitMut for Product {
    fn visit_attributes_mut(&mut self, attributes: &mut Vec<syn::Attribute>) {
        attributes.retain(|attribute| !attribute.path().is_ident("doc"));
    }

    fn visit_item_mut(&mut self, item: &mut syn::Item) {
        let test = match item {
            syn::Item::Mod(item) => tests_only(&item.attrs),
            syn::Item::Fn(item) => tests_only(&item.attrs),
            syn::Item::Impl(item) => tests_only(&item.attrs),
            syn::Item::Use(item) => tests_only(&item.attrs),
            _ => false,
        };
        if test {
            *item = syn::Item::Verbatim(TokenStream::new());
        } else {
            visit_mut::visit_item_mut(self, item);
        }
    }
}
