//! The client: packs a folder, submits a build, shows its log and exits with its result.
//!
//! `load` reads config and Compose files, `submit` packs and sends the source, `follow` reads the log and reconnects when
//! the connection is interrupted, `render` formats it, and `exit` maps the outcome to an exit code. Standard output is
//! data (the log, a plan, a table); messages are written to standard error.

pub mod build;
pub mod buildx_options;
mod check;
mod checkout;
pub mod cli;
pub mod clock;
mod completions;
mod compose_input;
mod config_input;
pub mod context_ls;
mod context_size;
mod credential_helper;
mod docker_logins;
pub mod dotenv_file;
pub mod exit;
mod find;
pub mod follow;
mod git_wanted;
pub mod image_options;
mod input_text;
pub mod labels;
pub mod list;
pub mod load;
mod naming;
pub mod one_dash;
mod one_image;
mod option_rules;
pub mod plan_view;
mod preflight;
mod project_variables;
mod referenced;
pub mod render;
pub mod schema;
pub mod secret_files;
mod secret_sources;
mod server_keys;
mod set_options;
pub mod settings;
mod shared_folder;
pub mod signals;
pub mod stderr;
pub mod stdout;
pub mod submit;
mod untrusted_dotenv;
pub mod variables;

use std::collections::BTreeMap;

use bakery_core::names::BuildId;
use bakery_core::wire::build::{BuildView, Verdict};
use bakery_link::ServerApi;

use crate::cli::{BuildOptions, Cli, Command, ContextCommand};
use crate::exit::{Exit, Failure};
use crate::settings::Settings;

/// Runs a command in the working directory with this environment.
pub async fn run(cli: Cli, environment: BTreeMap<String, String>) -> Result<Exit, Failure> {
    let Cli { options: outer, trust_dotenv, command } = cli;
    let settings = || Settings::read(&environment, trust_dotenv);
    match command {
        None => build::build(&outer, settings(), &environment).await,
        Some(Command::Plan { options, json }) => {
            let loaded = load::load(&options.or(outer), &environment)?;
            stdout::print(&plan_view::render(&loaded, json))
        }
        Some(Command::Check { options, json }) => check::run(&options.or(outer), json, &environment),
        Some(Command::Context { command: ContextCommand::Ls { options, list } }) => {
            context_ls::run(&options.or(outer), &list, &environment)
        }
        Some(command) if outer != BuildOptions::default() => Err(Failure::input(
            format!("`{}` does not accept the options of a build", command.name()),
            "only a build, `plan`, `check` and `context ls` have them: `bakery-client --help` lists them",
        )),
        Some(Command::Completions { shell }) => stdout::print(&completions::script(shell)),
        Some(Command::Schema { of }) => stdout::print(&schema::text(of)),
        Some(Command::Logs { id }) => build::logs(id, settings()?).await,
        Some(Command::Ps { json }) => {
            let builds = settings()?.server.list().await?.builds;
            stdout::print(&if json { list::document(&builds) } else { list::table(&builds, clock::now()) })
        }
        Some(Command::Cancel { id }) => {
            cancel(&settings()?.server, id).await?;
            Ok(Exit::Success)
        }
    }
}

/// Cancels a build, or prints how it ended.
async fn cancel(server: &ServerApi, id: BuildId) -> Result<(), Failure> {
    let before = server.view(id).await?;
    let other_outcome =
        |view: &BuildView| view.outcome.as_ref().is_some_and(|outcome| outcome.verdict != Verdict::Cancelled);
    let ended = match before.outcome {
        Some(_) => Some(before),
        // It may have ended in the meantime.
        None => Some(server.cancel(id).await?).filter(other_outcome),
    };
    stderr::print(&match ended {
        Some(view) => format!("build {id} has already ended: {}", list::state(&view)),
        None => {
            format!("build {id} is being cancelled; `bakery-client logs {id}` shows its log until the end")
        }
    });
    Ok(())
}
