//! What the operator decides about this platform.

use bakery_core::image::ImageRef;

use super::run::Capacity;
use super::secret::PullSecret;

/// Everything that the platform is told.
#[derive(Debug, Clone)]
pub struct EcsSettings {
    /// The installation's UUID: what carries it is ours.
    pub installation: String,
    /// `AGENT_IMAGE`.
    pub agent_image: ImageRef,
    /// What the operator names on AWS.
    pub account: Account,
}

/// What tasks are started with and where, by the variables that name it.
#[derive(Debug, Clone)]
pub struct Account {
    /// `AWS_REGION`.
    pub region: String,
    /// `ECS_CLUSTER`.
    pub cluster: String,
    /// `ECS_SUBNETS`.
    pub subnets: Vec<String>,
    /// `ECS_SECURITY_GROUPS`.
    pub security_groups: Vec<String>,
    /// `ECS_EXEC_ROLE_ARN`.
    pub execution_role: String,
    /// `ECS_TASK_ROLE_ARN`.
    pub task_role: Option<String>,
    /// `ECS_LOG_GROUP`.
    pub log_group: Option<String>,
    /// `ECS_CAPACITY`.
    pub capacity: Capacity,
    /// `ECS_PUBLIC_IP`.
    pub public_ip: bool,
    /// `ECS_EPHEMERAL_STORAGE`, in GiB; `None` = Fargate's 20.
    pub storage: Option<i32>,
    /// `AGENT_TASK_FAMILY`.
    pub family: String,
    /// With what the agent image is pulled.
    pub pull_secret: Option<PullSecret>,
    /// `CLEANUP_ECS_TASK_DEFINITIONS`.
    pub clean_up: bool,
}
