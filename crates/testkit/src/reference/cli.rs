//! `--help` of the programs, as they print it.

use std::fmt::Write as _;

use bakery_core::wire::run::launch_env;
use clap::CommandFactory as _;

use super::{code, head};

/// The width without a terminal.
const WIDTH: usize = 100;

pub(super) fn text() -> String {
    let mut text =
        head("Command lines", "What `--help` prints. Options of a build may be before or after the command.");
    program(&mut text, &bakery_client::cli::Cli::command());
    program(&mut text, &bakery_server::cli::Cli::command());
    let vars: Vec<String> = launch_env::VARS.iter().map(|var| code(var.name)).collect();
    let _ = write!(
        text,
        "\n## bakery-agent\n\nTakes no options: the server starts it with {}. It is the entry point of the agent image. \
         Exit code 0: its report was delivered, whatever the result; 1: it was not.\n",
        vars.join(", ")
    );
    text
}

fn program(text: &mut String, program: &clap::Command) {
    help(text, program, &[program.get_name()]);
    for command in program.get_subcommands() {
        help(text, program, &[program.get_name(), command.get_name()]);
    }
}

fn help(text: &mut String, program: &clap::Command, words: &[&str]) {
    let asked = program.clone().term_width(WIDTH).try_get_matches_from([words, &["--help"]].concat());
    let printed = asked.err().map(|help| help.to_string()).unwrap_or_default();
    let lines: Vec<&str> = printed.trim().lines().map(str::trim_end).collect();
    let _ = write!(text, "\n## {}\n\n```text\n{}\n```\n", words.join(" "), lines.join("\n"));
}
