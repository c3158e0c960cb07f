//! Publishing: one index for the images of a target. It is idempotent by digest, so that a restart does it again.

use bakery_core::image::Digest;
use bakery_core::lifecycle::{Cause, Ending};
use bakery_core::message::Message;
use bakery_core::spec::{Credential, TaskSpec};
use tokio_util::sync::CancellationToken;

use super::settings::Publisher;
use super::state::BuildState;
use bakery_registry::Member;

/// What has to be published for a target of which everything is baked.
pub(super) struct PublishJob {
    destination: bakery_core::image::ImageRef,
    members: Vec<Member>,
    credentials: Vec<Credential>,
}

impl PublishJob {
    /// `None` if the target has no index, or is not baked.
    pub(super) fn of(state: &BuildState, target: usize, specs: &[TaskSpec]) -> Option<Self> {
        let plan = &state.plan.targets[target];
        let members = plan.tasks.iter().map(|&index| {
            let task = &state.plan.tasks[index];
            let Some(Ending::Baked { digest }) = state.tasks[index].task.ending() else { return None };
            Some(Member { image: task.push_to.clone()?, digest: digest.clone(), arch: task.arch })
        });
        let mut credentials: Vec<Credential> = Vec::new();
        for credential in plan.tasks.iter().filter_map(|&index| specs.get(index)).flat_map(|s| &s.credentials)
        {
            // One login a registry: the first task's, as for its own push.
            if credentials.iter().all(|known| known.registry != credential.registry) {
                credentials.push(credential.clone());
            }
        }
        Some(Self {
            destination: plan.destination.clone()?,
            members: members.collect::<Option<_>>()?,
            credentials,
        })
    }

    /// Checks every image, then pushes the index. After a `cancel` the result says whether it was pushed.
    pub(super) async fn run(
        self,
        publisher: &dyn Publisher,
        cancel: &CancellationToken,
    ) -> Result<Digest, Cause> {
        let done = publisher.publish_index(&self.destination, &self.members, &self.credentials, cancel).await;
        done.map_err(|error| Cause::new(error.reason, Message { text: error.text, hint: error.hint }))
    }
}
