//! `bakery-server check`: the effective settings, and whether what they name is there.

use std::fmt::{Display, Write as _};
use std::io::ErrorKind;
use std::time::Duration;

use bakery_core::mask::Mask;
use bakery_core::message::{Hint, rendered};
use bakery_core::names::Arch;
use bakery_core::vars::Vars;

use crate::builds::ledger::{Ledger, LedgerError};
use crate::environment;
use crate::health;
use crate::http::open_files_warning;
use crate::platform::docker::{DockerError, Engine, own_copies};
use crate::platform::ecs::{self, Finding};
use crate::platform::k8s::K8sPlatform;
use crate::settings::{EcsSettings, Settings, vars};
use crate::wiring::{StartError, agent_image, check_addresses, ecs_options, k8s, registry, remote_runs};

/// How long the registry of the agent image may take.
const LOOKUP: Duration = Duration::from_secs(15);

/// What [`check`] has found.
pub struct Findings {
    /// For people, line by line.
    pub text: String,
    /// True where everything that was tried is there.
    pub good: bool,
}

/// The effective settings, secrets masked; what is not set with its default.
pub fn effective(settings: &Settings, vars: &dyn Vars) -> String {
    let resolved = resolved(settings);
    let mut text = String::new();
    for (group, table) in [("common", vars::COMMON), ("server", vars::SERVER), ("images", vars::IMAGES)] {
        let _ = writeln!(text, "# {group}");
        // The tag is for whoever makes the images: the server does not read it.
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

/// What counts for variables that are not set and whose default is not the same everywhere.
fn resolved(settings: &Settings) -> Vec<(&'static str, String)> {
    let image = agent_image(settings).map(|image| image.to_string()).ok();
    let region = settings.s3.as_ref().map(|s3| s3.region.clone());
    let data_dir = Some(settings.data_dir.display().to_string());
    [("BAKERY_DATA_DIR", data_dir), ("AGENT_IMAGE", image), ("S3_REGION", region)]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// Tries what can be tried without leaving anything behind. What a start does without is a warning.
pub async fn check(settings: &Settings, vars: &dyn Vars) -> Findings {
    let mut found = Findings { text: String::new(), good: true };
    if let Some(ecs) = &settings.ecs {
        found.aws(ecs, settings).await;
    }
    match k8s(settings, vars, "check").await {
        Ok(None) => {}
        Ok(Some(platform)) => found.cluster(&platform, settings).await,
        Err(error) => found.bad(&error.to_string()),
    }
    let engine = if settings.docker.is_some() { Some(Engine::find(vars).await) } else { None };
    match &engine {
        None => {}
        Some(Ok(engine)) => found.good(&format!(
            "Docker engine {} at {}: linux/{}, {} cpus",
            engine.version, engine.host, engine.arch, engine.cpus
        )),
        Some(Err(error)) => found.failed(error),
    }
    found.agent_image(settings, vars, engine.as_ref()).await;
    let ledger = Ledger::check(&settings.data_dir, settings.data_key.as_ref()).await;
    // Both hold: another program has no such lock, and another data folder's server is in the way.
    let runs = matches!(ledger, Err(LedgerError::Locked(_))) && health::is_bakery(settings.listen).await;
    for (address, checked) in check_addresses(settings).await {
        match checked {
            Ok(()) => found.good(&format!("{address} can be listened on")),
            Err(StartError::Listen { error, .. }) if runs && error.kind() == ErrorKind::AddrInUse => {
                found.good(&format!("{address}: a bakery-server runs here"));
            }
            Err(error) => found.bad(&error.to_string()),
        }
    }
    let data = settings.data_dir.display();
    match ledger {
        Err(_) if runs => found.good(&format!("data folder {data}: a bakery-server runs here")),
        Err(error) => found.bad(&error.to_string()),
        Ok(()) if settings.data_dir.exists() => found.good(&format!("data folder {data}")),
        Ok(()) => found.good(&format!("data folder {data} is made at the first start")),
    }
    let files = environment::raise_open_files();
    match open_files_warning(files, remote_runs(settings)) {
        Some(warning) => found.warn(&warning.rendered()),
        None => found.good(&format!("{files} open files")),
    }
    if let Some(warning) = settings.warning() {
        found.warn(&warning);
    }
    match &settings.s3 {
        Some(s3) => found.good(&format!("contexts in bucket {} ({})", s3.bucket, s3.region)),
        None => found.good("contexts in the server's own store"),
    }
    found
}

impl Findings {
    fn good(&mut self, text: &str) {
        let _ = writeln!(self.text, "ok       {text}");
    }

    fn warn(&mut self, text: &str) {
        let _ = writeln!(self.text, "WARNING  {}", text.replace('\n', "\n         "));
    }

    /// Whether AWS answers, and gives the server the rights that can be tried.
    async fn aws(&mut self, ecs: &EcsSettings, settings: &Settings) {
        // An agent image that is none is said below.
        let Ok(options) = ecs_options(ecs, settings, "check") else { return };
        let limits = &settings.limits;
        for finding in ecs::check(&options, limits.cpu_millis, limits.memory_mib).await {
            match finding {
                Finding::Good(said) => self.good(&said),
                Finding::Warning(message) => self.warn(&message.rendered()),
                Finding::Missing(message) => self.bad(&message.rendered()),
            }
        }
    }

    /// Whether the cluster answers, gives the server its rights, and would take its Jobs.
    async fn cluster(&mut self, platform: &K8sPlatform, settings: &Settings) {
        match platform.version().await {
            Ok(version) => self.good(&format!("Kubernetes {version}: {platform}")),
            Err(error) => return self.failed(&error),
        }
        match platform.missing_rights().await {
            Ok(missing) => {
                for right in missing {
                    self.bad(&format!(
                        "the server's account has not this right: {right}\nhint: examples/server/k8s/role.yaml gives it"
                    ));
                }
            }
            Err(error) => self.failed(&error),
        }
        match platform.dry_run(settings.limits.cpu_millis, settings.limits.memory_mib).await {
            Ok(()) => self.good("the API server would take an agent's Job as the settings make it"),
            Err(error) => self.failed(&error),
        }
    }

    /// Which platforms the agent image has. A start does without an answer: the engine may get the image later.
    /// `engine` is `None` without a Docker platform.
    async fn agent_image(
        &mut self,
        settings: &Settings,
        vars: &dyn Vars,
        engine: Option<&Result<Engine, DockerError>>,
    ) {
        let image = match agent_image(settings) {
            Ok(image) => image,
            Err(error) => return self.bad(&error.to_string()),
        };
        let own: Vec<Arch> = match engine {
            Some(Ok(engine)) => own_copies(engine, &image, &Arch::ALL).await.into_keys().collect(),
            Some(Err(_)) | None => Vec::new(),
        };
        let registry = registry(settings, vars);
        let asked = tokio::time::timeout(LOOKUP, registry.platforms_of(&image, &[])).await;
        let there = match asked {
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
            Ok(there) if own.is_empty() && there.is_empty() => self.warn(&format!(
                "agent image {image}: it has neither linux/amd64 nor linux/arm64\nhint: check AGENT_IMAGE"
            )),
            Ok(there) => self.good(&format!("agent image {image}: {has}the registry has {}", list(&there))),
            Err(why) => self.warn(&format!(
                "agent image {image}: {has}the registry cannot be asked: {why}\nhint: check AGENT_IMAGE, \
                 and the way to its registry; without the image no task can start"
            )),
        }
    }

    fn failed<E: Display + Hint>(&mut self, error: &E) {
        self.bad(&rendered(&error.to_string(), error.hint().as_deref()));
    }

    fn bad(&mut self, text: &str) {
        self.good = false;
        let _ = writeln!(self.text, "MISSING  {}", text.replace('\n', "\n         "));
    }
}

/// A value as it may be seen: without the secrets and logins in it.
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
