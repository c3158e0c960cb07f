//! The modules of a crate, and which of them each one names.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::visit_mut::VisitMut as _;

use crate::files::{Product, compiled};

/// The path of a module from the root of its crate; empty for the root.
pub(crate) type ModulePath = Vec<String>;

/// The modules of a library that have a file of their own, without what exists in tests only.
pub(crate) struct Modules {
    /// The file of each module.
    pub(crate) files: BTreeMap<ModulePath, String>,
    /// The crates of ours that each module names.
    pub(crate) crates: BTreeMap<ModulePath, BTreeSet<String>>,
    /// The names that each module imports, and what they mean.
    imports: BTreeMap<ModulePath, BTreeMap<String, ModulePath>>,
    paths: BTreeMap<ModulePath, BTreeSet<Vec<String>>>,
}

impl Modules {
    /// Reads the library of a crate.
    pub(crate) fn read(krate: &str) -> Result<Self> {
        let mut modules = Self {
            files: BTreeMap::new(),
            crates: BTreeMap::new(),
            imports: BTreeMap::new(),
            paths: BTreeMap::new(),
        };
        for mut source in compiled(krate)?.into_iter().filter(|it| !it.path.ends_with("/src/main.rs")) {
            let module = module_of(&source.path).with_context(|| source.path.clone())?;
            Product.visit_file_mut(&mut source.syntax);
            let mut found = Found::default();
            found.tokens(&module, source.syntax.to_token_stream());
            modules.files.insert(module.clone(), source.path);
            modules.crates.insert(module.clone(), found.crates);
            modules.paths.insert(module.clone(), found.paths);
            modules.imports.insert(module, found.imports);
        }
        Ok(modules)
    }

    /// The modules whose items each module names, itself left out. A name that a module imports is an item of the
    /// module that it comes from.
    pub(crate) fn named_by(&self, module: &ModulePath) -> BTreeSet<ModulePath> {
        let named = self.paths[module].iter().map(|path| self.home_of(path, 0));
        named.filter(|named| named != module).collect()
    }

    /// The module in which the item of this path is defined.
    fn home_of(&self, path: &[String], depth: usize) -> ModulePath {
        let mut module = ModulePath::new();
        for (at, name) in path.iter().enumerate() {
            let child = [&module[..], std::slice::from_ref(name)].concat();
            if self.files.contains_key(&child) {
                module = child;
                continue;
            }
            return match self.imports[&module].get(name) {
                // Imports that name each other would go on for ever.
                Some(target) if depth < 8 => {
                    self.home_of(&[&target[..], &path[at + 1..]].concat(), depth + 1)
                }
                _ => module,
            };
        }
        module
    }
}

/// `crates/server/src/builds/mod.rs` is `builds`.
fn module_of(path: &str) -> Option<ModulePath> {
    let (_, inside) = path.split_once("/src/")?;
    let inside = inside.strip_suffix(".rs")?;
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    Some(if inside == "lib" { Vec::new() } else { inside.split('/').map(str::to_owned).collect() })
}

#[derive(Default)]
struct Found {
    crates: BTreeSet<String>,
    paths: BTreeSet<Vec<String>>,
    imports: BTreeMap<String, ModulePath>,
}

impl Found {
    /// Walks through the tokens of a module, those of macros included.
    fn tokens(&mut self, module: &[String], tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            let rest = &tokens[at..];
            at += match rest {
                [TokenTree::Ident(keyword), TokenTree::Ident(name), TokenTree::Group(body), ..]
                    if keyword == "mod" && body.delimiter() == Delimiter::Brace =>
                {
                    self.tokens(&[module, &[name.to_string()]].concat(), body.stream());
                    3
                }
                [TokenTree::Ident(keyword), next, ..] if keyword == "use" && !is('<')(next) => {
                    let end = rest.iter().position(is(';')).unwrap_or(rest.len());
                    self.tree(module, &[], &rest[1..end], true);
                    end
                }
                [TokenTree::Ident(_), ..] => {
                    let end = path_length(rest);
                    self.tree(module, &[], &rest[..end], false);
                    end
                }
                [TokenTree::Group(group), ..] => {
                    self.tokens(module, group.stream());
                    1
                }
                _ => 1,
            };
        }
    }

    /// One path, or the tree of paths of an import, behind `prefix`.
    fn tree(&mut self, module: &[String], prefix: &[String], tokens: &[TokenTree], import: bool) {
        let mut path = prefix.to_vec();
        let mut alias = None;
        let mut tokens = tokens.iter();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Ident(word) if word == "as" => alias = tokens.next().map(ToString::to_string),
                TokenTree::Ident(name) => path.push(name.to_string()),
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    return inner.split(is(',')).for_each(|one| self.tree(module, &path, one, import));
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
        self.path(module, &path, alias.as_ref(), import);
    }

    fn path(&mut self, module: &[String], path: &[String], alias: Option<&String>, import: bool) {
        let ups = path.iter().take_while(|name| *name == "super").count();
        let absolute = match path.first().map(String::as_str) {
            Some("crate") => path[1..].to_vec(),
            Some("self") if path.len() > 1 => [module, &path[1..]].concat(),
            Some("super") => [&module[..module.len() - ups], &path[ups..]].concat(),
            Some(name) if name.starts_with("bakery_") => {
                self.crates.insert(name.to_owned());
                return;
            }
            // An import from a module below; nothing to see in any other path without a root.
            Some(_) if import => [module, path].concat(),
            _ => return,
        };
        let absolute: Vec<String> = match absolute.split_last() {
            Some((last, above)) if last == "self" => above.to_vec(),
            _ => absolute,
        };
        if import && let Some(name) = alias.or(absolute.last()) {
            self.imports.insert(name.clone(), absolute.clone());
        }
        self.paths.insert(absolute);
    }
}

fn is(punct: char) -> impl Fn(&TokenTree) -> bool {
    move |token| matches!(token, TokenTree::Punct(it) if it.as_char() == punct)
}

/// The number of tokens of the path that begins here: names with `::` between them.
fn path_length(tokens: &[TokenTree]) -> usize {
    let more = |rest: &[TokenTree]| match rest {
        [first, second, TokenTree::Ident(_), ..] => is(':')(first) && is(':')(second),
        _ => false,
    };
    let mut end = 1;
    while more(&tokens[end..]) {
        end += 3;
    }
    end
}
