//! Reads variables one by one and collects the mistakes in them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bakery_context::read_user_text;
use bakery_core::capabilities;
use bakery_core::image::ImageRef;
use bakery_core::kaniko::RefusedFlags;
use bakery_core::limits;
use bakery_core::mask::{self, Form};
use bakery_core::message::Message;
use bakery_core::report::Mistake;
use bakery_core::rules::TaskBounds;
use bakery_core::secret::Secret;
use bakery_core::units;
use bakery_core::vars::Vars;
use bakery_core::wire::run::launch_env;
use tracing_subscriber::EnvFilter;

use super::{Limits, LogFormat, LogSettings, PORT, RegistryRules, vars};

/// The two variables for the operator's token.
const TOKEN: &str = "BAKERY_TOKEN";
const TOKEN_FILE: &str = "BAKERY_TOKEN_FILE";
/// Characters of the shortest token.
const LEAST_TOKEN: usize = 16;
/// Bytes of the largest file with a token.
const TOKEN_FILE_BYTES: u64 = 4096;

pub(super) struct VarReader<'a> {
    vars: &'a dyn Vars,
    mistakes: Vec<Mistake>,
}

impl<'a> VarReader<'a> {
    pub(super) fn new(vars: &'a dyn Vars) -> Self {
        Self { vars, mistakes: Vec::new() }
    }

    /// Adds a mistake in the variable `name`.
    pub(super) fn mistake(&mut self, name: &str, text: &str, hint: &str) {
        self.add(Mistake::of_setting(name, Message::new(text).with_hint(hint)));
    }

    /// Adds a mistake. Its text may quote what was written: logins in it are masked.
    pub(super) fn add(&mut self, mistake: Mistake) {
        self.mistakes.push(Mistake { text: mask::text(&mistake.text, Form::Plain), ..mistake });
    }

    pub(super) fn mistakes(self) -> Vec<Mistake> {
        self.mistakes
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.vars.setting(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    /// The operator's token, from `BAKERY_TOKEN` or from the file that `BAKERY_TOKEN_FILE` names. One that no HTTP header
    /// can carry would refuse every client, and a short one can be guessed. It is not quoted. `None` also after a mistake.
    pub(super) fn token(&mut self) -> Option<Secret> {
        let (name, text) = match (self.text(TOKEN), self.text(TOKEN_FILE)) {
            (None, None) => return None,
            (Some(_), Some(_)) => {
                let text = format!("is set, and {TOKEN} too");
                self.mistake(TOKEN_FILE, &text, "set only one of them");
                return None;
            }
            (Some(text), None) => (TOKEN, text),
            (None, Some(path)) => match content_of(&path) {
                Ok(text) => (TOKEN_FILE, text),
                Err(text) => {
                    let hint =
                        "name a file that contains only the token, and that the server's user can read";
                    self.mistake(TOKEN_FILE, &format!("{path} {text}"), hint);
                    return None;
                }
            },
        };
        let text_of_mistake = if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            "contains a blank or a character that is not ASCII; an HTTP header cannot carry it".to_owned()
        } else if text.len() < LEAST_TOKEN {
            format!("has fewer than {LEAST_TOKEN} characters: it could be guessed")
        } else {
            return Some(Secret::new(text));
        };
        self.mistake(name, &text_of_mistake, "create one with `openssl rand -hex 32`");
        None
    }

    /// Whether the operator wants a token, right or wrong.
    pub(super) fn names_token(&self) -> bool {
        self.is_set(TOKEN) || self.is_set(TOKEN_FILE)
    }

    /// A value that `parse` accepts; any other value is a mistake and counts as unset.
    pub(super) fn value<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        hint: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(name)?;
        let value = parse(&text);
        if value.is_none() {
            self.mistake(name, &format!("`{text}` is not {expected}"), hint);
        }
        value
    }

    pub(super) fn address(&mut self, name: &'static str) -> Option<SocketAddr> {
        self.value(name, "a valid address with a port", "for example 127.0.0.1:3000", |text| {
            text.parse().ok()
        })
    }

    /// The address of the public listener.
    pub(super) fn listen(&mut self) -> SocketAddr {
        self.address("BAKERY_LISTEN").unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], PORT)))
    }

    pub(super) fn url(&mut self, name: &'static str) -> Option<String> {
        if self.text(name).is_some_and(|text| text.contains('@')) {
            // Not quoted: it contains a login.
            self.mistake(name, "contains a user name or a password", "remove them from the URL");
            return None;
        }
        self.value(name, "a valid URL", "for example https://bakery.example.com", |text| {
            let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
            let plain = !rest.is_empty() && !rest.contains(['?', '#', ' ']);
            plain.then(|| text.trim_end_matches('/').to_owned())
        })
    }

    pub(super) fn flag(&mut self, name: &'static str) -> bool {
        let parse = |text: &str| text.parse().ok();
        self.value(name, "true or false", "set it to true or false", parse).unwrap_or(false)
    }

    fn image(&mut self, name: &'static str) -> Option<String> {
        let hint = "for example docker.io/rayshoo/bakery-agent:v1.0.2";
        self.value(name, "a valid image reference", hint, |text| {
            text.parse::<ImageRef>().is_ok().then(|| text.to_owned())
        })
    }

    /// `AGENT_IMAGE`, else the image of our own version.
    pub(super) fn agent_image(&mut self) -> String {
        let (named, prefix) = (self.image("AGENT_IMAGE"), self.image("IMAGE_NAME"));
        let prefix = prefix.as_deref().unwrap_or(vars::IMAGE_NAME);
        named.unwrap_or_else(|| format!("{prefix}-agent:{}", env!("CARGO_PKG_VERSION")))
    }

    /// A list separated by commas, without empty parts.
    pub(super) fn parts(&self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// `AGENT_CAPABILITIES`: names separated by commas.
    pub(super) fn capabilities(&mut self) -> Vec<&'static str> {
        let name = "AGENT_CAPABILITIES";
        let mut allowed = Vec::new();
        for part in &self.parts(name) {
            if let Some(known) = capabilities::optional(part) {
                allowed.push(known);
            } else {
                let hint = format!("one of {}", capabilities::OPTIONAL.join(", "));
                self.mistake(name, &format!("`{part}` cannot be allowed"), &hint);
            }
        }
        allowed
    }

    /// `host[:port]` separated by commas, each followed by a path if `path` allows it.
    fn registries(&mut self, name: &'static str, path: bool) -> Vec<String> {
        let (expected, hint) = if path {
            ("host[:port] or host[:port]/path", "for example registry.example.com/shop")
        } else {
            ("host[:port]", "for example registry.example.com:5000")
        };
        let mut good = Vec::new();
        for part in self.parts(name).iter().map(String::as_str) {
            // With a path, the first part is a registry's host and not a name on Docker Hub.
            let (host, rest) = part.split_once('/').unwrap_or((part, "x"));
            let image = format!("{host}/{}", rest.trim_end_matches('/')).parse::<ImageRef>();
            let named = host == "localhost" || host.contains(['.', ':']);
            if named && (path || host == part) && image.is_ok() {
                good.push(part.to_owned());
            } else {
                self.mistake(name, &format!("`{part}` is not {expected}"), hint);
            }
        }
        good
    }

    /// `loopback`: whether the server listens on loopback only.
    pub(super) fn registry_rules(&mut self, loopback: bool) -> RegistryRules {
        RegistryRules {
            insecure: self.registries("INSECURE_REGISTRIES", false),
            trusted: self.registries("REGISTRY_TRUSTED_HOSTS", false),
            publish_allow: self.registries("PUBLISH_ALLOW", true),
            loopback,
        }
    }

    /// `REFUSED_KANIKO_FLAGS`: names separated by commas.
    pub(super) fn refused_flags(&mut self) -> RefusedFlags {
        let name = "REFUSED_KANIKO_FLAGS";
        let mut refused = RefusedFlags::default();
        for part in &self.parts(name) {
            if let Err(Message { text, hint }) = refused.add(part) {
                self.mistake(name, &text, hint.as_deref().unwrap_or_default());
            }
        }
        refused
    }

    pub(super) fn log(&mut self) -> LogSettings {
        let hint = "for example debug, or bakery_server=debug,info";
        let parse = |text: &str| EnvFilter::try_new(text).is_ok().then(|| text.to_owned());
        let filter = self.value("RUST_LOG", "a valid log filter", hint, parse);
        let format =
            self.value("BAKERY_LOG_FORMAT", "text or json", "set it to text or json", |text| match text {
                "text" => Some(LogFormat::Text),
                "json" => Some(LogFormat::Json),
                _ => None,
            });
        LogSettings {
            filter: filter.unwrap_or_else(|| "info".to_owned()),
            format: format.unwrap_or(LogFormat::Text),
        }
    }

    fn duration(&mut self, name: &'static str, default: Duration) -> Duration {
        let hint = "for example 90s, 10m or 1h30m";
        let parse = |text: &str| units::duration(text).filter(|duration| !duration.is_zero());
        self.value(name, "a valid duration", hint, parse).unwrap_or(default)
    }

    pub(super) fn limits(&mut self) -> Limits {
        let count = |text: &str| text.parse().ok().filter(|count| *count > 0);
        let max_runs = self.value("MAX_RUNS", "a whole number greater than 0", "for example 4", count);
        let task = self.duration("BUILD_TASK_TIMEOUT", limits::TASK_TIME);
        Limits {
            max_runs,
            task,
            bounds: self.bounds(task),
            provision: self.duration("BUILD_PROVISION_TIMEOUT", limits::TASK_PROVISION),
            result: self.duration("BUILD_RESULT_TIMEOUT", limits::TASK_RESULT),
            cpu_millis: self
                .value("DEFAULT_BUILD_CPU", "a valid number of cpus", "for example 0.5 or 500m", units::cpu)
                .unwrap_or(limits::TASK_CPU_MILLIS),
            memory_mib: self
                .value("DEFAULT_BUILD_MEMORY", "a valid size", "for example 2G", units::memory)
                .unwrap_or(limits::TASK_MEMORY_MIB),
        }
    }

    /// `task`: the time of tasks that request none.
    fn bounds(&mut self, task: Duration) -> TaskBounds {
        let name = "MAX_TASK_TIMEOUT";
        let timeout = self.duration(name, task);
        if timeout < task {
            let text = format!("is shorter than BUILD_TASK_TIMEOUT ({})", units::format_duration(task));
            self.mistake(name, &text, "set it to the longest time that a task may request");
        }
        let disk = self.value("MAX_TASK_DISK", "a valid size", "for example 100G, at least 1G", units::disk);
        TaskBounds { timeout, disk_mib: disk }
    }

    /// The variables that ECS and Kubernetes require.
    pub(super) fn remote(&mut self) {
        let url = (
            "CONTROLLER_URL",
            "required because agents on ECS and Kubernetes call the server at this URL",
            "set it to the URL at which those agents reach this server",
        );
        let image = (
            "AGENT_IMAGE",
            "required because ECS and Kubernetes pull this image",
            "for example docker.io/rayshoo/bakery-agent:v1.0.2",
        );
        for (name, text, hint) in [url, image] {
            self.needed(name, text, hint);
        }
    }

    pub(super) fn needed(&mut self, name: &'static str, text: &str, hint: &str) -> String {
        let value = self.text(name);
        if value.is_none() {
            self.mistake(name, text, hint);
        }
        value.unwrap_or_default()
    }

    /// The data folder; by default the system's for root, else the user's.
    pub(super) fn data_dir(&mut self, root: bool) -> PathBuf {
        if let Some(named) = self.text("BAKERY_DATA_DIR") {
            return named.into();
        }
        if root {
            return "/var/lib/bakery".into();
        }
        if let Some(data) = self.text("XDG_DATA_HOME") {
            return PathBuf::from(data).join("bakery");
        }
        if let Some(home) = self.text("HOME") {
            return PathBuf::from(home).join(".local/share/bakery");
        }
        self.mistake(
            "BAKERY_DATA_DIR",
            "required because HOME is not set",
            "name a folder for the server's data",
        );
        PathBuf::new()
    }

    /// The proxy variables for agents. A login in one would be readable in task definitions and pod specs.
    pub(super) fn proxies(&mut self) -> Vec<(String, String)> {
        let mut given = Vec::new();
        for name in launch_env::PROXIES {
            let Some(value) = self.text(name) else { continue };
            if value.contains('@') {
                self.mistake(
                    name,
                    "contains a login, which would be readable in task definitions and pod specs",
                    "use a proxy that needs no login from the agents' addresses",
                );
                continue;
            }
            given.push((name.to_owned(), value));
        }
        given
    }
}

/// The content of a small file without the blanks and line ends around it; or why it cannot be used.
fn content_of(path: &str) -> Result<String, String> {
    let text = read_user_text(Path::new(path), TOKEN_FILE_BYTES).map_err(|error| error.to_string())?;
    match text.trim() {
        "" => Err("is empty".to_owned()),
        text => Ok(text.to_owned()),
    }
}
