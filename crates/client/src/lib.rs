//! From a folder to an exit code.
//!
//! `load` reads what people wrote, `submit` packs and sends it, `follow` reads the log however often the connection
//! breaks, `render` gives it a form, and `exit` says in one number how it ended. Standard output is data (the log, a
//! plan, a table); everything said to people goes to standard error.

pub mod build;
pub mod cli;
pub mod clock;
pub mod exit;
pub mod exposed;
pub mod follow;
pub mod labels;
pub mod list;
pub mod load;
pub mod out;
pub mod render;
pub mod settings;
pub mod show;
pub mod signals;
pub mod submit;
pub mod talk;

use std::collections::BTreeMap;

use bakery_core::names::BuildId;
use bakery_core::wire::build::{BuildView, Verdict};
use bakery_link::ServerApi;

use crate::cli::{Cli, Command, Source};
use crate::exit::{Exit, Failure};
use crate::settings::Settings;

/// Does what the command line says, in the working directory, with this environment.
pub async fn run(cli: Cli, environment: BTreeMap<String, String>) -> Result<Exit, Failure> {
    let Cli { source: outer, command } = cli;
    match command {
        None => build::build(&outer, &environment).await,
        Some(Command::Plan { source, json }) => {
            let loaded = load::load(&source.over(outer), &environment)?;
            out::print(&show::show(&loaded, json))
        }
        Some(command) if outer != Source::default() => Err(Failure::input(
            format!("`{}` takes none of the options of a build", command.name()),
            "--config, --compose, --services, --async and --repo are for building and for `plan`",
        )),
        Some(Command::Logs { id }) => build::logs(id, &environment).await,
        Some(Command::Ps { json }) => {
            let builds = Settings::read(&environment)?.server.list().await?.builds;
            out::print(&if json { list::document(&builds) } else { list::table(&builds, clock::now()) })
        }
        Some(Command::Cancel { id }) => {
            cancel(&Settings::read(&environment)?.server, id).await?;
            Ok(Exit::Good)
        }
    }
}

/// Ends a build, or says how it has ended already.
async fn cancel(server: &ServerApi, id: BuildId) -> Result<(), Failure> {
    let before = server.view(id).await?;
    let of_its_own =
        |view: &BuildView| view.outcome.as_ref().is_some_and(|outcome| outcome.verdict != Verdict::Cancelled);
    let ended = match before.outcome {
        Some(_) => Some(before),
        // It may have ended in between.
        None => Some(server.cancel(id).await?).filter(of_its_own),
    };
    talk::say(&match ended {
        Some(view) => format!("build {id} has ended already: {}", list::state(&view)),
        None => format!("build {id} is being cancelled; `bakery-client logs {id}` shows its end"),
    });
    Ok(())
}
