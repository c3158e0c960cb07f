//! The pages that are made of the code say what the code says.

use std::fs;

use anyhow::{Result, ensure};
use bakery_testkit::reference::pages;
use bakery_testkit::repository::{path, read};

/// With this variable the pages are written instead.
const RENEW: &str = "BAKERY_RENEW";

#[test]
fn every_page_is_what_the_code_says() -> Result<()> {
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
