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
    /// From launch to the end of one attempt.
    pub task: Duration,
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
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    pub(super) fn read(vars: &[(&str, &str)]) -> Result<Settings, BadSettings> {
        let mut all = BTreeMap::from([("HOME".to_owned(), "/home/baker".to_owned())]);
        all.extend(vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Settings::read(&all, false)
    }

    #[test]
    fn no_variable_at_all_is_a_working_single_machine_default() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:3000");
        assert_eq!(settings.data_dir, PathBuf::from("/home/baker/.local/share/bakery"));
        let minutes = |n| Duration::from_mins(n);
        let expected = Limits {
            max_runs: None,
            provision: minutes(5),
            task: minutes(10),
            result: minutes(10),
            cpu_millis: 500,
            memory_mib: 2048,
        };
        assert_eq!(settings.limits, expected);
    }

    #[test]
    fn all_mistakes_are_in_one_report_and_name_their_variables() {
        let error = read(&[
            ("BAKERY_LISTEN", "0.0.0.0:3000"),
            ("BUILD_TASK_TIMEOUT", "10 minutes"),
            ("DEFAULT_BUILD_MEMORY", "much"),
            ("ALLOW_EMULATION", "yes"),
            ("MAX_RUNS", "0"),
            ("CONTROLLER_URL", "bakery.example.com"),
            ("RUST_LOG", "bakery_server=loud"),
            ("BAKERY_LOG_FORMAT", "simple"),
        ])
        .unwrap_err();
        let names: Vec<_> = error.0.iter().map(|mistake| &*mistake.location.source).collect();
        let expected = [
            "BAKERY_TOKEN",
            "CONTROLLER_URL",
            "MAX_RUNS",
            "BUILD_TASK_TIMEOUT",
            "DEFAULT_BUILD_MEMORY",
            "ALLOW_EMULATION",
            "RUST_LOG",
            "BAKERY_LOG_FORMAT",
        ];
        assert_eq!(names, expected, "{error}");
        assert_eq!(error.to_string().matches("hint: ").count(), 8);
    }

    #[test]
    fn beyond_loopback_a_token_or_bakery_open_is_required() {
        assert!(read(&[("BAKERY_LISTEN", "0.0.0.0:3000"), ("BAKERY_TOKEN", "0123456789abcdef")]).is_ok());
        assert!(read(&[("BAKERY_LISTEN", "0.0.0.0:3000"), ("BAKERY_OPEN", "true")]).is_ok());
    }

    #[test]
    fn a_token_over_plain_http_gives_a_warning_until_the_operator_accepts_it() {
        let warning = |vars: &[(&str, &str)]| read(vars).unwrap().warning();
        let (outside, token) = (("BAKERY_LISTEN", "0.0.0.0:3000"), ("BAKERY_TOKEN", "flour-water-salt"));
        let text = warning(&[outside, token]).unwrap().rendered();
        assert!(text.contains("0.0.0.0:3000") && text.contains("BAKERY_INSECURE"), "{text}");
        assert!(!text.contains("flour"), "{text}");
        assert_eq!(warning(&[outside, token, ("BAKERY_INSECURE", "true")]), None);
        assert_eq!(warning(&[token]), None, "loopback");
        assert_eq!(warning(&[outside, ("BAKERY_OPEN", "true")]), None, "no token travels");
    }

    #[test]
    fn registries_are_names_and_not_urls() {
        let good = [
            ("INSECURE_REGISTRIES", "reg.test, 10.0.0.1:5000,[::1]:5000"),
            ("PUBLISH_ALLOW", "reg.test/shop"),
        ];
        assert_eq!(read(&good).unwrap().registries.insecure.len(), 3);
        let bad = [
            ("INSECURE_REGISTRIES", "http://reg.test, reg.test:port"),
            ("PUBLISH_ALLOW", "reg.test,a b,/shop"),
        ];
        let report = read(&bad).unwrap_err().to_string();
        for wrong in ["`http://reg.test`", "`reg.test:port`", "`a b`", "`/shop`"] {
            assert!(report.contains(wrong), "{wrong}: {report}");
        }
        assert!(!report.contains("`reg.test`"), "{report}");
    }

    #[test]
    fn refused_flags_are_names_with_or_without_dashes() {
        let settings = read(&[("REFUSED_KANIKO_FLAGS", "--insecure, skip-tls-verify,")]).unwrap();
        let mut expected = RefusedFlags::default();
        for flag in ["insecure", "--skip-tls-verify"] {
            expected.add(flag).unwrap();
        }
        assert_eq!(settings.refused_flags, expected);
        let report = read(&[("REFUSED_KANIKO_FLAGS", "a=b,destination")]).unwrap_err().to_string();
        assert!(report.contains("`a=b` is not") && report.contains("every build needs it"), "{report}");
    }

    #[test]
    fn mistakes_of_the_bucket_name_their_variable_once() {
        let error = read(&[("S3_BUCKET", "ab"), ("S3_SSL", "maybe")]).unwrap_err();
        let names: Vec<_> = error.0.iter().map(|mistake| &*mistake.location.source).collect();
        assert_eq!(names, ["S3_BUCKET", "S3_SSL"], "{error}");
        assert!(error.0.iter().all(|mistake| !mistake.text.contains("S3_")), "{error}");
    }

    #[test]
    fn an_empty_value_counts_as_unset() {
        assert_eq!(read(&[("BAKERY_LISTEN", ""), ("MAX_RUNS", "")]).unwrap().limits.max_runs, None);
    }

    #[test]
    fn a_login_in_a_url_is_refused_and_not_quoted() {
        let error = read(&[("CONTROLLER_URL", "http://baker:butter@h")]).unwrap_err().to_string();
        assert!(
            error.contains("CONTROLLER_URL: contains a user name") && !error.contains("butter"),
            "{error}"
        );
        for name in ["S3_ENDPOINT", "BAKERY_LISTEN", "AGENT_IMAGE", "INSECURE_REGISTRIES", "PUBLISH_ALLOW"] {
            let error = read(&[("S3_BUCKET", "crumbs"), (name, "http://baker:butter@h:1/x")]).unwrap_err();
            assert!(error.to_string().contains(name) && !error.to_string().contains("butter"), "{error}");
        }
    }

    #[test]
    fn a_token_that_no_header_carries_is_refused_and_not_quoted() {
        for token in ["brötchen", "flour and water", "flour\twater"] {
            let error = read(&[("BAKERY_LISTEN", "0.0.0.0:3000"), ("BAKERY_TOKEN", token)]).unwrap_err();
            assert_eq!(error.0.len(), 1, "{error}");
            assert!(error.to_string().starts_with("1 mistake in the settings\nBAKERY_TOKEN: "), "{error}");
            assert!(!error.to_string().contains(token), "{error}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let settings = read(&[("BAKERY_TOKEN", "flour-water-salt")]).unwrap();
        assert!(!format!("{settings:?}").contains("flour"));
    }

    #[test]
    fn probe_01_a_short_token_is_a_mistake_wherever_it_comes_from() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token").display().to_string();
        let mistake = |vars: &[(&str, &str)]| read(vars).map(drop).unwrap_err().to_string();
        let short = "hunter2-hunter2";
        std::fs::write(&path, format!("{short}\n")).unwrap();
        for (name, value) in [("BAKERY_TOKEN", short), ("BAKERY_TOKEN_FILE", &path)] {
            for listen in ["127.0.0.1:3000", "0.0.0.0:3000"] {
                let found = mistake(&[(name, value), ("BAKERY_LISTEN", listen), ("BAKERY_OPEN", "true")]);
                let text = format!(
                    "1 mistake in the settings\n{name}: has fewer than 16 characters: it could be guessed\n  \
                     hint: create one with `openssl rand -hex 32`"
                );
                assert_eq!(found, text);
            }
        }
    }

    #[test]
    fn a_token_is_read_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let name = path.display().to_string();
        let vars = [("BAKERY_LISTEN", "0.0.0.0:3000"), ("BAKERY_TOKEN_FILE", &*name)];
        let mistake = |vars: &[(&str, &str)]| {
            let found = read(vars).map(drop).unwrap_err();
            assert_eq!(found.0.len(), 1, "{found}");
            found.to_string()
        };
        assert!(mistake(&vars).contains("token cannot be read: "));
        std::fs::write(&path, "\n").unwrap();
        assert!(mistake(&vars).contains("token is empty"));
        std::fs::write(&path, "x".repeat(5000)).unwrap();
        assert!(mistake(&vars).contains("token is larger than 4096 bytes"));
        assert!(mistake(&[("BAKERY_TOKEN_FILE", "/dev/zero")]).contains("is a device, not a regular file"));
        std::fs::write(&path, "flour-water-salt\r\n").unwrap();
        assert_eq!(read(&vars).unwrap().token.unwrap().expose(), "flour-water-salt");
        let both = mistake(&[vars[1], ("BAKERY_TOKEN", "flour-water-salt")]);
        assert!(both.contains("BAKERY_TOKEN_FILE: is set, and BAKERY_TOKEN too"), "{both}");
    }
}
