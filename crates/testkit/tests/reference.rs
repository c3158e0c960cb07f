//! The generated pages agree with the code.

use std::fs;

use anyhow::{Result, ensure};
use bakery_core::config::keys::{CACHE, CREDENTIAL, KANIKO, TASK, TOP};
use bakery_testkit::reference::pages;
use bakery_testkit::repository::{path, read};

/// If this variable is set, the pages are written instead of compared.
const RENEW: &str = "BAKERY_RENEW";

#[test]
fn every_generated_page_is_up_to_date() -> Result<()> {
    let renew = std::env::var_os(RENEW).is_some();
    let mut stale = Vec::new();
    for page in pages() {
        if read(page.path).is_ok_and(|text| text == page.text) {
            continue;
        }
        if renew {
            fs::write(path(page.path), &page.text)?;
        }
        stale.push(page.path);
    }
    ensure!(renew || stale.is_empty(), "stale, to be renewed by `make reference`: {}", stale.join(", "));
    Ok(())
}

#[test]
fn the_example_shows_every_key() -> Result<()> {
    let example = read("client-config.yaml.example")?;
    let shown = |name: &str| {
        example.lines().any(|line| {
            let line = line.trim_start_matches([' ', '#', '-']);
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':'))
        })
    };
    let all = TOP.iter().chain(&TASK).chain(&CREDENTIAL).chain(&KANIKO).chain(&CACHE);
    let missing: Vec<_> = all.map(|key| key.name).filter(|name| !shown(name)).collect();
    ensure!(missing.is_empty(), "client-config.yaml.example lacks {missing:?}");
    Ok(())
}
