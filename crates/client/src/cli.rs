//! The command line.

use std::path::PathBuf;

use bakery_core::names::{BadName, BuildId, ServiceName};
use clap::{Args, Parser, Subcommand};

/// Shown below `--help`.
const AFTER: &str = "\
Variables (also read from .env in the working directory; the environment wins, empty = unset):
  CONTROLLER_URL  where bakery-server listens [default: http://127.0.0.1:3000]
  BAKERY_TOKEN    the operator token
  BAKERY_INSECURE true: tokens and credentials may go over plain HTTP to another machine
  LOG_FORMAT      simple, plain or json [default: simple]; NO_COLOR takes colour from simple
  S3_BUCKET, S3_ENDPOINT, S3_REGION, S3_SSL, S3_ACCESS_KEY, S3_SECRET_KEY, S3_SESSION_TOKEN
                  send the source through this bucket instead of the server

The log goes to standard output, everything else to standard error.

Exit codes: 0 baked, 1 the build failed, 2 mistakes in files, options or settings, 3 server out of
reach or outcome unknown, 4 the server or its platform failed, 130 interrupted.
Ctrl-C cancels the build and waits for its end; a second Ctrl-C leaves at once.";

/// Builds container images with Kaniko, each architecture natively, on AWS ECS, Kubernetes or Docker.
///
/// Without a command it builds: packs the source folder, sends it, and shows the log until the images are published.
#[derive(Debug, Parser)]
#[command(name = "bakery-client", version = env!("BAKERY_VERSION"), after_help = AFTER, max_term_width = 100)]
#[command(override_usage = "bakery-client [OPTIONS]\n       bakery-client <COMMAND>")]
pub struct Cli {
    /// What to build.
    #[command(flatten)]
    pub source: Source,
    /// What to do; nothing = build.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The options of a build and of its plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Source {
    /// Build config; where neither file is named, config.yaml is looked for here, then a Compose file here and above
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Compose file; together with --config, the config's `global` is the base of every service
    #[arg(long, value_name = "FILE")]
    pub compose: Option<PathBuf>,
    /// Services to build, separated by commas [default: all]
    #[arg(long, value_name = "NAMES")]
    pub services: Option<String>,
    /// Build services side by side instead of one after the other
    #[arg(long = "async")]
    pub parallel: bool,
    /// Folder that is packed; all paths in the config are relative to it [default: .]
    #[arg(long, value_name = "FOLDER")]
    pub repo: Option<PathBuf>,
}

/// What else a client can do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Show what a build would do, without a server: effective tasks and Kaniko's arguments
    Plan {
        /// What to plan.
        #[command(flatten)]
        source: Source,
        /// One JSON document instead of text
        #[arg(long)]
        json: bool,
    },
    /// Show a build's log from its start, and follow it while it runs; ends with the build's exit code
    Logs {
        /// The build, as the client printed it
        id: BuildId,
    },
    /// List builds, newest first
    Ps {
        /// One JSON document instead of a table: `builds`, each with `id`, `state`, `created`, `ended`, `reason`,
        /// `text`, `targets` and `images`
        #[arg(long)]
        json: bool,
    },
    /// Ask that a build be cancelled
    Cancel {
        /// The build, as the client printed it
        id: BuildId,
    },
}

impl Command {
    /// The word for it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Plan { .. } => "plan",
            Self::Logs { .. } => "logs",
            Self::Ps { .. } => "ps",
            Self::Cancel { .. } => "cancel",
        }
    }
}

impl Source {
    /// These options where given, else those of `lower`: options may stand before or after the command.
    pub fn over(self, lower: Self) -> Self {
        Self {
            config: self.config.or(lower.config),
            compose: self.compose.or(lower.compose),
            services: self.services.or(lower.services),
            parallel: self.parallel || lower.parallel,
            repo: self.repo.or(lower.repo),
        }
    }

    /// The names in `--services`; empty = all.
    pub fn service_names(&self) -> Result<Vec<ServiceName>, BadName> {
        let names = self.services.as_deref().unwrap_or_default().split(',').map(str::trim);
        names.filter(|name| !name.is_empty()).map(str::parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Cli {
        Cli::try_parse_from([&["bakery-client"], args].concat()).unwrap()
    }

    #[test]
    fn options_may_stand_before_or_after_the_command() {
        for args in [["--config", "a.yaml", "plan"], ["plan", "--config", "a.yaml"]] {
            let cli = parse(&args);
            let Some(Command::Plan { source, json: false }) = cli.command else { panic!("{args:?}") };
            assert_eq!(source.over(cli.source).config, Some("a.yaml".into()));
        }
    }

    #[test]
    fn services_are_trimmed_names() {
        let names = |text: &str| {
            let names = parse(&["--services", text]).source.service_names();
            names.map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(names("app, worker ,").unwrap(), ["app", "worker"]);
        assert!(names(" ").unwrap().is_empty());
        assert!(names("a b").is_err());
    }
}
