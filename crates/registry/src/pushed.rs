//! Whether a registry holds what a task says that it has pushed.
//!
//! 1. The tag is looked up. If it is the reported image, that is all.
//! 2. If it is not, the image is looked up by its digest. If it exists, another build has pushed the tag since.
//! 3. If it does not exist either, both are looked up again a few times: some registries show a push only after a while.

use std::time::Duration;

use bakery_core::image::{Digest, ImageRef};
use bakery_core::message::Message;
use bakery_core::reason::Reason;
use bakery_core::spec::Credential;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::login::{self, Login};
use crate::repository::Access;
use crate::{Registry, RegistryError, reference};

/// The waits before an image that was not found is looked up again.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1)];

/// What a registry says about a pushed image.
#[derive(Debug)]
pub enum PushedCheck {
    /// The tag is the reported image.
    Confirmed,
    /// The registry has the reported image, and its tag is another image by now, or none.
    Moved(Message),
    /// The registry cannot be asked, or does not show the repository to this login.
    Unknown(RegistryError),
    /// The registry does not have the reported image, neither under its tag nor under its digest.
    Contradicted(RegistryError),
}

impl Registry {
    /// Looks up `image`, which a task reports to have pushed with this digest. Takes
    /// [`Timeouts::pushed_check`](crate::Timeouts::pushed_check) at most; `cancel` ends it at once.
    pub async fn check_pushed(
        &self,
        image: &ImageRef,
        reported: &Digest,
        creds: &[Credential],
        cancel: &CancellationToken,
    ) -> PushedCheck {
        let within = self.settings.timeouts.pushed_check;
        let unknown = |text: &str| {
            let text = format!("{image}: {text}");
            PushedCheck::Unknown(RegistryError { reason: Reason::RegistryUnreachable, text, hint: None })
        };
        let mut contradiction = None;
        let check =
            timeout_at(Instant::now() + within, self.look_up(image, reported, creds, &mut contradiction));
        let check = cancel.run_until_cancelled(check).await;
        // What the registry has said counts more than that it says nothing any more.
        match (check, contradiction) {
            (Some(Ok(Ok(check))), _) => check,
            (None, _) => unknown("the build was cancelled"),
            (Some(_), Some(error)) => PushedCheck::Contradicted(error),
            (Some(Ok(Err(error))), None) => PushedCheck::Unknown(error),
            (Some(Err(_)), None) => {
                unknown(&format!("the registry did not respond within {} s", within.as_secs()))
            }
        }
    }

    /// The result of all lookups. `contradiction` is what the registry has said so far.
    async fn look_up(
        &self,
        image: &ImageRef,
        reported: &Digest,
        creds: &[Credential],
        contradiction: &mut Option<RegistryError>,
    ) -> Result<PushedCheck, RegistryError> {
        let login = self.login(image, creds, login::is_below(image, &self.settings.publish_allow)).await?;
        let no_retry = CancellationToken::new();
        let repository = self.state.repository(image, Access::Pull, &login, no_retry).await?;
        let mut pauses = PAUSES.into_iter();
        loop {
            let tag = repository.digest(&reference(image)).await?;
            if tag.as_ref() == Some(reported) {
                return Ok(PushedCheck::Confirmed);
            }
            if repository.digest(reported.as_str()).await?.as_ref() == Some(reported) {
                return Ok(PushedCheck::Moved(moved(image, reported, tag.as_ref())));
            }
            let error = mismatch(image, reported, tag.as_ref());
            // Some registries do not show a repository to anonymous callers, and say that it does not exist.
            if tag.is_none() && login == Login::Anonymous && repository.has_token() {
                return Ok(PushedCheck::Unknown(error));
            }
            let Some(pause) = pauses.next() else { return Ok(PushedCheck::Contradicted(error)) };
            *contradiction = Some(error);
            sleep(pause).await;
        }
    }
}

fn moved(image: &ImageRef, reported: &Digest, tag: Option<&Digest>) -> Message {
    let now = tag.map_or_else(|| "does not exist any more".to_owned(), |tag| format!("is {tag} by now"));
    Message::new(format!("{reported} was pushed, but the tag {image} {now}"))
        .with_hint("another build has pushed or removed the tag; use the digest, or a tag for each build")
}

fn mismatch(image: &ImageRef, reported: &Digest, tag: Option<&Digest>) -> RegistryError {
    let (what, hint) = match tag {
        Some(tag) => {
            (format!("has {tag}, and not the reported image"), "a RUN step must not change Kaniko's files")
        }
        None => {
            ("does not have it".to_owned(), "a RUN step must not redirect the name of the registry to itself")
        }
    };
    let text = format!("the task reported {image}@{reported}, but the registry {what}");
    RegistryError { reason: Reason::DigestMismatch, text, hint: Some(hint.to_owned()) }
}
