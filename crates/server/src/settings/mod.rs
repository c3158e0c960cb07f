//! The operator's settings as plain data: every variable and every file that a variable names is read once and checked,
//! and all mistakes are reported at once.
//!
//! Each platform has a file here and is read by the same [`reader`]; wiring makes from it what the platform takes.

mod docker;
mod ecs;
mod k8s;
mod pods;
mod reader;
pub mod vars;
mod yaml_types;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bakery_context::s3::S3Settings;
use bakery_core::kaniko::RefusedFlags;
use bakery_core::message::Message;
use bakery_core::report::{Finding, Mistake};
use bakery_core::rules::TaskBounds;
use bakery_core::secret::Secret;
use bakery_core::vars::Vars;
use thiserror::Error;

pub use self::docker::DockerSettings;
pub use self::ecs::{EcsCapacity, EcsPullSecret, EcsSettings};
pub use self::k8s::K8sSettings;
pub use self::pods::PodSettings;
use self::reader::VarReader;

/// The default port of the public listener.
pub const PORT: u16 = 3000;

/// All settings of the server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address of the public listener.
    pub listen: SocketAddr,
    /// The data folder: ledger, logs, contexts, keys.
    pub data_dir: PathBuf,
    /// The operator's token; `None` = requests need none.
    pub token: Option<Secret>,
    /// The operator accepts that the public listener receives credentials over plain HTTP.
    pub insecure: bool,
    /// Seals secrets in the ledger; `None` = the key file in the data folder.
    pub data_key: Option<Secret>,
    /// The bucket for contexts, beside the server's own store.
    pub s3: Option<S3Settings>,
    /// Resources and time of tasks.
    pub limits: Limits,
    /// `CONTROLLER_URL`: the URL at which agents on ECS and Kubernetes reach the server.
    pub controller_url: Option<String>,
    /// The agent image: `AGENT_IMAGE`, else `<IMAGE_NAME>-agent:<own version>`.
    pub agent_image: String,
    /// `AGENT_CAPABILITIES`: what tasks may have beyond the required capabilities, on every platform.
    pub capabilities: Vec<&'static str>,
    /// The Docker platform, unless another one is on and `DOCKER_HOST` is not set.
    pub docker: Option<DockerSettings>,
    /// AWS ECS, where `ECS_CLUSTER` switches it on.
    pub ecs: Option<EcsSettings>,
    /// Kubernetes, where `K8S_NAMESPACE` switches it on.
    pub k8s: Option<K8sSettings>,
    /// Registries.
    pub registries: RegistryRules,
    /// `REFUSED_KANIKO_FLAGS`: flags that no build may set.
    pub refused_flags: RefusedFlags,
    /// The server's own log.
    pub log: LogSettings,
    /// Proxy variables for agents, as they were set.
    pub proxies: Vec<(String, String)>,
}

/// Resources and time of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Run slots of each platform; `None` = the platform's own default.
    pub max_runs: Option<usize>,
    /// From launch to the agent's first request.
    pub provision: Duration,
    /// From launch to the end of one attempt, for tasks that request no time.
    pub task: Duration,
    /// `MAX_TASK_TIMEOUT` (by default `BUILD_TASK_TIMEOUT`) and `MAX_TASK_DISK`: the most that a task may request.
    pub bounds: TaskBounds,
    /// How long the server waits for a finished task's report while its container still exists.
    pub result: Duration,
    /// Thousandths of a cpu for tasks that request none.
    pub cpu_millis: u32,
    /// MiB of memory for tasks that request none.
    pub memory_mib: u32,
}

/// The server's own log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Which events are logged, in the syntax of `RUST_LOG`.
    pub filter: String,
    /// The form of its lines.
    pub format: LogFormat,
}

/// The form of the lines of the server's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object a line, for log systems.
    Json,
}

/// How the server deals with registries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryRules {
    /// `INSECURE_REGISTRIES`: `host[:port]` that are reached over plain HTTP.
    pub insecure: Vec<String>,
    /// `REGISTRY_TRUSTED_HOSTS`: `host[:port]` to which registries may lead the server.
    pub trusted: Vec<String>,
    /// `PUBLISH_ALLOW`: prefixes that the server's own docker config may push to.
    pub publish_allow: Vec<String>,
    /// The server listens on loopback only: then registries on loopback are the user's own.
    pub loopback: bool,
}

/// Every mistake in the settings. Displays each with its hint.
#[derive(Debug, Error)]
pub struct BadSettings(pub Vec<Mistake>);

impl BadSettings {
    /// `Ok` if there is no mistake.
    pub fn unless_none(mistakes: Vec<Mistake>) -> Result<(), Self> {
        if mistakes.is_empty() { Ok(()) } else { Err(Self(mistakes)) }
    }
}

impl std::fmt::Display for BadSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.0.len();
        writeln!(f, "{count} mistake{} in the settings", if count == 1 { "" } else { "s" })?;
        for (nth, mistake) in self.0.iter().enumerate() {
            let end = if nth + 1 == count { "" } else { "\n" };
            write!(f, "{}{end}", mistake.rendered())?;
        }
        Ok(())
    }
}

impl Settings {
    /// Reads all settings; the error contains every mistake. `root`: the process runs as root, so that the default data
    /// folder is the system's.
    pub fn read(vars: &dyn Vars, root: bool) -> Result<Self, BadSettings> {
        let (settings, mistakes) = Self::gather(vars, root);
        BadSettings::unless_none(mistakes).map(|()| settings)
    }

    /// Reads the address of the public listener, and nothing else.
    pub fn listen(vars: &dyn Vars) -> Result<SocketAddr, BadSettings> {
        let mut reader = VarReader::new(vars);
        let listen = reader.listen();
        BadSettings::unless_none(reader.mistakes()).map(|()| listen)
    }

    /// Reads all settings and collects every mistake in them; a variable with a mistake counts as unset.
    pub fn gather(vars: &dyn Vars, root: bool) -> (Self, Vec<Mistake>) {
        let mut reader = VarReader::new(vars);
        let listen = reader.listen();
        let token = reader.token();
        let open = reader.flag("BAKERY_OPEN");
        if !listen.ip().is_loopback() && !reader.names_token() && !open {
            reader.mistake(
                "BAKERY_TOKEN",
                &format!("required because BAKERY_LISTEN={listen} accepts requests from other machines"),
                "set a token, or set BAKERY_OPEN=true to accept requests without one",
            );
        }
        let s3 = S3Settings::from_vars(vars).unwrap_or_else(|mistakes| {
            for mistake in mistakes {
                let hint = mistake.hint.or_else(|| Some("see the S3_ variables in .env.example".to_owned()));
                reader.add(Finding { hint, ..mistake });
            }
            None
        });
        let controller_url = reader.url("CONTROLLER_URL");
        let ecs = reader.ecs(s3.as_ref().is_some_and(|s3| s3.keys.is_none()));
        let k8s = reader.k8s();
        let others = ecs.is_some() || k8s.is_some();
        if others {
            reader.remote();
        }
        let settings = Self {
            listen,
            data_dir: reader.data_dir(root),
            token,
            insecure: reader.flag("BAKERY_INSECURE"),
            data_key: reader.text("BAKERY_DATA_KEY").map(Secret::new),
            s3,
            limits: reader.limits(),
            controller_url,
            ecs,
            k8s,
            agent_image: reader.agent_image(),
            capabilities: reader.capabilities(),
            docker: reader.docker(others),
            registries: reader.registry_rules(listen.ip().is_loopback()),
            refused_flags: reader.refused_flags(),
            log: reader.log(),
            proxies: reader.proxies(),
        };
        (settings, reader.mistakes())
    }

    /// The warning that a start with these settings gives. The public listener has no TLS of its own.
    pub fn warning(&self) -> Option<Message> {
        let exposed = self.token.is_some() && !self.listen.ip().is_loopback() && !self.insecure;
        exposed.then(|| {
            let text = format!(
                "BAKERY_LISTEN={} accepts plain HTTP from other machines: whoever can read the traffic can read the \
                 token and the builds' credentials",
                self.listen
            );
            Message::new(text).with_hint(
                "let a proxy or an Ingress terminate TLS in front of the server and let nothing else reach it; \
                 BAKERY_INSECURE=true confirms that, or that plain HTTP is intended",
            )
        })
    }
}

#[cfg(test)]
mod tests;
