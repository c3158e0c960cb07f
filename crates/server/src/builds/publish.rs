//! Publishing: one index for the images of a target, or a look at its only image. It is idempotent by digest, so that a
//! restart does it again.

use bakery_core::image::Digest;
use bakery_core::lifecycle::{Cause, Ending};
use bakery_core::message::Message;
use bakery_core::reason::Reason;
use bakery_core::spec::{Credential, TaskSpec};
use tokio_util::sync::CancellationToken;

use super::settings::Publisher;
use super::state::BuildState;
use bakery_registry::{Member, PushedCheck, RegistryError};

/// What has to be published for a target of which everything is baked.
pub(super) struct PublishJob {
    destination: bakery_core::image::ImageRef,
    members: Vec<Member>,
    index: bool,
    credentials: Vec<Credential>,
}

impl PublishJob {
    /// `None` if the target has no destination, or is not baked.
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
            index: plan.index,
            credentials,
        })
    }

    /// Checks every image, then pushes the index; a single image is looked up under its tag. After a `cancel` the result
    /// says whether it was pushed. The message says what could not be checked, or that the tag is another image by now.
    pub(super) async fn run(
        self,
        publisher: &dyn Publisher,
        cancel: &CancellationToken,
    ) -> (Result<Digest, Cause>, Option<Message>) {
        let cause =
            |error: RegistryError| Cause::new(error.reason, Message { text: error.text, hint: error.hint });
        if self.index {
            let done = publisher.publish_index(&self.destination, &self.members, &self.credentials, cancel);
            return (done.await.map_err(cause), None);
        }
        let Some(Member { image, digest, .. }) = self.members.into_iter().next() else {
            return (Err(Cause::new(Reason::Internal, "the target has no image")), None);
        };
        match publisher.check_pushed(&image, &digest, &self.credentials, cancel).await {
            PushedCheck::Confirmed => (Ok(digest), None),
            PushedCheck::Moved(message) => (Ok(digest), Some(message)),
            PushedCheck::Contradicted(error) => (Err(cause(error)), None),
            PushedCheck::Unknown(error) => {
                let text = format!("pushed, not verified: {}", error.text);
                (Ok(digest), Some(Message { text, hint: error.hint }))
            }
        }
    }
}
