//! The variables of the process: those of its environment over the `.env` file of the working directory.

use std::collections::BTreeMap;
use std::path::Path;

use bakery_context::read_user_text;
use bakery_core::compose::gather_dotenv;
use bakery_core::limits::SPEC_BYTES;
use bakery_core::message::Message;
use bakery_core::report::{Findings, Location, Report};
use bakery_core::vars::{Layered, from_os};

use crate::settings::vars;

/// The variables of the process.
pub type Environment = Layered<BTreeMap<String, String>, BTreeMap<String, String>>;

/// Reads the variables of the process and of `.env`, and the mistakes in them; the rest is used all the same. A variable of
/// the server that is not UTF-8 is a mistake, others of this kind are left out.
pub fn read() -> (Environment, Option<Report>) {
    let mut findings = Findings::default();
    let (process, unreadable) = from_os(std::env::vars_os());
    for name in unreadable.iter().filter(|name| vars::is_declared(name)) {
        let message = Message::new("not UTF-8").with_hint("set it to a text in UTF-8, or leave it unset");
        findings.mistake(Location::setting(name), message);
    }
    let lower = match read_user_text(Path::new(".env"), SPEC_BYTES as u64) {
        Ok(text) => gather_dotenv(".env", &text, &process, &mut findings),
        Err(error) if error.is_not_found() => BTreeMap::new(),
        Err(error) => {
            findings.mistake(Location::file(".env"), Message::of(&error));
            BTreeMap::new()
        }
    };
    let report = findings.finish(()).err();
    (Layered { upper: process, lower }, report)
}
