//! A config.yaml: read, merged and planned without a panic.
#![no_main]

use bakery_core::config::{self, Naming};
use bakery_core::spec::Order;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(file) = config::read("config.yaml", text)
        && let Err(report) = file.resolve(Order::Sequential, &Naming::default())
    {
        assert!(!report.to_string().is_empty());
    }
});
