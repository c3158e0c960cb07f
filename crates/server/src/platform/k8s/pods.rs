//! What the operator says of agents' pods: the file that `K8S_CONFIG_PATH` names.
//!
//! Every field is optional. Kubernetes' own words (`tolerations`, `affinity`, ...) are read as Kubernetes spells them; a
//! key that Kubernetes does not know is a mistake here, and not silently left out.

use std::collections::BTreeMap;

use bakery_core::decode::{Field, refuse_tags, section};
use bakery_core::report::{Findings, Mistake};
use bakery_core::yaml;
use k8s_openapi::api::core::v1::{
    Affinity, EmptyDirVolumeSource, EphemeralVolumeSource, LocalObjectReference, PersistentVolumeClaimSpec,
    PersistentVolumeClaimTemplate, Toleration, Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::typed::{list, quantity, typed};

/// Disk that a pod may take and is promised, where the operator says nothing: what a Fargate task has, and little.
const DISK: Disk<'static> = Disk { request: "2Gi", limit: "20Gi" };
/// Everything that the agent owns: context, spool, work files.
const WORK: (&str, &str) = ("bakery-work", "/kaniko/bakery");
/// Where Kaniko writes layers.
const LAYERS: (&str, &str) = ("bakery-layers", "/kaniko/layers");

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
];

/// The operator's part of a pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodSettings {
    pub(super) service_account_name: Option<String>,
    pub(super) node_selector: BTreeMap<String, String>,
    pub(super) tolerations: Vec<Toleration>,
    pub(super) affinity: Option<Affinity>,
    pub(super) image_pull_secrets: Vec<LocalObjectReference>,
    pub(super) priority_class_name: Option<String>,
    pub(super) annotations: BTreeMap<String, String>,
    ephemeral_storage: Option<String>,
    work_volume: Option<Source>,
    layers_volume: Option<Source>,
}

/// A volume that lives as long as its pod.
#[derive(Debug, Clone, PartialEq)]
enum Source {
    EmptyDir(EmptyDirVolumeSource),
    Ephemeral { class: Option<String>, storage: String },
}

/// The ephemeral storage of a pod, as Kubernetes quantities.
#[derive(Debug, Clone, Copy)]
pub(super) struct Disk<'a> {
    pub(super) request: &'a str,
    pub(super) limit: &'a str,
}

impl PodSettings {
    /// Reads the text of a file of this name, or says everything that is wrong with it.
    pub fn read(file: &str, text: &str) -> Result<Self, Vec<Mistake>> {
        let mut findings = Findings::default();
        let mut settings = Self::default();
        if let Some(node) = yaml::parse(file, text, &mut findings) {
            let root = Field::root(file, &node);
            refuse_tags(&root, "leave it out", &mut findings);
            // An empty file says nothing of pods, and that is allowed.
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
            "workVolume" => self.work_volume = source(field, findings),
            _ => self.layers_volume = source(field, findings),
        }
    }

    pub(super) fn disk(&self) -> Disk<'_> {
        self.ephemeral_storage.as_deref().map_or(DISK, |size| Disk { request: size, limit: size })
    }

    /// The volumes of a pod, and where they are mounted.
    pub(super) fn volumes(&self) -> Vec<(Volume, VolumeMount)> {
        [(WORK, &self.work_volume), (LAYERS, &self.layers_volume)]
            .into_iter()
            .filter_map(|((name, path), source)| {
                let mount = VolumeMount {
                    name: name.to_owned(),
                    mount_path: path.to_owned(),
                    ..VolumeMount::default()
                };
                Some((source.as_ref()?.volume(name), mount))
            })
            .collect()
    }
}

impl Source {
    fn volume(&self, name: &str) -> Volume {
        let volume = Volume { name: name.to_owned(), ..Volume::default() };
        match self {
            Self::EmptyDir(source) => Volume { empty_dir: Some(source.clone()), ..volume },
            Self::Ephemeral { class, storage } => {
                let spec = PersistentVolumeClaimSpec {
                    access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
                    storage_class_name: class.clone(),
                    resources: Some(VolumeResourceRequirements {
                        requests: Some(BTreeMap::from([("storage".to_owned(), Quantity(storage.clone()))])),
                        ..VolumeResourceRequirements::default()
                    }),
                    ..PersistentVolumeClaimSpec::default()
                };
                let template = PersistentVolumeClaimTemplate { metadata: None, spec };
                let source = EphemeralVolumeSource { volume_claim_template: Some(template) };
                Volume { ephemeral: Some(source), ..volume }
            }
        }
    }
}

/// One of the two kinds of volume.
fn source(field: &Field<'_>, findings: &mut Findings) -> Option<Source> {
    let known = section(field, &["emptyDir", "ephemeral"], |_| None, findings)?;
    let [(kind, value)] = known.as_slice() else {
        // An unknown key has been said already.
        if field.entries().len() != 1 {
            let text = "expected one of `emptyDir` and `ephemeral`";
            findings.mistake(field.location.clone(), text, "for example `emptyDir: {}`");
        }
        return None;
    };
    if *kind == "emptyDir" {
        if let Some(limit) = value.get("sizeLimit") {
            quantity(&limit, findings)?;
        }
        return typed(value, findings).map(Source::EmptyDir);
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
            "has no `storage`",
            "say how large the volume is: `storage: 50Gi`",
        );
        return None;
    };
    Some(Source::Ephemeral { class, storage })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        let mistakes = PodSettings::read("pods.yaml", text).expect_err("a mistake");
        mistakes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_described_file_and_every_field_of_ours_are_read() {
        let text = "k8s:\n  serviceAccountName: bakery-agent\n  nodeSelector: { pool: ovens }\n  \
                    tolerations: [{ key: ovens, operator: Exists, effect: NoSchedule, tolerationSeconds: 60 }]\n  \
                    imagePullSecrets: [{ name: reg-login }]\n  priorityClassName: low\n  annotations: { team: bread }\n  \
                    ephemeralStorage: 50Gi\n  affinity:\n    nodeAffinity:\n      \
                    requiredDuringSchedulingIgnoredDuringExecution:\n        nodeSelectorTerms:\n        \
                    - matchExpressions: [{ key: zone, operator: In, values: [a] }]\n  \
                    workVolume: { emptyDir: { sizeLimit: 10Gi } }\n  \
                    layersVolume: { ephemeral: { storageClassName: fast, storage: 1.5Ti } }\n";
        let settings = PodSettings::read("pods.yaml", text).unwrap();
        assert_eq!(settings.service_account_name.as_deref(), Some("bakery-agent"));
        assert_eq!(settings.tolerations[0].toleration_seconds, Some(60));
        assert_eq!((settings.disk().request, settings.disk().limit), ("50Gi", "50Gi"));
        let volumes = settings.volumes();
        assert_eq!(volumes[0].1.mount_path, "/kaniko/bakery");
        assert_eq!(volumes[1].1.mount_path, "/kaniko/layers");
        assert!(volumes[1].0.ephemeral.is_some());
    }

    #[test]
    fn the_example_is_read() {
        let text = include_str!("../../../../../examples/server/k8s/configs/config.yaml");
        let settings = PodSettings::read("config.yaml", text).unwrap();
        assert_eq!(settings.service_account_name.as_deref(), Some("bakery-agent"));
        let commented = |field: &&&str| **field != "serviceAccountName";
        for field in FIELDS.iter().filter(commented) {
            assert!(text.contains(&format!("\n  # {field}:")), "the example shows {field}");
        }
    }

    #[test]
    fn an_empty_file_says_nothing() {
        for text in ["", "k8s:\n", "k8s: {}\n", "# later\n"] {
            assert_eq!(PodSettings::read("pods.yaml", text).unwrap(), PodSettings::default(), "{text:?}");
        }
    }

    #[test]
    fn every_mistake_is_said_at_its_place() {
        let text = "k8s:\n  serviceAccount: x\n  nodeSelector: { pool: 1 }\n  tolerations:\n  - key: a\n    \
                    tolerationSecond: 5\n  - tolerationSeconds: soon\n  ephemeralStorage: much\n  \
                    workVolume: { hostPath: { path: / } }\n  layersVolume: { ephemeral: {} }\nk9s: {}\n";
        insta::assert_snapshot!(said(text).join("\n"), @r#"
        pods.yaml:11:1: k9s: unknown key
          hint: did you mean `k8s`?
        pods.yaml:2:3: k8s.serviceAccount: unknown key
          hint: one of serviceAccountName, nodeSelector, tolerations, affinity, imagePullSecrets, priorityClassName, annotations, ephemeralStorage, workVolume, layersVolume
        pods.yaml:3:25: k8s.nodeSelector.pool: invalid type: integer `1`, expected a string
          hint: quote it: '1' is a text, 1 is a number
        pods.yaml:6:23: k8s.tolerations[0].tolerationSecond: Kubernetes knows no such key here
          hint: Kubernetes' API reference lists the keys; mind their spelling
        pods.yaml:7:24: k8s.tolerations[1].tolerationSeconds: invalid type: string "soon", expected i64
          hint: Kubernetes' API reference tells what belongs here
        pods.yaml:8:21: k8s.ephemeralStorage: `much` is not a Kubernetes quantity
          hint: for example 20Gi
        pods.yaml:9:17: k8s.workVolume.hostPath: unknown key
          hint: one of emptyDir, ephemeral
        pods.yaml:10:30: k8s.layersVolume.ephemeral: has no `storage`
          hint: say how large the volume is: `storage: 50Gi`
        "#);
    }

    #[test]
    fn a_file_that_is_no_mapping_is_refused() {
        assert!(said("- k8s")[0].contains("expected a mapping, found a list"));
        assert!(said("k8s: [a]")[0].contains("expected a mapping"));
        assert!(said("k8s: {")[0].contains("not valid YAML"));
    }
}
