//! The settings of agents' pods: the file that `K8S_CONFIG_PATH` names.
//!
//! Every field is optional. Kubernetes' own fields (`tolerations`, `affinity`, ...) are read as Kubernetes spells them,
//! into its own types; a key that Kubernetes does not have is a mistake here, and not silently left out.

use std::collections::BTreeMap;

use bakery_core::capabilities;
use bakery_core::decode::{Field, refuse_tags, section};
use bakery_core::message::Message;
use bakery_core::report::{Findings, Mistake, shown};
use bakery_core::yaml::{self, Value};
use k8s_openapi::api::core::v1::{
    Affinity, EmptyDirVolumeSource, EphemeralVolumeSource, LocalObjectReference, PersistentVolumeClaimSpec,
    PersistentVolumeClaimTemplate, Toleration, Volume, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::yaml_types::{list, quantity, typed};

const FIELDS: &[&str] = &[
    "serviceAccountName",
    "nodeSelector",
    "tolerations",
    "affinity",
    "imagePullSecrets",
    "priorityClassName",
    "annotations",
    "ephemeralStorage",
    "workVolume",
    "layersVolume",
    "capabilities",
];

/// The operator's part of every agent's pod, in Kubernetes' own types.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodSettings {
    /// `serviceAccountName`.
    pub service_account_name: Option<String>,
    /// `nodeSelector`.
    pub node_selector: BTreeMap<String, String>,
    /// `tolerations`.
    pub tolerations: Vec<Toleration>,
    /// `affinity`.
    pub affinity: Option<Affinity>,
    /// `imagePullSecrets`.
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// `priorityClassName`.
    pub priority_class_name: Option<String>,
    /// `annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `ephemeralStorage`, a Kubernetes quantity.
    pub ephemeral_storage: Option<String>,
    /// `workVolume`, without a name.
    pub work_volume: Option<Volume>,
    /// `layersVolume`, without a name.
    pub layers_volume: Option<Volume>,
    /// `capabilities`: some of [`capabilities::OPTIONAL`].
    pub capabilities: Vec<&'static str>,
}

impl PodSettings {
    /// Reads the text of a file of this name, or returns every mistake in it.
    pub fn read(file: &str, text: &str) -> Result<Self, Vec<Mistake>> {
        let mut findings = Findings::default();
        let mut settings = Self::default();
        if let Some(node) = yaml::parse(file, text, &mut findings) {
            let root = Field::root(&node);
            refuse_tags(&root, "leave it out", &mut findings);
            // An empty file is allowed: every field is optional.
            let fields =
                if node.is_null() { None } else { section(&root, &["k8s"], |_| None, &mut findings) };
            for (_, k8s) in fields.into_iter().flatten() {
                for (key, field) in section(&k8s, FIELDS, |_| None, &mut findings).into_iter().flatten() {
                    settings.take(key, &field, &mut findings);
                }
            }
        }
        if findings.mistakes.is_empty() { Ok(settings) } else { Err(findings.mistakes) }
    }

    fn take(&mut self, key: &str, field: &Field<'_>, findings: &mut Findings) {
        match key {
            "serviceAccountName" => self.service_account_name = typed(field, findings),
            "nodeSelector" => self.node_selector = typed(field, findings).unwrap_or_default(),
            "tolerations" => self.tolerations = list(field, findings),
            "affinity" => self.affinity = typed(field, findings),
            "imagePullSecrets" => self.image_pull_secrets = list(field, findings),
            "priorityClassName" => self.priority_class_name = typed(field, findings),
            "annotations" => self.annotations = typed(field, findings).unwrap_or_default(),
            "ephemeralStorage" => self.ephemeral_storage = quantity(field, findings),
            "workVolume" => self.work_volume = volume(field, findings),
            "layersVolume" => self.layers_volume = volume(field, findings),
            _ => self.capabilities = allowed(field, findings),
        }
    }
}

/// Capabilities that the operator allows.
fn allowed(field: &Field<'_>, findings: &mut Findings) -> Vec<&'static str> {
    if !matches!(field.node.value, Value::List(_)) {
        field.expected("a list", findings);
    }
    let mut allowed = Vec::new();
    for item in field.items() {
        let Some(name) = item.text(findings) else { continue };
        if let Some(known) = capabilities::optional(name) {
            allowed.push(known);
        } else {
            let text = format!("`{}` cannot be allowed", shown(name));
            let hint = format!("one of {}", capabilities::OPTIONAL.join(", "));
            findings.mistake(item.location.clone(), Message::new(text).with_hint(hint));
        }
    }
    allowed
}

/// One of the two kinds of volume; both live as long as their pod.
fn volume(field: &Field<'_>, findings: &mut Findings) -> Option<Volume> {
    let known = section(field, &["emptyDir", "ephemeral"], |_| None, findings)?;
    let [(kind, value)] = known.as_slice() else {
        // An unknown key is a mistake already.
        if field.entries().len() != 1 {
            let text = "expected one of `emptyDir` and `ephemeral`";
            findings
                .mistake(field.location.clone(), Message::new(text).with_hint("for example `emptyDir: {}`"));
        }
        return None;
    };
    if *kind == "emptyDir" {
        if let Some(limit) = value.get("sizeLimit") {
            quantity(&limit, findings)?;
        }
        let empty_dir: EmptyDirVolumeSource = typed(value, findings)?;
        return Some(Volume { empty_dir: Some(empty_dir), ..Volume::default() });
    }
    let mut class = None;
    let mut storage = None;
    for (key, value) in section(value, &["storageClassName", "storage"], |_| None, findings)? {
        match key {
            "storage" => storage = Some(quantity(&value, findings)?),
            _ => class = typed(&value, findings),
        }
    }
    let Some(storage) = storage else {
        findings.mistake(
            value.location.clone(),
            Message::new("`storage` is missing")
                .with_hint("set the size of the volume, for example `storage: 50Gi`"),
        );
        return None;
    };
    Some(ephemeral(class, storage))
}

/// A volume that the storage class makes with the pod.
fn ephemeral(class: Option<String>, storage: String) -> Volume {
    let spec = PersistentVolumeClaimSpec {
        access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
        storage_class_name: class,
        resources: Some(VolumeResourceRequirements {
            requests: Some(BTreeMap::from([("storage".to_owned(), Quantity(storage))])),
            ..VolumeResourceRequirements::default()
        }),
        ..PersistentVolumeClaimSpec::default()
    };
    let template = PersistentVolumeClaimTemplate { metadata: None, spec };
    let source = EphemeralVolumeSource { volume_claim_template: Some(template) };
    Volume { ephemeral: Some(source), ..Volume::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        let found = PodSettings::read("pods.yaml", text).expect_err("a mistake");
        found.iter().map(Mistake::rendered).collect()
    }

    #[test]
    fn every_field_is_read() {
        let text = "k8s:\n  serviceAccountName: bakery-agent\n  nodeSelector: { pool: builds }\n  \
                    tolerations: [{ key: builds, operator: Exists, effect: NoSchedule, tolerationSeconds: 60 }]\n  \
                    imagePullSecrets: [{ name: reg-login }]\n  priorityClassName: low\n  annotations: { team: bread }\n  \
                    ephemeralStorage: 50Gi\n  affinity:\n    nodeAffinity:\n      \
                    requiredDuringSchedulingIgnoredDuringExecution:\n        nodeSelectorTerms:\n        \
                    - matchExpressions: [{ key: zone, operator: In, values: [a] }]\n  \
                    workVolume: { emptyDir: { sizeLimit: 10Gi } }\n  \
                    layersVolume: { ephemeral: { storageClassName: fast, storage: 1.5Ti } }\n  \
                    capabilities: [CAP_NET_RAW, MKNOD]\n";
        let settings = PodSettings::read("pods.yaml", text).unwrap();
        assert_eq!(settings.service_account_name.as_deref(), Some("bakery-agent"));
        assert_eq!(settings.tolerations[0].toleration_seconds, Some(60));
        assert_eq!(settings.ephemeral_storage.as_deref(), Some("50Gi"));
        assert!(settings.work_volume.unwrap().empty_dir.is_some());
        assert!(settings.layers_volume.unwrap().ephemeral.is_some());
        assert_eq!(settings.capabilities, ["NET_RAW", "MKNOD"]);
    }

    #[test]
    fn the_example_is_read() {
        let text = include_str!("../../../../examples/server/k8s/configs/config.yaml");
        let settings = PodSettings::read("config.yaml", text).unwrap();
        assert_eq!(settings.service_account_name.as_deref(), Some("bakery-agent"));
        let commented = |field: &&&str| **field != "serviceAccountName";
        for field in FIELDS.iter().filter(commented) {
            assert!(text.contains(&format!("\n  # {field}:")), "the example shows {field}");
        }
    }

    #[test]
    fn an_empty_file_sets_nothing() {
        for text in ["", "k8s:\n", "k8s: {}\n", "# later\n"] {
            assert_eq!(PodSettings::read("pods.yaml", text).unwrap(), PodSettings::default(), "{text:?}");
        }
    }

    #[test]
    fn every_mistake_is_reported_at_its_location() {
        let text = "k8s:\n  serviceAccount: x\n  nodeSelector: { pool: 1 }\n  tolerations:\n  - key: a\n    \
                    tolerationSecond: 5\n  - tolerationSeconds: soon\n  ephemeralStorage: much\n  \
                    workVolume: { hostPath: { path: / } }\n  layersVolume: { ephemeral: {} }\nk9s: {}\n";
        insta::assert_snapshot!(mistakes(text).join("\n"), @r#"
        pods.yaml:11:1: k9s: unknown key
          hint: did you mean `k8s`?
        pods.yaml:2:3: k8s.serviceAccount: unknown key
          hint: one of serviceAccountName, nodeSelector, tolerations, affinity, imagePullSecrets, priorityClassName, annotations, ephemeralStorage, workVolume, layersVolume, capabilities
        pods.yaml:3:25: k8s.nodeSelector.pool: invalid type: integer `1`, expected a string
          hint: quote it: '1' is a string, 1 is a number
        pods.yaml:6:23: k8s.tolerations[0].tolerationSecond: unknown key: Kubernetes has no such field here
          hint: check the spelling; the Kubernetes API reference lists the fields
        pods.yaml:7:24: k8s.tolerations[1].tolerationSeconds: invalid type: string "soon", expected i64
          hint: the Kubernetes API reference has the type of this field
        pods.yaml:8:21: k8s.ephemeralStorage: `much` is not a Kubernetes quantity
          hint: for example 20Gi
        pods.yaml:9:17: k8s.workVolume.hostPath: unknown key
          hint: one of emptyDir, ephemeral
        pods.yaml:10:30: k8s.layersVolume.ephemeral: `storage` is missing
          hint: set the size of the volume, for example `storage: 50Gi`
        "#);
    }

    #[test]
    fn a_file_that_is_not_a_mapping_is_refused() {
        assert!(mistakes("- k8s")[0].contains("expected a mapping, found a list"));
        assert!(mistakes("k8s: [a]")[0].contains("expected a mapping"));
        assert!(mistakes("k8s: {")[0].contains("not valid YAML"));
    }
}
