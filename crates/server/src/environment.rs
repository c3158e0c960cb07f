//! The process environment over the `.env` file of the working directory.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use bakery_core::compose::dotenv;
use bakery_core::report::{Findings, Place, Report};
use bakery_core::vars::Layered;

/// What [`read`] gives.
pub type Environment = Layered<BTreeMap<String, String>, BTreeMap<String, String>>;

/// Reads both. Variables that are not UTF-8 are none of ours and are left out.
pub fn read() -> Result<Environment, Report> {
    let process: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let lower = match std::fs::read_to_string(Path::new(".env")) {
        Ok(text) => dotenv(".env", &text, &process)?,
        Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => {
            let mut findings = Findings::default();
            findings.mistake(
                Place::file(".env"),
                format!("cannot be read: {error}"),
                "make it readable, or remove it",
            );
            return Err(findings.into_report());
        }
    };
    Ok(Layered { upper: process, lower })
}

/// True where the process runs as root: then the data folder is the system's.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
