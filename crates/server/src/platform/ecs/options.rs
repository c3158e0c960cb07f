//! What the platform is made with.

use bakery_core::image::ImageRef;

use super::super::Capabilities;
use super::run::Capacity;
use super::secret::PullSecret;

/// With which resources of AWS tasks are started, and how.
#[derive(Debug, Clone)]
pub struct EcsOptions {
    /// The installation's UUID: what carries it is ours.
    pub installation: String,
    /// The agent image, which ECS pulls.
    pub agent_image: ImageRef,
    /// Region of cluster and secrets.
    pub region: String,
    /// Name of the cluster.
    pub cluster: String,
    /// Subnets of the tasks: at least one.
    pub subnets: Vec<String>,
    /// Security groups of the tasks.
    pub security_groups: Vec<String>,
    /// ARN of the role with which ECS pulls the image.
    pub execution_role: String,
    /// ARN of the role that the agents have.
    pub task_role: Option<String>,
    /// `CloudWatch` group for the agents' own logs; `None` = off.
    pub log_group: Option<String>,
    /// On what tasks run.
    pub capacity: Capacity,
    /// Whether tasks get a public IP.
    pub public_ip: bool,
    /// Disk of a task in GiB; `None` = Fargate's 20.
    pub storage: Option<i32>,
    /// Prefix of the task definitions' families.
    pub family: String,
    /// With what the agent image is pulled.
    pub pull_secret: Option<PullSecret>,
    /// Whether old task definitions are removed at start.
    pub clean_up: bool,
    /// What the operator allows beyond the required capabilities.
    pub capabilities: Capabilities,
}
