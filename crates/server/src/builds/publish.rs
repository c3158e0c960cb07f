//! Publishing: one index for the images of a target, or a look at its only image. It is idempotent by digest, so that a
//! restart does it again.

use bakery_core::image::{Digest, ImageRef};
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
    names: Vec<PublishedName>,
    index: bool,
    credentials: Vec<Credential>,
}

/// One name of a target, and the images that were pushed for it.
struct PublishedName {
    name: ImageRef,
    members: Vec<Member>,
}

impl PublishJob {
    /// `None` if the target has no destination, or is not baked.
    pub(super) fn of(state: &BuildState, target: usize, specs: &[TaskSpec]) -> Option<Self> {
        let plan = &state.plan.targets[target];
        let member = |index: usize, nth: usize| {
            let task = &state.plan.tasks[index];
            let Some(Ending::Baked { digest }) = state.tasks[index].task.ending() else { return None };
            let image = task.push_to.iter().chain(&task.also_push_to).nth(nth)?.clone();
            Some(Member { image, digest: digest.clone(), arch: task.arch })
        };
        let names = plan.names().enumerate().map(|(nth, name)| {
            let members = plan.tasks.iter().map(|&index| member(index, nth)).collect::<Option<_>>()?;
            Some(PublishedName { name: name.clone(), members })
        });
        let names: Vec<_> = names.collect::<Option<_>>()?;
        let mut credentials: Vec<Credential> = Vec::new();
        for credential in plan.tasks.iter().filter_map(|&index| specs.get(index)).flat_map(|s| &s.credentials)
        {
            // One login a registry: the first task's, as for its own push.
            if credentials.iter().all(|known| known.registry != credential.registry) {
                credentials.push(credential.clone());
            }
        }
        (!names.is_empty()).then_some(Self { names, index: plan.index, credentials })
    }

    /// For each name: checks every image, then pushes the index; a single image is looked up under its tag. The first name
    /// that fails ends it. After a `cancel` the result says whether all were pushed. The messages say what could not be
    /// checked, that a tag is another image by now, and which names were published before the one that failed.
    pub(super) async fn run(
        self,
        publisher: &dyn Publisher,
        cancel: &CancellationToken,
    ) -> (Result<Digest, Cause>, Vec<Message>) {
        let mut messages = Vec::new();
        // The same members make the same index under each name.
        let mut done = Err(Cause::new(Reason::Internal, "the target has no image"));
        for (nth, name) in self.names.iter().enumerate() {
            let (result, message) = self.publish(name, publisher, cancel).await;
            messages.extend(message);
            done = result;
            if done.is_err() {
                let before: Vec<_> = self.names[..nth].iter().map(|it| it.name.to_string()).collect();
                if !before.is_empty() {
                    messages.push(Message::new(format!("already published: {}", before.join(", "))));
                }
                break;
            }
        }
        (done, messages)
    }

    async fn publish(
        &self,
        PublishedName { name, members }: &PublishedName,
        publisher: &dyn Publisher,
        cancel: &CancellationToken,
    ) -> (Result<Digest, Cause>, Option<Message>) {
        let cause =
            |error: RegistryError| Cause::new(error.reason, Message { text: error.text, hint: error.hint });
        if self.index {
            let done = publisher.publish_index(name, members, &self.credentials, cancel);
            return (done.await.map_err(cause), None);
        }
        let Some(Member { image, digest, .. }) = members.first() else {
            return (Err(Cause::new(Reason::Internal, "the target has no image")), None);
        };
        let digest = digest.clone();
        match publisher.check_pushed(image, &digest, &self.credentials, cancel).await {
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
