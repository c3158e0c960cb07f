//! `bakery-server check`: the effective settings, and whether what they name is there.

use std::fmt::Write as _;

use bakery_core::names::Platform;
use bakery_core::secret::name_suggests_secret;
use bakery_core::vars::Vars;
use tokio::net::TcpListener;

use crate::platform::docker::Engine;
use crate::settings::{Settings, vars};

/// What [`check`] has found.
pub struct Findings {
    /// For people, line by line.
    pub text: String,
    /// True where everything that was tried is there.
    pub good: bool,
}

/// The effective settings, secrets masked.
pub fn effective(vars: &dyn Vars) -> String {
    let mut text = String::new();
    for (group, table) in [("common", vars::COMMON), ("server", vars::SERVER), ("images", vars::IMAGES)] {
        let _ = writeln!(text, "# {group}");
        for var in table {
            let _ = match vars.setting(var.name) {
                Some(value) => writeln!(text, "{}={}", var.name, shown(var.name, &value)),
                None => writeln!(text, "{} is not set: {}", var.name, var.default),
            };
        }
    }
    text
}

/// Tries what can be tried without changing anything.
pub async fn check(settings: &Settings, vars: &dyn Vars) -> Findings {
    let mut found = Findings { text: String::new(), good: true };
    if settings.default_platform != Platform::Docker {
        found.bad(&format!(
            "platform {}: not available in this version; its settings are read and checked",
            settings.default_platform
        ));
    }
    match Engine::find(vars).await {
        Ok(engine) => found.good(&format!(
            "Docker engine {} at {}: linux/{}, {} cpus",
            engine.version, engine.host, engine.arch, engine.cpus
        )),
        Err(error) if settings.default_platform == Platform::Docker => found.bad(&error.to_string()),
        Err(error) => found.good(&format!("no platform docker: {}", error.text)),
    }
    match TcpListener::bind(settings.listen).await {
        Ok(_) => found.good(&format!("{} can be listened on", settings.listen)),
        Err(error) => {
            found.bad(&format!(
                "BAKERY_LISTEN: cannot listen on {}: {error}\nhint: is a server running there?",
                settings.listen
            ));
        }
    }
    let data = settings.data_dir.display();
    match std::fs::metadata(&settings.data_dir) {
        Ok(meta) if meta.is_dir() => found.good(&format!("data folder {data}")),
        Ok(_) => found.bad(&format!("data folder {data} is no folder\nhint: set BAKERY_DATA_DIR")),
        Err(_) => found.good(&format!("data folder {data} is made at the first start")),
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

    fn bad(&mut self, text: &str) {
        self.good = false;
        let _ = writeln!(self.text, "MISSING  {}", text.replace('\n', "\n         "));
    }
}

/// A value as it may be seen: secrets not at all, URLs without the login that they may hold.
fn shown(name: &str, value: &str) -> String {
    if name_suggests_secret(name) || name == "BAKERY_DATA_KEY" {
        return "***".to_owned();
    }
    match value.split_once("://") {
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((_, host)) => format!("{scheme}://***@{host}"),
            None => value.to_owned(),
        },
        None => match value.rsplit_once('@') {
            Some((_, host)) if name.ends_with("_PROXY") => format!("***@{host}"),
            _ => value.to_owned(),
        },
    }
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
        let text = effective(&all);
        assert!(!text.contains(canary), "{text}");
        assert!(
            text.contains("MAX_RUNS=3\n") && text.contains("HTTPS_PROXY=http://***@proxy:3128\n"),
            "{text}"
        );
        for table in [vars::COMMON, vars::SERVER, vars::IMAGES] {
            for var in table {
                assert!(text.lines().any(|line| line.starts_with(var.name)), "{} is not listed", var.name);
            }
        }
    }
}
