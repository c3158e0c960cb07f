//! The generated pages agree with the code.

use std::fs;

use anyhow::{Result, ensure};
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
