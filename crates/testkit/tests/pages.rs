//! Checks of the pages that run nothing: blocks, links and the index of decisions.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::pages::{anchors, blocks, links, pages};
use bakery_testkit::repository::{files, path, read};

#[test]
fn every_block_is_one_that_the_rung_docs_checks() -> Result<()> {
    let mut wrong = Vec::new();
    for page in pages()? {
        wrong.extend(blocks(&page, &read(&page)?).err().map(|error| error.to_string()));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn every_link_has_a_target() -> Result<()> {
    let mut dead = Vec::new();
    for page in pages()? {
        let text = read(&page)?;
        let folder = Path::new(&page).parent().context("a page lies in a folder")?;
        for (target, anchor) in links(&text) {
            let there = if target.is_empty() { page.clone().into() } else { folder.join(&target) };
            let name = there.to_str().context("a name")?;
            let found = path(name).exists();
            let anchored = |anchor: &str| read(name).is_ok_and(|text| anchors(&text).contains(anchor));
            if !found || anchor.as_deref().is_some_and(|anchor| !anchored(anchor)) {
                dead.push(format!(
                    "{page}: {target}{}",
                    anchor.map(|it| format!("#{it}")).unwrap_or_default()
                ));
            }
        }
    }
    ensure!(dead.is_empty(), "these links have no target:\n{}", dead.join("\n"));
    Ok(())
}

#[test]
fn the_index_of_decisions_lists_every_decision() -> Result<()> {
    let index = "README.md";
    let listed: BTreeSet<String> =
        links(&read(&format!("docs/decisions/{index}"))?).into_iter().map(|(target, _)| target).collect();
    let mut decisions = BTreeSet::new();
    for file in std::fs::read_dir(path("docs/decisions"))? {
        decisions.insert(file?.file_name().to_string_lossy().into_owned());
    }
    decisions.remove(index);
    let missing: Vec<_> = decisions.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&decisions).collect();
    ensure!(missing.is_empty(), "the index does not list {missing:?}");
    ensure!(gone.is_empty(), "the index lists {gone:?}, which do not exist");
    Ok(())
}

#[test]
fn every_promise_of_the_security_page_names_a_test() -> Result<()> {
    let page = read("docs/security.md")?;
    let rust = files("crates")?.into_iter().filter(|file| file.extension().is_some_and(|it| it == "rs"));
    let sources: Vec<String> = rust.map(std::fs::read_to_string).collect::<Result<_, _>>()?;
    let mut wrong = Vec::new();
    let tables: Vec<_> = page.split("| Promise | Test |").skip(1).collect();
    ensure!(!tables.is_empty(), "the page has no table of promises");
    for row in tables.iter().flat_map(|table| table.lines().skip(2).take_while(|line| line.starts_with('|')))
    {
        let tests: Vec<_> = row
            .trim_end_matches([' ', '|'])
            .rsplit('|')
            .next()
            .unwrap_or_default()
            .split('`')
            .skip(1)
            .step_by(2)
            .collect();
        if tests.is_empty() {
            wrong.push(format!("no test: {row}"));
        }
        let exists = |test: &str| sources.iter().any(|source| source.contains(&format!("fn {test}(")));
        wrong.extend(
            tests
                .into_iter()
                .filter(|test| !exists(test))
                .map(|test| format!("{test} does not exist: {row}")),
        );
    }
    ensure!(wrong.is_empty(), "docs/security.md:\n{}", wrong.join("\n"));
    Ok(())
}
