//! Kubernetes. It is on where `K8S_NAMESPACE` is set; a file has the settings of agents' pods.

use std::path::Path;

use bakery_core::report::Finding;

use super::pods::PodSettings;
use super::reader::VarReader;

/// The variable that names the file.
const POD_FILE: &str = "K8S_CONFIG_PATH";

/// What the operator decides about the Kubernetes platform.
#[derive(Debug, Clone, PartialEq)]
pub struct K8sSettings {
    /// `K8S_NAMESPACE`: where agents' Jobs live.
    pub namespace: String,
    /// The content of the file that `K8S_CONFIG_PATH` names; nothing set where it names none.
    pub pods: PodSettings,
}

impl VarReader<'_> {
    /// Kubernetes, if `K8S_NAMESPACE` is set.
    pub(super) fn k8s(&mut self) -> Option<K8sSettings> {
        let hint = "use lower-case letters, digits and `-`, at most 63 characters, for example bakery";
        let namespace = self.value("K8S_NAMESPACE", "a valid namespace name", hint, |text| {
            let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            let named = text.len() <= 63 && text.starts_with(ends) && text.ends_with(ends);
            (named && text.chars().all(|c| ends(c) || c == '-')).then(|| text.to_owned())
        })?;
        let file = self.text(POD_FILE);
        let pods = file.and_then(|file| self.pods(Path::new(&file))).unwrap_or_default();
        Some(K8sSettings { namespace, pods })
    }

    fn pods(&mut self, path: &Path) -> Option<PodSettings> {
        let file = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let text = format!("{file} cannot be read: {error}");
                self.mistake(POD_FILE, &text, "set it to a YAML file with the key `k8s`");
                return None;
            }
        };
        match PodSettings::read(&file, &text) {
            Ok(pods) => return Some(pods),
            Err(mistakes) => {
                for mistake in mistakes {
                    let hint = mistake.hint.or_else(|| Some("see docs/kubernetes.md".to_owned()));
                    self.add(Finding { hint, ..mistake });
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;

    #[test]
    fn kubernetes_is_on_if_a_namespace_is_named_and_reports_what_else_is_required() {
        assert_eq!(read(&[("K8S_CONFIG_PATH", "/etc/bakery/config.yaml")]).unwrap().k8s, None);
        let error = read(&[("K8S_NAMESPACE", "builds")]).unwrap_err();
        let names: Vec<_> = error.0.iter().map(|mistake| &*mistake.location.source).collect();
        assert_eq!(names, ["CONTROLLER_URL", "AGENT_IMAGE"], "{error}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pods.yaml");
        std::fs::write(&file, "k8s: { priorityClassName: low }").unwrap();
        let file = file.display().to_string();
        let with = |namespace| {
            let more = [("CONTROLLER_URL", "http://10.0.0.1:3000"), ("AGENT_IMAGE", "reg.test/agent:1")];
            read(&[&more[..], &[("K8S_NAMESPACE", namespace), ("K8S_CONFIG_PATH", &file)]].concat())
        };
        let k8s = with("builds").unwrap().k8s.unwrap();
        assert_eq!(
            (k8s.namespace.as_str(), k8s.pods.priority_class_name.as_deref()),
            ("builds", Some("low"))
        );
        for wrong in ["Builds", "-a", "a_b", &"a".repeat(64)] {
            assert!(with(wrong).unwrap_err().to_string().contains("K8S_NAMESPACE: "), "{wrong}");
        }
    }
}
