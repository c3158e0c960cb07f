//! Turns the operator's settings into what each platform is made with.

use bakery_core::image::ImageRef;

use super::StartError;
use crate::platform::Capabilities;
use crate::platform::ecs::{Capacity, EcsOptions, PullSecret};
use crate::platform::k8s::{K8sOptions, PodOptions};
use crate::settings::{EcsCapacity, EcsPullSecret, EcsSettings, K8sSettings, PodSettings, Settings};

/// The agent image that every platform starts.
pub(crate) fn agent_image(settings: &Settings) -> Result<ImageRef, StartError> {
    let text = &settings.agent_image;
    text.parse().map_err(|_| StartError::AgentImage(text.clone()))
}

/// What the platform `ecs` is made with.
pub(crate) fn ecs_options(
    ecs: &EcsSettings,
    settings: &Settings,
    installation: &str,
) -> Result<EcsOptions, StartError> {
    let ecs = ecs.clone();
    Ok(EcsOptions {
        installation: installation.to_owned(),
        agent_image: agent_image(settings)?,
        region: ecs.region,
        cluster: ecs.cluster,
        subnets: ecs.subnets,
        security_groups: ecs.security_groups,
        execution_role: ecs.execution_role,
        task_role: ecs.task_role,
        log_group: ecs.log_group,
        capacity: match ecs.capacity {
            EcsCapacity::Fargate => Capacity::Fargate,
            EcsCapacity::Spot => Capacity::Spot,
            EcsCapacity::SpotThenFargate => Capacity::SpotThenFargate,
        },
        public_ip: ecs.public_ip,
        storage: ecs.storage,
        family: ecs.family,
        pull_secret: ecs.pull_secret.map(|secret| match secret {
            EcsPullSecret::Arn(arn) => PullSecret::Arn(arn),
            EcsPullSecret::Login { name, username, password } => {
                PullSecret::Login { name, username, password }
            }
        }),
        clean_up: ecs.clean_up,
        capabilities: Capabilities::allowing(settings.capabilities.clone()),
    })
}

/// What the platform `k8s` is made with.
pub(super) fn k8s_options(
    k8s: &K8sSettings,
    settings: &Settings,
    installation: &str,
) -> Result<K8sOptions, StartError> {
    let PodSettings {
        service_account_name,
        node_selector,
        tolerations,
        affinity,
        image_pull_secrets,
        priority_class_name,
        annotations,
        ephemeral_storage,
        work_volume,
        layers_volume,
        capabilities,
    } = k8s.pods.clone();
    let allowed = settings.capabilities.iter().copied().chain(capabilities).collect();
    let pods = PodOptions {
        service_account_name,
        node_selector,
        tolerations,
        affinity,
        image_pull_secrets,
        priority_class_name,
        annotations,
        ephemeral_storage,
        work_volume,
        layers_volume,
        capabilities: Capabilities::allowing(allowed),
    };
    Ok(K8sOptions { installation: installation.to_owned(), agent_image: agent_image(settings)?, pods })
}
