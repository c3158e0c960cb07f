//! Publishing one index over several images.

use std::time::Duration;

use bakery_core::image::{Digest, ImageRef};
use bakery_core::names::Arch;
use bakery_core::reason::Reason;
use bakery_core::spec::Credential;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::manifest::{self, IndexEntry, ManifestContent};
use crate::repository::{Access, Repository};
use crate::{Registry, RegistryError, login};

/// How long the lookup may take that finds out whether an unanswered push was stored.
const LAST_LOOKUP: Duration = Duration::from_secs(15);

/// One image of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it was pushed: the destination's own repository.
    pub image: ImageRef,
    /// Digest of its manifest.
    pub digest: Digest,
    /// The architecture that it must be for.
    pub arch: Arch,
}

impl Registry {
    /// Whether `PUBLISH_ALLOW` permits publishing `destination`. Sends no request.
    pub fn may_publish(&self, destination: &ImageRef) -> Result<(), RegistryError> {
        let allow = &self.settings.publish_allow;
        if allow.is_empty() || login::is_below(destination, allow) {
            return Ok(());
        }
        Err(RegistryError {
            reason: Reason::PushRefused,
            text: format!("{destination} is not below a prefix that may be published: {}", allow.join(", ")),
            hint: Some(
                "choose a destination below one of these prefixes, or ask the operator to extend PUBLISH_ALLOW"
                    .to_owned(),
            ),
        })
    }

    /// Publishes `destination` as an index of `members`, and returns the index's digest.
    ///
    /// 1. Every member is read, and must be for its architecture ([`Reason::WrongArch`]).
    /// 2. Where the destination already is this index, nothing is pushed. The same members always give the same bytes.
    /// 3. The index is pushed last, so the destination never points at half a result.
    /// 4. A push without a response may have been stored all the same: the registry is asked once more.
    ///
    /// A destination without a tag means `latest`. The call returns within
    /// [`Timeouts::publishing`](crate::Timeouts::publishing) plus the time of a push that is in flight then. `cancel`
    /// ends it at once ([`Reason::Cancelled`]) as long as nothing was pushed; from then on it only stops retries, and
    /// the result is that of the push.
    pub async fn publish_index(
        &self,
        destination: &ImageRef,
        members: &[Member],
        creds: &[Credential],
        cancel: &CancellationToken,
    ) -> Result<Digest, RegistryError> {
        self.may_publish(destination)?;
        let within = self.settings.timeouts.publishing;
        let bounds = PublishBounds { destination, cancel, within, deadline: Instant::now() + within };
        let no_retry = cancel.child_token();
        let own = login::is_below(destination, &self.settings.publish_allow);
        let login = bounds.apply(self.login(destination, creds, own)).await?;
        let tag = destination.tag_or_latest();
        let prepare = async {
            let repository =
                self.state.repository(destination, Access::PullPush, &login, no_retry.clone()).await?;
            let (media_type, bytes) = assemble(&repository, destination, members).await?;
            let digest = Digest::of(&bytes);
            let exists = repository.digest(tag).await?.as_ref() == Some(&digest);
            Ok((repository, media_type, bytes, digest, exists))
        };
        let (repository, media_type, bytes, digest, exists) = bounds.apply(prepare).await?;
        if exists {
            return Ok(digest);
        }
        let mut push = std::pin::pin!(repository.put(tag, &media_type, bytes.into()));
        let pushed = tokio::select! {
            pushed = &mut push => pushed,
            () = tokio::time::sleep_until(bounds.deadline) => {
                no_retry.cancel();
                let last = tokio::time::timeout(self.settings.timeouts.push_response, push).await;
                last.unwrap_or_else(|_| Err(bounds.exceeded()))
            }
        };
        match pushed {
            Ok(()) => Ok(digest),
            Err(error) if error.reason == Reason::RegistryUnreachable => {
                self.look_again(&bounds, digest, creds, error).await
            }
            Err(error) => Err(error),
        }
    }

    /// Asks the registry whether a push that got no response was stored.
    async fn look_again(
        &self,
        bounds: &PublishBounds<'_>,
        digest: Digest,
        creds: &[Credential],
        error: RegistryError,
    ) -> Result<Digest, RegistryError> {
        let lookup = tokio::time::timeout(LAST_LOOKUP, self.digest_of(bounds.destination, creds)).await;
        let state = match lookup {
            Ok(Ok(Some(stored))) if stored == digest => return Ok(digest),
            Ok(Ok(_)) => "the index was not stored",
            Ok(Err(_)) | Err(_) => "it is unknown whether the index was stored",
        };
        let cancelled = if bounds.cancel.is_cancelled() { " (cancelled during the push)" } else { "" };
        let hint = error.hint.clone().unwrap_or_else(|| {
            format!("check {} in the registry; running the same build again publishes it", bounds.destination)
        });
        Err(RegistryError { text: format!("{}; {state}{cancelled}", error.text), hint: Some(hint), ..error })
    }
}

/// Deadline and cancellation of a publishing before its push: nothing was changed yet, so it may end at any moment.
struct PublishBounds<'a> {
    destination: &'a ImageRef,
    cancel: &'a CancellationToken,
    within: Duration,
    deadline: Instant,
}

impl PublishBounds<'_> {
    async fn apply<T>(
        &self,
        work: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(RegistryError {
                reason: Reason::Cancelled,
                text: format!("{}: cancelled before the index was pushed", self.destination),
                hint: None,
            }),
            () = tokio::time::sleep_until(self.deadline) => Err(self.exceeded()),
            done = work => done,
        }
    }

    fn exceeded(&self) -> RegistryError {
        let (destination, within) = (self.destination, self.within.as_secs());
        let registry = &destination.registry;
        RegistryError {
            reason: Reason::RegistryUnreachable,
            text: format!(
                "publishing {destination} took longer than {within} s: the registry {registry} did not respond in time"
            ),
            hint: Some("check the registry, and any proxy in front of it".to_owned()),
        }
    }
}

/// Reads every member; returns the index's media type and bytes.
async fn assemble(
    repository: &Repository<'_>,
    destination: &ImageRef,
    members: &[Member],
) -> Result<(String, Vec<u8>), RegistryError> {
    let action = format!("publishing {destination}");
    let internal = |detail: &str| repository.error(Reason::Internal, &action, detail, None);
    let mut entries = Vec::with_capacity(members.len());
    for member in members {
        if member.image.name() != destination.name() {
            let image = &member.image;
            return Err(internal(&format!(
                "{image} is in another repository; an index refers to images of its own repository only"
            )));
        }
        entries.push(read_member(repository, &action, member).await?);
    }
    manifest::index(&entries).map_err(|detail| internal(&detail))
}

/// Reads one member and checks its architecture.
async fn read_member(
    repository: &Repository<'_>,
    action: &str,
    member: &Member,
) -> Result<IndexEntry, RegistryError> {
    let refuse = |reason, detail: String| Err(repository.error(reason, action, &detail, None));
    let (image, digest, arch) = (&member.image, &member.digest, member.arch);
    let Some(manifest) = repository.manifest(digest.as_str()).await? else {
        return refuse(Reason::PushRefused, format!("{image}@{digest} does not exist"));
    };
    let ManifestContent::Image(content) = &manifest.content else {
        return refuse(Reason::WrongArch, format!("{image} is an index, not a single image"));
    };
    let config = repository.config(content.config().digest().as_ref()).await?;
    if manifest::arch_of(&config.os, &config.architecture) != Some(arch) {
        let actual = format!("{}/{}", config.os, config.architecture);
        return refuse(Reason::WrongArch, format!("{image} is for {actual}, expected linux/{arch}"));
    }
    Ok(IndexEntry { manifest, arch, variant: config.variant.filter(|variant| !variant.is_empty()) })
}
