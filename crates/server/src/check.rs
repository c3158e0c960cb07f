//! `bakery-server check`: the effective settings, and whether what they name is there.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::time::Duration;

use bakery_core::mask::Mask;
use bakery_core::message::Message;
use bakery_core::names::Arch;
use bakery_core::vars::Vars;

use crate::builds::ledger::{Ledger, LedgerError};
use crate::health;
use crate::http::open_files_warning;
use crate::platform::docker::{DockerError, Engine, own_copies};
use crate::platform::ecs::{self, Finding};
use crate::platform::k8s::K8sPlatform;
use crate::process;
use crate::settings::{EcsSettings, Settings, vars};
use crate::spawn::Tasks;
use crate::wiring::{StartError, agent_image, check_addresses, ecs_options, k8s, registry, remote_runs};

/// How long `check` waits for the registry of the agent image.
const LOOKUP: Duration = Duration::from_secs(15);

/// The result of [`check`].
pub struct CheckReport {
    /// One line for each result, with its hint below it.
    pub text: String,
    /// True if nothing that a start needs is missing.
    pub good: bool,
}

/// The effective settings, one a line: variables that are not set with their default, secrets masked.
pub fn effective(settings: &Settings, vars: &dyn Vars) -> String {
    let resolved = resolved(settings);
    let mut text = String::new();
    for (group, table) in [("common", vars::COMMON), ("server", vars::SERVER), ("images", vars::IMAGES)] {
        let _ = writeln!(text, "# {group}");
        // Only the scripts that build the images read the tag.
        for var in table.iter().filter(|var| var.name != "IMAGE_TAG") {
            let default = resolved.iter().find(|(name, _)| *name == var.name);
            let _ = match (vars.setting(var.name), default) {
                (Some(value), _) => writeln!(text, "{}={}", var.name, shown(var.name, &value)),
                (None, Some((_, value))) => {
                    writeln!(text, "{}={value} (not set; default: {})", var.name, var.default)
                }
                (None, None) => writeln!(text, "{} is not set; default: {}", var.name, var.default),
            };
        }
    }
    text
}

/// The effective values of variables that are not set and whose default depends on the machine or on other variables.
fn resolved(settings: &Settings) -> Vec<(&'static str, String)> {
    let image = agent_image(settings).map(|image| image.to_string()).ok();
    let region = settings.s3.as_ref().map(|s3| s3.region.clone());
    let data_dir = Some(settings.data_dir.display().to_string());
    [("BAKERY_DATA_DIR", data_dir), ("AGENT_IMAGE", image), ("S3_REGION", region)]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// Tries everything that can be tried without changing anything. What a start can do without is a warning.
pub async fn check(settings: &Settings, vars: &dyn Vars) -> CheckReport {
    let mut found = CheckReport { text: String::new(), good: true };
    for warning in vars::replaced(vars) {
        found.warn(warning);
    }
    if let Some(ecs) = &settings.ecs {
        found.aws(ecs, settings).await;
    }
    match k8s(settings, vars, "check", &Tasks::new()).await {
        Ok(None) => {}
        Ok(Some(platform)) => found.cluster(&platform, settings).await,
        Err(error) => found.missing(Message::of(&error)),
    }
    let engine = if settings.docker.is_some() { Some(Engine::find(vars).await) } else { None };
    match &engine {
        None => {}
        Some(Ok(engine)) => found.good(&format!(
            "Docker engine {} at {}: linux/{}, {} cpus",
            engine.version, engine.host, engine.arch, engine.cpus
        )),
        Some(Err(error)) => found.missing(Message::of(error)),
    }
    found.agent_image(settings, vars, engine.as_ref()).await;
    let ledger = Ledger::check(&settings.data_dir, settings.data_key.as_ref()).await;
    // Both are needed: another program does not hold this lock, and a server with another data folder is a conflict.
    let runs = matches!(ledger, Err(LedgerError::Locked(_))) && health::is_bakery(settings.listen).await;
    for (address, checked) in check_addresses(settings).await {
        match checked {
            Ok(()) => found.good(&format!("{address} is free")),
            Err(StartError::Listen { error, .. }) if runs && error.kind() == ErrorKind::AddrInUse => {
                found.good(&format!("{address}: in use by a running bakery-server"));
            }
            Err(error) => found.missing(Message::of(&error)),
        }
    }
    let data = settings.data_dir.display();
    match ledger {
        Err(_) if runs => found.good(&format!("data folder {data}: in use by a running bakery-server")),
        Err(error) => found.missing(Message::of(&error)),
        Ok(()) if settings.data_dir.exists() => found.good(&format!("data folder {data}")),
        Ok(()) => found.good(&format!("data folder {data}: created by the first start")),
    }
    let files = process::raise_open_files();
    match open_files_warning(files, remote_runs(settings)) {
        Some(warning) => found.warn(warning),
        None => found.good(&format!("up to {files} open files")),
    }
    if let Some(warning) = settings.warning() {
        found.warn(warning);
    }
    match &settings.s3 {
        Some(s3) => found.good(&format!("contexts: bucket {} ({})", s3.bucket, s3.region)),
        None => found.good("contexts: the server's own store"),
    }
    found
}

impl CheckReport {
    fn good(&mut self, text: &str) {
        let _ = writeln!(self.text, "ok       {text}");
    }

    fn warn(&mut self, message: impl Into<Message>) {
        self.line("WARNING", &message.into());
    }

    fn missing(&mut self, message: impl Into<Message>) {
        self.good = false;
        self.line("MISSING", &message.into());
    }

    fn line(&mut self, word: &str, message: &Message) {
        let text = message.rendered().replace('\n', "\n         ");
        let _ = writeln!(self.text, "{word}  {text}");
    }

    /// Whether AWS answers, and the server has the permissions that can be tried.
    async fn aws(&mut self, ecs: &EcsSettings, settings: &Settings) {
        // An invalid agent image is reported by `agent_image`.
        let Ok(options) = ecs_options(ecs, settings, "check") else { return };
        let limits = &settings.limits;
        for finding in ecs::check(&options, limits.cpu_millis, limits.memory_mib).await {
            match finding {
                Finding::Good(text) => self.good(&text),
                Finding::Warning(message) => self.warn(message),
                Finding::Missing(message) => self.missing(message),
            }
        }
    }

    /// Whether the cluster answers, the server has its permissions there, and the API server accepts its Jobs.
    async fn cluster(&mut self, platform: &K8sPlatform, settings: &Settings) {
        match platform.version().await {
            Ok(version) => self.good(&format!("Kubernetes {version}: {platform}")),
            Err(error) => return self.missing(Message::of(&error)),
        }
        match platform.missing_rights().await {
            Ok(missing) => {
                for right in missing {
                    let text = format!("the server's service account lacks a permission: {right}");
                    self.missing(Message::new(text).with_hint("examples/server/k8s/role.yaml grants it"));
                }
            }
            Err(error) => self.missing(Message::of(&error)),
        }
        match platform.dry_run(settings.limits.cpu_millis, settings.limits.memory_mib).await {
            Ok(()) => self.good("the API server accepts an agent's Job with these settings (dry run)"),
            Err(error) => self.missing(Message::of(&error)),
        }
    }

    /// Which architectures the agent image has. Not finding it is a warning: the platform may be able to pull it.
    /// `engine` is `None` without a Docker platform.
    async fn agent_image(
        &mut self,
        settings: &Settings,
        vars: &dyn Vars,
        engine: Option<&Result<Engine, DockerError>>,
    ) {
        let image = match agent_image(settings) {
            Ok(image) => image,
            Err(error) => return self.missing(Message::of(&error)),
        };
        let own: Vec<Arch> = match engine {
            Some(Ok(engine)) => own_copies(engine, &image, &Arch::ALL).await.into_keys().collect(),
            Some(Err(_)) | None => Vec::new(),
        };
        let registry = registry(settings, vars);
        let answer = tokio::time::timeout(LOOKUP, registry.platforms_of(&image, &[])).await;
        let there = match answer {
            Ok(Ok(there)) => Ok(there.into_keys().collect::<Vec<_>>()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("{} does not answer within {}s", image.registry, LOOKUP.as_secs())),
        };
        let list = |archs: &[Arch]| {
            let names: Vec<_> = archs.iter().map(|arch| format!("linux/{arch}")).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        let has = engine.map(|_| format!("the engine has {}, ", list(&own))).unwrap_or_default();
        match there {
            Ok(there) if own.is_empty() && there.is_empty() => {
                let text = format!("agent image {image}: neither linux/amd64 nor linux/arm64 is available");
                self.warn(Message::new(text).with_hint("check AGENT_IMAGE"));
            }
            Ok(there) => self.good(&format!("agent image {image}: {has}the registry has {}", list(&there))),
            Err(detail) => {
                let text = format!("agent image {image}: {has}the registry lookup failed: {detail}");
                let hint = "check AGENT_IMAGE and the connection to its registry; without the image no task can start";
                self.warn(Message::new(text).with_hint(hint));
            }
        }
    }
}

/// The value of a variable without the secrets and logins in it.
fn shown(name: &str, value: &str) -> String {
    Mask::default().value(name, value)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_setting_is_listed_and_no_secret_is_shown() {
        let canary = "kneaded-by-hand";
        let mut all = BTreeMap::new();
        for name in [
            "BAKERY_TOKEN",
            "BAKERY_DATA_KEY",
            "S3_SECRET_KEY",
            "S3_SESSION_TOKEN",
            "AGENT_IMAGE_SECRET_PASSWORD",
        ] {
            all.insert(name.to_owned(), canary.to_owned());
        }
        all.insert("HTTPS_PROXY".to_owned(), format!("http://baker:{canary}@proxy:3128"));
        all.insert("HTTP_PROXY".to_owned(), format!("baker:{canary}@proxy:3128"));
        all.insert("MAX_RUNS".to_owned(), "3".to_owned());
        all.insert("BAKERY_DATA_DIR".to_owned(), "/srv/bakery".to_owned());
        let settings = Settings::gather(&all, false).0;
        let text = effective(&settings, &all);
        assert!(!text.contains(canary), "{text}");
        assert!(
            text.contains("MAX_RUNS=3\n") && text.contains("HTTPS_PROXY=http://baker:***@proxy:3128\n"),
            "{text}"
        );
        for table in [vars::COMMON, vars::SERVER, vars::IMAGES] {
            for var in table {
                let listed = text.lines().any(|line| line.starts_with(var.name));
                assert_eq!(listed, var.name != "IMAGE_TAG", "{}", var.name);
            }
        }
    }
}
