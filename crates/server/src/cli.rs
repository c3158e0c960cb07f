//! The command line.

use clap::{Parser, Subcommand};

const EXITS: &str = "Exit codes:
  0  stopped as asked; or everything that a start needs is there; or the server is ready (--live: answers)
  2  mistakes in the settings or the call
  4  what the settings name is not there, or the server failed, or is not ready (--live: does not answer)";

/// Takes builds, runs them where there are ovens, relays their logs and publishes what they baked.
///
/// Settings come from environment variables and from `.env` in the working directory; see `.env.example`.
#[derive(Debug, Parser)]
#[command(name = "bakery-server", version = env!("BAKERY_VERSION"), after_help = EXITS)]
pub struct Cli {
    /// What to do; nothing = serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What else a server can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Print the effective settings, and try what they name.
    Check,
    /// Ask the server that runs on this machine whether it is ready; of all settings only its address is read.
    Health {
        /// Ask whether it answers at all (/livez), whatever its platforms do: for checks that restart what fails them.
        #[arg(long)]
        live: bool,
    },
}
