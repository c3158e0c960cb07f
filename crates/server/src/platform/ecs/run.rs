//! The `RunTask` request of a launch order. Pure. The same order always gives the same bytes, also after a restart of the
//! server: `clientToken` demands that.

use aws_sdk_ecs::operation::run_task::RunTaskInput;
use aws_sdk_ecs::operation::run_task::builders::RunTaskInputBuilder;
use aws_sdk_ecs::types::{
    AssignPublicIp, AwsVpcConfiguration, CapacityProviderStrategyItem, ContainerOverride, KeyValuePair,
    LaunchType, NetworkConfiguration, Tag, TaskOverride,
};
use bakery_core::names::RunName;

use super::super::{LaunchOrder, labels};
use super::definition::CONTAINER;

/// `ECS_CAPACITY`: the capacity on which tasks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capacity {
    /// On demand.
    Fargate,
    /// Spot, which AWS may reclaim.
    Spot,
    /// Spot first; the second attempt on demand.
    SpotThenFargate,
}

impl Capacity {
    /// Whether an attempt runs on Spot.
    pub(super) const fn is_spot(self, attempt: u8) -> bool {
        match self {
            Self::Fargate => false,
            Self::Spot => true,
            Self::SpotThenFargate => attempt == 1,
        }
    }
}

/// What all `RunTask` requests of this installation have in common.
#[derive(Debug, Clone)]
pub(super) struct RunTaskTemplate {
    pub(super) installation: String,
    pub(super) region: String,
    pub(super) cluster: String,
    pub(super) subnets: Vec<String>,
    pub(super) security_groups: Vec<String>,
    pub(super) public_ip: bool,
    pub(super) capacity: Capacity,
}

impl RunTaskTemplate {
    /// The request for an order whose definition is in `family`. It names no revision: a definition that is registered
    /// between two starts of the server must not change the request. `tagged`: whether tags may be set.
    pub(super) fn input(&self, order: &LaunchOrder, family: &str, tagged: bool) -> RunTaskInputBuilder {
        let spot = self.capacity.is_spot(order.run.attempt);
        let input = RunTaskInput::builder()
            .cluster(&self.cluster)
            .task_definition(family)
            .client_token(order.run.to_string())
            .started_by(self.started_by(order.run))
            .count(1)
            .network_configuration(self.network())
            .overrides(TaskOverride::builder().container_overrides(overridden(order)).build())
            .set_tags(tagged.then(|| self.tags(order.run)));
        if spot {
            input.set_capacity_provider_strategy(spot_strategy())
        } else {
            input.launch_type(LaunchType::Fargate)
        }
    }

    /// The `startedBy` of a task: identifies it also where tags are denied.
    pub(super) fn started_by(&self, run: RunName) -> String {
        format!("{}/{run}", self.installation)
    }

    /// The run of a task of ours, from its `startedBy`.
    pub(super) fn run_of(&self, started_by: Option<&str>) -> Option<RunName> {
        let (installation, run) = started_by?.split_once('/')?;
        if installation == self.installation { run.parse().ok() } else { None }
    }

    fn network(&self) -> NetworkConfiguration {
        let ip = if self.public_ip { AssignPublicIp::Enabled } else { AssignPublicIp::Disabled };
        let vpc = AwsVpcConfiguration::builder()
            .set_subnets(Some(self.subnets.clone()))
            .set_security_groups(Some(self.security_groups.clone()))
            .assign_public_ip(ip)
            .build();
        // There are subnets: the settings require them.
        NetworkConfiguration::builder().set_awsvpc_configuration(vpc.ok()).build()
    }

    fn tags(&self, run: RunName) -> Vec<Tag> {
        labels::of(&self.installation, run)
            .map(|(key, value)| Tag::builder().key(key).value(value).build())
            .into()
    }
}

/// The order's variables, and nothing else: those of the config travel in the task order.
fn overridden(order: &LaunchOrder) -> ContainerOverride {
    let env = order
        .env
        .iter()
        .map(|(name, value)| KeyValuePair::builder().name(name).value(value.expose()).build());
    ContainerOverride::builder().name(CONTAINER).set_environment(Some(env.collect())).build()
}

fn spot_strategy() -> Option<Vec<CapacityProviderStrategyItem>> {
    let item = CapacityProviderStrategyItem::builder().capacity_provider("FARGATE_SPOT").weight(1).build();
    item.ok().map(|item| vec![item])
}

#[cfg(test)]
mod tests;
