//! The settings file of agents' pods, read the same at start and by `check`.

use crate::platform::k8s::PodSettings;
use crate::settings::{BadSettings, K8sSettings, Mistake};

const VARIABLE: &str = "K8S_CONFIG_PATH";

/// The operator's part of every pod; nothing where no file is named.
pub(super) fn read(settings: &K8sSettings) -> Result<PodSettings, BadSettings> {
    let Some(path) = &settings.pods else { return Ok(PodSettings::default()) };
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let text = format!("{file} cannot be read: {error}");
        BadSettings(vec![Mistake {
            name: VARIABLE,
            text,
            hint: "name a YAML file with the key `k8s`".to_owned(),
        }])
    })?;
    PodSettings::read(&file, &text).map_err(|mistakes| {
        let said = |mistake: bakery_core::report::Mistake| {
            let text = format!("{}: {}", mistake.location, mistake.message);
            let hint =
                if mistake.hint.is_empty() { "see docs/kubernetes.md".to_owned() } else { mistake.hint };
            Mistake { name: VARIABLE, text, hint }
        };
        BadSettings(mistakes.into_iter().map(said).collect())
    })
}
