//! A `.env` file: bounded, its names are legal, and what is withheld never shows in a message.
#![no_main]

use std::collections::BTreeMap;

use bakery_core::compose::{Withheld, dotenv};
use bakery_core::limits;
use libfuzzer_sys::fuzz_target;

const SECRET: &str = "hunter2-of-the-environment";

fuzz_target!(|text: &str| {
    let vars: BTreeMap<String, String> =
        [("A", "1"), ("GITHUB_TOKEN", SECRET)].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    match dotenv(".env", text, &vars) {
        Ok(values) => {
            let size: usize = values.values().map(String::len).sum();
            assert!(size <= limits::INTERPOLATED_BYTES + 2 * text.len() + vars.len() * SECRET.len());
            assert!(values.keys().all(|name| !name.is_empty() && !name.contains(['=', '\n'])));
        }
        Err(report) => assert!(!report.to_string().contains(SECRET), "{report}"),
    }
    Withheld::of(&vars, &[], text);
});
