//! A hint is a field of its own until a person reads it: no text is built with a hint in it, or searched for one.

use anyhow::{Result, ensure};
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::visit_mut::VisitMut as _;

use crate::files::{Product, compiled, crates};

/// What a text with a hint in it holds.
const MARK: &str = "hint: ";

/// The files that show texts and hints to people.
const RENDERERS: &[&str] = &["crates/core/src/message.rs"];

/// The string literals among these tokens that hold a hint.
fn with_hint(tokens: TokenStream, found: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => with_hint(group.stream(), found),
            TokenTree::Literal(literal) => {
                let value = syn::parse_str::<syn::LitStr>(&literal.to_string()).map(|it| it.value());
                found.extend(value.ok().filter(|value| value.contains(MARK)));
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

#[test]
fn no_text_holds_a_hint_outside_the_renderers() -> Result<()> {
    let mut wrong = Vec::new();
    for krate in crates()? {
        for mut source in compiled(&krate)? {
            if RENDERERS.contains(&source.path.as_str()) {
                continue;
            }
            Product.visit_file_mut(&mut source.syntax);
            let mut found = Vec::new();
            with_hint(source.syntax.into_token_stream(), &mut found);
            wrong.extend(found.iter().map(|text| format!("{}: {text:?}", source.path)));
        }
    }
    ensure!(
        wrong.is_empty(),
        "a hint is data (`bakery_core::message`); only a renderer writes it into a text:\n{}",
        wrong.join("\n")
    );
    Ok(())
}
