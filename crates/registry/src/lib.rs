//! A client for OCI registries: reads images, and publishes one index for several architectures.
//!
//! It implements the few requests of the OCI distribution specification that Bakery needs. `guard` decides which
//! addresses are allowed, `transport` sends one request, `challenge`, `login` and `token` authenticate, `client` is one
//! repository, `manifest` reads and writes manifests and indexes.

#![deny(missing_docs)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bakery_core::image::{Digest, ImageRef};
use bakery_core::limits;
use bakery_core::names::Arch;
use bakery_core::reason::Reason;
use bakery_core::spec::Credential;
use bakery_core::vars::Vars;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

mod challenge;
mod client;
mod guard;
mod login;
mod manifest;
#[cfg(test)]
mod tests;
mod token;
mod transport;

use client::{Actions, Repository, Shared};
use login::Login;
use manifest::{Content, Entry};

/// How long the question may take whether a push that was not answered was taken.
const LAST_LOOK: Duration = Duration::from_secs(15);

/// What the operator decides about registries.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// The header `User-Agent` of every request, as `PROGRAM/VERSION`.
    pub user_agent: String,
    /// `INSECURE_REGISTRIES`: hosts (with their port) that may be spoken to over plain HTTP.
    pub insecure: Vec<String>,
    /// True in the single-machine default: registries on loopback are spoken to, over plain HTTP too. Otherwise
    /// loopback is refused unless the operator named it.
    pub loopback_http: bool,
    /// `PUBLISH_ALLOW`: prefixes (`registry.example.com/shop`) of what may be published. Empty = everything, with the
    /// build's credentials. The server's own docker config is used below these prefixes only.
    pub publish_allow: Vec<String>,
    /// The server's own logins, in the form of docker's `config.json`; it need not exist. See [`docker_config`].
    pub docker_config: Option<PathBuf>,
    /// How patient the client is.
    pub patience: Patience,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            user_agent: concat!("bakery/", env!("CARGO_PKG_VERSION")).to_owned(),
            insecure: Vec::new(),
            loopback_http: false,
            publish_allow: Vec::new(),
            docker_config: None,
            patience: Patience::default(),
        }
    }
}

/// Waiting times that are no settings of the operator's.
#[derive(Debug, Clone)]
pub struct Patience {
    /// One request, its answer included.
    pub request: Duration,
    /// How long a publishing may begin anything, repetitions included.
    pub publishing: Duration,
    /// How long the answer to a push that is under way then is waited for.
    pub push_answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            request: Duration::from_mins(1),
            publishing: limits::PUBLISHING,
            push_answer: limits::PUSH_ANSWER,
        }
    }
}

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

/// Why a registry did not do as it was told. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct RegistryError {
    /// The machine's word.
    pub reason: Reason,
    /// For people: which registry and repository, what was tried, what came back.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A client for every registry. Keeps connections and tokens; share it.
#[derive(Debug)]
pub struct Registry {
    settings: RegistrySettings,
    shared: Shared,
}

impl Registry {
    /// A client with these settings. Connects to nothing yet.
    pub fn new(settings: RegistrySettings) -> Self {
        let shared = Shared::new(&settings);
        Self { settings, shared }
    }

    /// Whether `PUBLISH_ALLOW` lets this server publish `destination`; asked before anything is promised.
    pub fn may_publish(&self, destination: &ImageRef) -> Result<(), RegistryError> {
        let allow = &self.settings.publish_allow;
        if allow.is_empty() || login::is_below(destination, allow) {
            return Ok(());
        }
        Err(RegistryError {
            reason: Reason::PushRefused,
            text: format!("{destination}: this server publishes below {} only", allow.join(", ")),
            hint: Some(
                "choose a destination below one of these, or ask the operator (PUBLISH_ALLOW)".to_owned(),
            ),
        })
    }

    /// Publishes `destination` as an index of `members`, and returns the index's digest.
    ///
    /// Every member is read first and must be for its architecture ([`Reason::WrongArch`]); the index is pushed last,
    /// so the destination never points at half a result. The same call again gives the same digest and pushes nothing
    /// that is there. A destination without a tag means `latest`.
    ///
    /// It ends within [`Patience::publishing`] and what a push that is under way then may take. A `cancel` ends it at once
    /// ([`Reason::Cancelled`]) as long as nothing was pushed; from then on only repetitions are left out, and what is
    /// returned is what became of the push.
    pub async fn publish_index(
        &self,
        destination: &ImageRef,
        members: &[Member],
        creds: &[Credential],
        cancel: &CancellationToken,
    ) -> Result<Digest, RegistryError> {
        self.may_publish(destination)?;
        let within = self.settings.patience.publishing;
        let watch = Watch { destination, cancel, within, deadline: Instant::now() + within };
        let enough = cancel.child_token();
        let own = login::is_below(destination, &self.settings.publish_allow);
        let login = watch.over(self.login(destination, creds, own)).await?;
        let tag = destination.tag_or_latest();
        let ready = async {
            let repository =
                self.shared.repository(destination, Actions::PullPush, &login, enough.clone()).await?;
            let (media_type, bytes) = assemble(&repository, destination, members).await?;
            let digest = Digest::of(&bytes);
            let there = repository.digest(tag).await?.as_ref() == Some(&digest);
            Ok((repository, media_type, bytes, digest, there))
        };
        let (repository, media_type, bytes, digest, there) = watch.over(ready).await?;
        if there {
            return Ok(digest);
        }
        let mut push = std::pin::pin!(repository.put(tag, &media_type, bytes.into()));
        let pushed = tokio::select! {
            pushed = &mut push => pushed,
            () = tokio::time::sleep_until(watch.deadline) => {
                enough.cancel();
                let last = tokio::time::timeout(self.settings.patience.push_answer, push).await;
                last.unwrap_or_else(|_| Err(watch.late()))
            }
        };
        match pushed {
            Ok(()) => Ok(digest),
            Err(error) if error.reason == Reason::RegistryUnreachable => {
                self.settle(&watch, digest, creds, error).await
            }
            Err(error) => Err(error),
        }
    }

    /// A push that was not answered may have been taken all the same: the registry is asked once more.
    async fn settle(
        &self,
        watch: &Watch<'_>,
        digest: Digest,
        creds: &[Credential],
        error: RegistryError,
    ) -> Result<Digest, RegistryError> {
        let asked = tokio::time::timeout(LAST_LOOK, self.digest_of(watch.destination, creds)).await;
        let known = match asked {
            Ok(Ok(Some(there))) if there == digest => return Ok(digest),
            Ok(Ok(_)) => "the index is not there",
            Ok(Err(_)) | Err(_) => "whether the index is there is not known",
        };
        let why = if watch.cancel.is_cancelled() { " (cancelled in the middle of the push)" } else { "" };
        let hint =
            format!("look at {} in the registry; the same build again publishes it", watch.destination);
        let hint = error.hint.clone().unwrap_or(hint);
        Err(RegistryError { text: format!("{}; {known}{why}", error.text), hint: Some(hint), ..error })
    }

    /// The digest that `image` has in its registry now; `None` where it is not there.
    pub async fn digest_of(
        &self,
        image: &ImageRef,
        creds: &[Credential],
    ) -> Result<Option<Digest>, RegistryError> {
        let login = self.login(image, creds, login::is_below(image, &self.settings.publish_allow)).await?;
        let never = CancellationToken::new();
        let repository = self.shared.repository(image, Actions::Pull, &login, never).await?;
        repository.digest(&reference(image)).await
    }

    /// The digest of each architecture's manifest behind `image`: those of an index, or the one of a plain image.
    ///
    /// For images that the operator names: where `creds` hold no login, the server's own docker config is asked.
    pub async fn platforms_of(
        &self,
        image: &ImageRef,
        creds: &[Credential],
    ) -> Result<BTreeMap<Arch, Digest>, RegistryError> {
        let login = self.login(image, creds, true).await?;
        let never = CancellationToken::new();
        let repository = self.shared.repository(image, Actions::Pull, &login, never).await?;
        let what = format!("looking up the architectures of {image}");
        let Some(document) = repository.manifest(&reference(image)).await? else {
            let hint = Some("check its name and tag".to_owned());
            return Err(repository.error(Reason::ImagePull, &what, "there is no such image", hint));
        };
        match document.content {
            Content::Index(index) => Ok(manifest::platforms(&index).into_iter().collect()),
            Content::Image(image) => {
                let config = repository.config(image.config().digest().as_ref()).await?;
                let arch = manifest::arch_of(&config.os, &config.architecture);
                Ok(arch.map(|arch| (arch, document.digest)).into_iter().collect())
            }
        }
    }

    /// The server's own login for an image that the operator names, from its docker config.
    pub async fn operators_login(&self, image: &ImageRef) -> Result<Option<Credential>, RegistryError> {
        Ok(match self.login(image, &[], true).await? {
            Login::Anonymous => None,
            Login::Password { username, password } => {
                Some(Credential { registry: image.registry.clone(), username, password })
            }
            Login::Identity(password) => {
                let username = login::IDENTITY_USER.to_owned();
                Some(Credential { registry: image.registry.clone(), username, password })
            }
        })
    }

    /// The build's login, else our own where that is allowed.
    async fn login(&self, image: &ImageRef, creds: &[Credential], own: bool) -> Result<Login, RegistryError> {
        let login = Login::among(&image.registry, creds);
        let Some(config) = self.settings.docker_config.clone().filter(|_| own && login == Login::Anonymous)
        else {
            return Ok(login);
        };
        login::own(&image.registry, config).await.map_err(|why| RegistryError {
            reason: Reason::CredentialsRefused,
            text: format!("{image}: {why}"),
            hint: Some("look at the docker config of the server (DOCKER_CONFIG)".to_owned()),
        })
    }
}

/// A publishing before its push: nothing has happened yet, so it may end at any moment.
struct Watch<'a> {
    destination: &'a ImageRef,
    cancel: &'a CancellationToken,
    within: Duration,
    deadline: Instant,
}

impl Watch<'_> {
    async fn over<T>(
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
            () = tokio::time::sleep_until(self.deadline) => Err(self.late()),
            done = work => done,
        }
    }

    fn late(&self) -> RegistryError {
        let (destination, within) = (self.destination, self.within.as_secs());
        RegistryError {
            reason: Reason::RegistryUnreachable,
            text: format!(
                "publishing {destination}: not done within {within}s: the registry {} does not answer \
                 in time",
                destination.registry
            ),
            hint: Some("look at the registry and what stands before it".to_owned()),
        }
    }
}

/// Where docker keeps its logins: below `DOCKER_CONFIG`, else below `HOME`.
pub fn docker_config(vars: &dyn Vars) -> Option<PathBuf> {
    let below_home = || vars.setting("HOME").map(|home| PathBuf::from(home).join(".docker"));
    let folder = vars.setting("DOCKER_CONFIG").map(PathBuf::from).or_else(below_home)?;
    Some(folder.join("config.json"))
}

/// Tag or digest, as the protocol's path wants it; a digest wins.
fn reference(image: &ImageRef) -> String {
    image.digest.as_ref().map_or_else(|| image.tag_or_latest().to_owned(), ToString::to_string)
}

/// Reads every member; gives the index's media type and bytes.
async fn assemble(
    repository: &Repository<'_>,
    destination: &ImageRef,
    members: &[Member],
) -> Result<(String, Vec<u8>), RegistryError> {
    let what = format!("publishing {destination}");
    let internal = |why: &str| repository.error(Reason::Internal, &what, why, None);
    let mut entries = Vec::with_capacity(members.len());
    for member in members {
        if member.image.name() != destination.name() {
            let image = &member.image;
            return Err(internal(&format!(
                "{image} lies in another repository, where an index cannot reach it"
            )));
        }
        entries.push(check(repository, &what, member).await?);
    }
    manifest::index(&entries).map_err(|why| internal(&why))
}

/// Reads one member and holds it to its architecture.
async fn check(repository: &Repository<'_>, what: &str, member: &Member) -> Result<Entry, RegistryError> {
    let refuse = |reason, why: String| Err(repository.error(reason, what, &why, None));
    let Some(document) = repository.manifest(member.digest.as_str()).await? else {
        return refuse(Reason::PushRefused, format!("{}@{} is not there", member.image, member.digest));
    };
    let Content::Image(image) = &document.content else {
        return refuse(Reason::WrongArch, format!("{} is an index itself, not one image", member.image));
    };
    let config = repository.config(image.config().digest().as_ref()).await?;
    if manifest::arch_of(&config.os, &config.architecture) != Some(member.arch) {
        let is = format!("{}/{}", config.os, config.architecture);
        return refuse(
            Reason::WrongArch,
            format!("{} is for {is}, not for linux/{}", member.image, member.arch),
        );
    }
    Ok(Entry { document, arch: member.arch, variant: config.variant.filter(|variant| !variant.is_empty()) })
}
