//! Whether a registry holds what a task says that it has pushed.

use std::time::Duration;

use bakery_core::image::{Digest, ImageRef};
use bakery_core::reason::Reason;
use bakery_core::spec::Credential;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::login::{self, Login};
use crate::repository::Access;
use crate::{Registry, RegistryError, reference};

/// How long a check may take: the image is pushed, and only the answer to a question is missing.
const LIMIT: Duration = Duration::from_secs(15);

/// What a registry says about a pushed image.
#[derive(Debug)]
pub enum PushedCheck {
    /// The tag is the reported image.
    Confirmed,
    /// The registry cannot be asked, or does not show the repository to this login.
    Unknown(RegistryError),
    /// The tag is another image, or does not exist.
    Contradicted(RegistryError),
}

impl Registry {
    /// Looks up the tag of `image`, which a task reports to have pushed with this digest. Takes 15 s at most; `cancel`
    /// ends it at once.
    pub async fn check_pushed(
        &self,
        image: &ImageRef,
        reported: &Digest,
        creds: &[Credential],
        cancel: &CancellationToken,
    ) -> PushedCheck {
        let unknown = |text: &str| {
            let text = format!("{image}: {text}");
            PushedCheck::Unknown(RegistryError { reason: Reason::RegistryUnreachable, text, hint: None })
        };
        let check = timeout(LIMIT, self.check_tag(image, reported, creds));
        match cancel.run_until_cancelled(check).await {
            Some(Ok(Ok(check))) => check,
            Some(Ok(Err(error))) => PushedCheck::Unknown(error),
            Some(Err(_)) => unknown(&format!("the registry did not respond within {} s", LIMIT.as_secs())),
            None => unknown("the build was cancelled"),
        }
    }

    async fn check_tag(
        &self,
        image: &ImageRef,
        reported: &Digest,
        creds: &[Credential],
    ) -> Result<PushedCheck, RegistryError> {
        let login = self.login(image, creds, login::is_below(image, &self.settings.publish_allow)).await?;
        let no_retry = CancellationToken::new();
        let repository = self.state.repository(image, Access::Pull, &login, no_retry).await?;
        let actual = repository.digest(&reference(image)).await?;
        if actual.as_ref() == Some(reported) {
            return Ok(PushedCheck::Confirmed);
        }
        let (what, hint) = match &actual {
            Some(actual) => (
                format!("has {actual}"),
                "build again; if no other build pushed this tag at the same time, a RUN step changed Kaniko's files",
            ),
            None => (
                "does not have it".to_owned(),
                "a RUN step must not redirect the name of the registry to itself",
            ),
        };
        let text = format!("the task reported {image}@{reported}, but the registry {what}");
        let error = RegistryError { reason: Reason::DigestMismatch, text, hint: Some(hint.to_owned()) };
        // Some registries do not show a repository to anonymous callers, and say that it does not exist.
        let hidden = actual.is_none() && login == Login::Anonymous && repository.has_token();
        Ok(if hidden { PushedCheck::Unknown(error) } else { PushedCheck::Contradicted(error) })
    }
}
