//! `completions`: a script for a shell.

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use crate::cli::Cli;

/// The script.
pub(crate) fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "bakery-client", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
