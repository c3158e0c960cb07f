//! One name, one type: whoever reads a type's name in a crate knows which type it is.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use syn::visit::{self, Visit};

use crate::files::{all, crates};

/// A type name that may stand more than once in a crate.
struct Repeated {
    krate: &'static str,
    name: &'static str,
    reason: &'static str,
}

const REPEATED: &[Repeated] = &[];

/// The types that a file defines: structs, enums, unions, traits and aliases, those inside functions and test modules
/// included. Associated types are not among them: their names are given by a trait.
#[derive(Default)]
struct Types(Vec<String>);

impl<'ast> Visit<'ast> for Types {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let name = match item {
            syn::Item::Struct(item) => Some(&item.ident),
            syn::Item::Enum(item) => Some(&item.ident),
            syn::Item::Union(item) => Some(&item.ident),
            syn::Item::Trait(item) => Some(&item.ident),
            syn::Item::Type(item) => Some(&item.ident),
            _ => None,
        };
        self.0.extend(name.map(ToString::to_string));
        visit::visit_item(self, item);
    }
}

#[test]
fn no_type_name_is_used_twice_in_a_crate() -> Result<()> {
    let mut wrong = Vec::new();
    let mut used = Vec::new();
    for krate in crates()? {
        let mut paths: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for source in all(&krate)? {
            let mut types = Types::default();
            types.visit_file(&source.syntax);
            for name in types.0 {
                paths.entry(name).or_default().push(source.path.clone());
            }
        }
        for (name, paths) in paths.into_iter().filter(|(_, paths)| paths.len() > 1) {
            match REPEATED.iter().position(|it| it.krate == krate && it.name == name) {
                Some(index) => used.push(index),
                None => wrong.push(format!("{krate}: `{name}` is defined in {}", paths.join(", "))),
            }
        }
    }
    let unused = REPEATED.iter().enumerate().filter(|(index, _)| !used.contains(index));
    wrong.extend(unused.map(|(_, it)| {
        let Repeated { krate, name, reason } = it;
        format!(
            "{krate}: `{name}` is on the list ({reason}) but does not stand twice: remove it from the list"
        )
    }));
    ensure!(wrong.is_empty(), "a type's name must be unique in its crate:\n{}", wrong.join("\n"));
    Ok(())
}
