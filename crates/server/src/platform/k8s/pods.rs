//! The operator's part of a pod: what a Job's template takes from it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::super::capabilities::Capabilities;
use k8s_openapi::api::core::v1::{Affinity, LocalObjectReference, Toleration, Volume, VolumeMount};

/// Ephemeral storage that a pod requests and may use, where neither the task nor the operator sets it: little, and as much
/// as a Fargate task has.
const DISK: Disk<'static> = Disk { request: Cow::Borrowed("2Gi"), limit: Cow::Borrowed("20Gi") };
/// Everything that the agent owns: context, spool, work files.
const WORK: (&str, &str) = ("bakery-work", "/kaniko/bakery");
/// Where Kaniko writes layers.
const LAYERS: (&str, &str) = ("bakery-layers", "/kaniko/layers");

/// The operator's part of every pod, in Kubernetes' own types.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodOptions {
    /// `serviceAccountName`.
    pub service_account_name: Option<String>,
    /// `nodeSelector`; the labels of operating system and architecture come on top.
    pub node_selector: BTreeMap<String, String>,
    /// `tolerations`.
    pub tolerations: Vec<Toleration>,
    /// `affinity`.
    pub affinity: Option<Affinity>,
    /// `imagePullSecrets`.
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// `priorityClassName`.
    pub priority_class_name: Option<String>,
    /// Annotations beside our own.
    pub annotations: BTreeMap<String, String>,
    /// Request and limit of ephemeral storage of a task that requests none, as a Kubernetes quantity; `None` = 2Gi and
    /// 20Gi.
    pub ephemeral_storage: Option<String>,
    /// What is mounted for the agent's own files; its name is set here. `None` = the container's own layer.
    pub work_volume: Option<Volume>,
    /// The same for the folder in which Kaniko writes layers.
    pub layers_volume: Option<Volume>,
    /// What the operator allows beyond the required capabilities.
    pub capabilities: Capabilities,
}

/// The ephemeral storage of a pod, as Kubernetes quantities.
#[derive(Debug, Clone)]
pub(super) struct Disk<'a> {
    pub(super) request: Cow<'a, str>,
    pub(super) limit: Cow<'a, str>,
}

impl<'a> Disk<'a> {
    /// Request and limit alike.
    fn of(size: impl Into<Cow<'a, str>>) -> Self {
        let size = size.into();
        Self { request: size.clone(), limit: size }
    }
}

impl PodOptions {
    /// The disk of a task that requests so many MiB, or none.
    pub(super) fn disk(&self, requested: Option<u32>) -> Disk<'_> {
        match (requested, self.ephemeral_storage.as_deref()) {
            (Some(mib), _) => Disk::of(format!("{mib}Mi")),
            (None, Some(size)) => Disk::of(size),
            (None, None) => DISK,
        }
    }

    /// The volumes of a pod, and where they are mounted.
    pub(super) fn volumes(&self) -> Vec<(Volume, VolumeMount)> {
        [(WORK, &self.work_volume), (LAYERS, &self.layers_volume)]
            .into_iter()
            .filter_map(|((name, path), volume)| {
                let volume = Volume { name: name.to_owned(), ..volume.clone()? };
                let mount = VolumeMount {
                    name: name.to_owned(),
                    mount_path: path.to_owned(),
                    ..VolumeMount::default()
                };
                Some((volume, mount))
            })
            .collect()
    }
}
