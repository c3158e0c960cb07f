//! Interpolation of one value: bounded, and no text without `$` changes.
#![no_main]

use std::collections::BTreeMap;

use bakery_core::interpolate::interpolate;
use bakery_core::limits;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let vars: BTreeMap<String, String> =
        [("A", "1"), ("EMPTY", ""), ("LONG", &*"x".repeat(1 << 16)), ("DOLLAR", "$A${A}")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    match interpolate(text, &vars) {
        Ok(filled) => {
            assert!(filled.text.len() <= limits::INTERPOLATED_BYTES + text.len());
            assert!(text.contains('$') || filled.text == text);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
