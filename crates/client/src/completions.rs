//! `completions`: a script for a shell.

use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate};

use crate::cli::Cli;

/// The script.
pub(crate) fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    generate(shell, &mut visible(&Cli::command()), "bakery-client", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// A command without its hidden options: the scripts of some shells would offer them.
fn visible(command: &Command) -> Command {
    let all = Command::new(command.get_name().to_owned())
        .args(command.get_arguments().filter(|arg| !arg.is_hide_set()).cloned());
    let all = command.get_about().map_or(all.clone(), |about| all.about(about.clone()));
    let all = command.get_version().map_or(all.clone(), |version| all.version(version.to_owned()));
    all.subcommands(command.get_subcommands().map(visible))
}
