//! The command line.

use clap::{Parser, Subcommand};

const EXITS: &str = "Exit codes:
  0  stopped by a signal; check: everything that a start needs is available; health: the server is ready (--live: answers)
  2  mistakes in the settings or on the command line
  4  something that the settings name is not available, or the server failed; health: not ready (--live: no answer)";

/// Accepts builds, runs their tasks on Docker, ECS or Kubernetes, relays their logs and publishes their images.
///
/// Settings are read from environment variables and from `.env` in the working directory; see `.env.example`.
#[derive(Debug, Parser)]
#[command(name = "bakery-server", version = env!("BAKERY_VERSION"), after_help = EXITS)]
pub struct Cli {
    /// The command; none = serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Commands that do not start a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Print the effective settings, and check what they name.
    Check,
    /// Ask the server on this machine whether it is ready. Only `BAKERY_LISTEN` is read.
    Health {
        /// Ask whether it answers at all (/livez), even if a platform is unavailable: for checks that restart the server.
        #[arg(long)]
        live: bool,
    },
}
