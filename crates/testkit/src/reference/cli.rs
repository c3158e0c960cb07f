//! `--help` of the programs, as they print it.

use std::fmt::Write as _;

use bakery_client::buildx_options::{BuildxOption, OPTIONS};
use bakery_core::compose::{Fate, NO_NETWORK};
use bakery_core::wire::run::launch_env;
use clap::CommandFactory as _;

use super::{code, head, table};

/// The width without a terminal.
const WIDTH: usize = 100;

pub(super) fn text() -> String {
    let mut text =
        head("Command lines", "What `--help` prints. Options of a build may be before or after the command.");
    let client = bakery_client::cli::Cli::command();
    command(&mut text, &client, &client, &[client.get_name()]);
    text.push_str(OTHER_OPTIONS);
    table(
        &mut text,
        "",
        ["Option", "Values that change nothing here", "Others"],
        &OPTIONS.map(buildx_option),
    );
    let server = bakery_server::cli::Cli::command();
    command(&mut text, &server, &server, &[server.get_name()]);
    let vars: Vec<String> = launch_env::VARS.iter().map(|var| code(var.name)).collect();
    let _ = write!(
        text,
        "\n## bakery-agent\n\nTakes no options: the server starts it with {}. It is the entry point of the agent image. \
         Exit code 0: its report was delivered, whatever the result; 1: it was not.\n",
        vars.join(", ")
    );
    text
}

const OTHER_OPTIONS: &str = "
## Other options of docker buildx build

A build and `plan` also accept these, so that a command line can be kept: one that would change the result is refused.
";

fn buildx_option(option: BuildxOption) -> [String; 3] {
    let fate = |fate| match fate {
        Fate::Taken(becomes) => becomes.to_owned(),
        Fate::Refused { message, hint } => format!("refused: {message} ({hint})"),
        Fate::Ignored { hint: Some(hint) } => format!("no effect, with a notice ({hint})"),
        Fate::Ignored { hint: None } => "no effect, with a notice".to_owned(),
    };
    let others = match NO_NETWORK {
        (value, no_network) if option.name == "network" => {
            format!("{}; `{value}` is {}", fate(option.fate), fate(no_network))
        }
        _ => fate(option.fate),
    };
    let usual: Vec<_> = option.usual.iter().copied().map(code).collect();
    [code(&format!("--{}", option.name)), usual.join(", "), others]
}

/// The help of a command and of those below it.
fn command(text: &mut String, program: &clap::Command, command: &clap::Command, words: &[&str]) {
    help(text, program, words);
    for below in command.get_subcommands() {
        self::command(text, program, below, &[words, &[below.get_name()]].concat());
    }
}

fn help(text: &mut String, program: &clap::Command, words: &[&str]) {
    let asked = program.clone().term_width(WIDTH).try_get_matches_from([words, &["--help"]].concat());
    let printed = asked.err().map(|help| help.to_string()).unwrap_or_default();
    let lines: Vec<&str> = printed.trim().lines().map(str::trim_end).collect();
    let _ = write!(text, "\n## {}\n\n```text\n{}\n```\n", words.join(" "), lines.join("\n"));
}
