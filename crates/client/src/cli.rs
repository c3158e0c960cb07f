//! The command line.

use std::path::PathBuf;

use bakery_core::names::{BadName, BuildId, ServiceName};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::buildx_options::BuildxOptions;
use crate::image_options::ImageOptions;
use crate::schema::SchemaOf;

/// Shown below `--help`.
const AFTER: &str = "\
Variables (also read from .env in the working directory; the environment takes precedence, and an
empty variable counts as unset):
  CONTROLLER_URL  URL of bakery-server [default: http://127.0.0.1:3000]
  BAKERY_TOKEN    the operator token; one of the environment is not sent to a CONTROLLER_URL of .env
  BAKERY_INSECURE true: send tokens and credentials to another machine even over plain HTTP
  LOG_FORMAT      simple, plain or json [default: simple]; NO_COLOR turns the colours of simple off
  S3_BUCKET, S3_ENDPOINT, S3_REGION, S3_SSL, S3_ACCESS_KEY, S3_SECRET_KEY, S3_SESSION_TOKEN
                  send the source through this bucket instead of the server

The log is written to standard output, everything else to standard error.

-config, -compose, -services, -async and -repo are read with one dash too, as in version 1.0.

Exit codes: 0 success, 1 the build failed, 2 mistakes in files, options or settings, 3 the server
cannot be reached or the outcome is unknown, 4 the server or its platform failed, 130 interrupted.
Ctrl-C cancels the build and waits for its end; a second Ctrl-C exits at once.";

/// Builds container images with Kaniko, each architecture natively, on AWS ECS, Kubernetes or Docker.
///
/// Without a command it builds: it packs the source folder, sends it to the server and shows the log until the images are
/// published.
#[derive(Debug, Parser)]
#[command(name = "bakery-client", version = env!("BAKERY_VERSION"), after_help = AFTER, max_term_width = 100)]
#[command(
    override_usage = "bakery-client [OPTIONS]\n       bakery-client [OPTIONS] -t <IMAGE> [PATH]\n       bakery-client <COMMAND>"
)]
pub struct Cli {
    /// What to build.
    #[command(flatten)]
    pub options: BuildOptions,
    /// Trust the client's settings in `.env` as those of the environment.
    #[arg(
        long,
        global = true,
        help_heading = None::<&str>,
        help = "Trust .env in the working directory: a token and S3 credentials of the environment also go to its \
                CONTROLLER_URL and S3_ENDPOINT, over plain HTTP if its BAKERY_INSECURE or S3_SSL says so, and its \
                settings may use variables of the environment"
    )]
    pub trust_dotenv: bool,
    /// What to do; `None` to build.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The options of a build, of `plan` and of `check`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct BuildOptions {
    /// Build config.
    #[arg(
        long,
        value_name = "FILE",
        help = "Build config [default without --compose: config.yaml in the working directory, else the Compose files of \
                COMPOSE_FILE, else a Compose file there or in a parent folder, with its override file]"
    )]
    pub config: Option<PathBuf>,
    /// Compose file; may be given several times: later files are merged over earlier ones. With --config as well, the
    /// config's `global` is the base of every service
    #[arg(long, value_name = "FILE")]
    pub compose: Vec<PathBuf>,
    /// Services to build, separated by commas [default: all]
    #[arg(long, value_name = "NAMES")]
    pub services: Option<String>,
    /// Build services in parallel instead of one after the other
    #[arg(long = "async")]
    pub parallel: bool,
    /// Source folder to pack; all paths in the config are relative to it [default: .]
    #[arg(long, value_name = "FOLDER")]
    pub repo: Option<PathBuf>,
    /// Registry and path below which services without an `image` are pushed.
    #[arg(
        long,
        value_name = "HOST/PATH",
        help = "Registry and path below which services without an `image` are pushed, as <project>-<service> \
                [default: BAKERY_REGISTRY, else `global.registry`]"
    )]
    pub registry: Option<String>,
    /// Tag of the images that name none [default: latest]
    #[arg(long, value_name = "TAG")]
    pub image_tag: Option<String>,
    /// Build without pushing images; Kaniko's cache is still written if it is on
    #[arg(long)]
    pub no_push: bool,
    /// Files with variables for Compose files.
    #[arg(
        long,
        value_name = "FILE",
        help = "File with variables for Compose files and config, in place of the .env in the folder of the first Compose \
                file, or without one in the working directory; may be given several times: later files win [default: \
                those of COMPOSE_ENV_FILES]"
    )]
    pub env_file: Vec<PathBuf>,
    /// Let Compose file and config take this variable into the build although it is a secret of the environment; may be given
    /// several times
    #[arg(long, value_name = "NAME")]
    pub allow_env: Vec<String>,
    /// Findings in Dockerfiles that are let pass.
    #[arg(
        long,
        value_name = "CODES",
        help = "Let findings in Dockerfiles pass, by their codes: BK101,BK102; may be given several times"
    )]
    pub allow: Vec<String>,
    /// Where logins come from besides the config.
    #[arg(
        long,
        value_name = "SOURCE",
        value_parser = ["docker"],
        hide_possible_values = true,
        help = "`docker`: take the logins of `docker login` for the registries that the build pushes to, where the config \
                has none"
    )]
    pub credentials: Option<String>,
    /// Where all tasks run: ecs, k8s or docker (--platform is the architecture) [default: the files', else the server's]
    #[arg(long, value_name = "PLATFORM")]
    pub on: Option<String>,
    /// CPU of each task, in cores: 0.5, 500m, 2
    #[arg(long, value_name = "CPU")]
    pub cpu: Option<String>,
    /// Memory of each task: 2G, 512Mi
    #[arg(long, value_name = "MEMORY")]
    pub memory: Option<String>,
    /// Neither read nor write Kaniko's cache
    #[arg(long)]
    pub no_cache: bool,
    /// Values that are set in files.
    #[arg(
        long,
        value_name = "PATH=VALUE",
        help = "Set a value of the files: SERVICE.KEY=VALUE of a service (* for all that are built), global.KEY=VALUE of the \
                config, bake[0].KEY=VALUE of its first entry. Dots are between nested keys; += adds to a list. May be given \
                several times: later ones win"
    )]
    pub set: Vec<String>,
    /// One image.
    #[command(flatten)]
    pub image: ImageOptions,
    /// Other options of buildx.
    #[command(flatten)]
    pub buildx: BuildxOptions,
}

/// The other commands.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Show what a build would do, without a server: effective tasks and Kaniko's arguments
    Plan {
        /// What to plan.
        #[command(flatten)]
        options: Box<BuildOptions>,
        /// Print one JSON document instead of text
        #[arg(long)]
        json: bool,
    },
    /// Check the Dockerfiles of a build, without a server: mistakes, and what would not be as with Docker. Exits with 2 if
    /// there is an error
    Check {
        /// What to check.
        #[command(flatten)]
        options: Box<BuildOptions>,
        /// Print one JSON document instead of text: `findings`, each with `code`, `level` (`error`, `warning`), `file`,
        /// `line`, `column`, `text` and `hint`
        #[arg(long)]
        json: bool,
    },
    /// Show a build's log from the beginning and follow it while the build runs; exits with the build's exit code
    Logs {
        /// ID of the build, as the client printed it
        id: BuildId,
    },
    /// List builds, newest first
    Ps {
        /// Print one JSON document instead of a table: `builds`, each with `id`, `state`, `created`, `ended`, `reason`,
        /// `text`, `hint`, `targets` and `images`
        #[arg(long)]
        json: bool,
    },
    /// Cancel a build
    Cancel {
        /// ID of the build, as the client printed it
        id: BuildId,
    },
    /// Show what of the source a build sends, without a server
    Context {
        /// What to show.
        #[command(subcommand)]
        command: ContextCommand,
    },
    /// Print a JSON Schema, with which an editor completes and checks a file
    Schema {
        /// The file
        #[arg(value_name = "FILE")]
        of: SchemaOf,
    },
    /// Print a script with which a shell completes commands and options
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// What to show of a source.
#[derive(Debug, Clone, Subcommand)]
pub enum ContextCommand {
    /// List the files that are sent, with their sizes
    Ls {
        /// The build.
        #[command(flatten)]
        options: Box<BuildOptions>,
        /// What to list.
        #[command(flatten)]
        list: ListOptions,
    },
}

/// The options of `context ls`.
#[derive(Debug, Clone, Args)]
pub struct ListOptions {
    /// List only what the build of this service can copy: its own context [default: the whole source]
    #[arg(long, value_name = "SERVICE")]
    pub service: Option<ServiceName>,
    /// List the largest files, this many, largest first
    #[arg(long, value_name = "COUNT", conflicts_with = "dropped")]
    pub largest: Option<usize>,
    /// List what is left out, with the line of the ignore file that excludes it; a folder of which everything is left out
    /// is one line
    #[arg(long)]
    pub dropped: bool,
    /// Print one JSON document instead of text: `files`, each with `path`, `bytes` and a link's `target`; or `dropped`, each
    /// with `path`, `reason` (`ignored`, `git`, `credentials`) and `lines`
    #[arg(long)]
    pub json: bool,
}

impl Command {
    /// The command's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Plan { .. } => "plan",
            Self::Check { .. } => "check",
            Self::Logs { .. } => "logs",
            Self::Ps { .. } => "ps",
            Self::Cancel { .. } => "cancel",
            Self::Context { .. } => "context",
            Self::Schema { .. } => "schema",
            Self::Completions { .. } => "completions",
        }
    }
}

impl BuildOptions {
    /// These options, and those of `lower` where they are not given: options may be before or after the command.
    pub fn or(self, lower: Self) -> Self {
        Self {
            config: self.config.or(lower.config),
            compose: [lower.compose, self.compose].concat(),
            services: self.services.or(lower.services),
            parallel: self.parallel || lower.parallel,
            repo: self.repo.or(lower.repo),
            registry: self.registry.or(lower.registry),
            image_tag: self.image_tag.or(lower.image_tag),
            no_push: self.no_push || lower.no_push,
            env_file: [lower.env_file, self.env_file].concat(),
            allow_env: [lower.allow_env, self.allow_env].concat(),
            allow: [lower.allow, self.allow].concat(),
            credentials: self.credentials.or(lower.credentials),
            on: self.on.or(lower.on),
            cpu: self.cpu.or(lower.cpu),
            memory: self.memory.or(lower.memory),
            no_cache: self.no_cache || lower.no_cache,
            set: [lower.set, self.set].concat(),
            image: self.image.or(lower.image),
            buildx: self.buildx.or(lower.buildx),
        }
    }

    /// The names in `--services`; empty for all.
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
    fn options_may_be_before_or_after_the_command() {
        for args in [["--config", "a.yaml", "plan"], ["plan", "--config", "a.yaml"]] {
            let cli = parse(&args);
            let Some(Command::Plan { options, json: false }) = cli.command else { panic!("{args:?}") };
            assert_eq!(options.or(cli.options).config, Some("a.yaml".into()));
        }
    }

    #[test]
    fn services_are_trimmed_names() {
        let names = |text: &str| {
            let names = parse(&["--services", text]).options.service_names();
            names.map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(names("app, worker ,").unwrap(), ["app", "worker"]);
        assert!(names(" ").unwrap().is_empty());
        assert!(names("a b").is_err());
    }
}
