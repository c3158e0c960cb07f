//! The agent image of each architecture: finding and pulling it.

use std::collections::BTreeMap;
use std::time::Duration;

use bakery_core::image::{DOCKER_HUB, DOCKER_HUB_LOGIN, Digest, ImageRef};
use bakery_core::message::Message;
use bakery_core::names::Arch;
use bakery_core::reason::Reason;
use bakery_core::spec::Credential;
use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt as _;
use tokio::sync::Mutex;

use super::super::LaunchError;
use super::engine::{Engine, bare_text, unanswered};
use super::order::arch_of;

/// How long a start waits for the registry's answer.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(15);

/// The agent images as they were found at start.
#[derive(Debug)]
pub(super) struct AgentImages {
    found: BTreeMap<Arch, AgentImage>,
    /// Why there is no image for an architecture that was wanted.
    missing: BTreeMap<Arch, String>,
    login: Option<Credential>,
}

#[derive(Debug)]
struct AgentImage {
    image: ImageRef,
    /// Held while the image is looked up or pulled: one pull at a time for one architecture, others go on.
    pulling: Mutex<()>,
}

impl AgentImages {
    /// Finds an image for each architecture wanted.
    ///
    /// The engine's own copy comes first (under the name itself, or under the name that a build gives one architecture:
    /// `tag_<arch>`); for the rest the registry is asked, and its answer pinned by digest, since an engine's store
    /// keeps one architecture a tag. Without an answer the engine's own architecture stays pullable by name.
    pub(super) async fn find(
        engine: &Engine,
        image: &ImageRef,
        wanted: &[Arch],
        login: Option<Credential>,
        lookup: impl AsyncFnOnce(&ImageRef) -> Result<BTreeMap<Arch, Digest>, String>,
    ) -> Self {
        let mut found = own_copies(engine, image, wanted).await;
        let mut missing = BTreeMap::new();
        if wanted.iter().any(|arch| !found.contains_key(arch)) {
            let there = tokio::time::timeout(LOOKUP_TIMEOUT, lookup(image)).await;
            let there = there.unwrap_or_else(|_| Err(format!("{} does not answer", image.registry)));
            for &arch in wanted.iter().filter(|arch| !found.contains_key(arch)).collect::<Vec<_>>() {
                match &there {
                    Ok(there) if there.contains_key(&arch) => {
                        found.insert(arch, image.with_digest(there[&arch].clone()));
                    }
                    Ok(_) => {
                        missing
                            .insert(arch, format!("the agent image {image} has no variant for linux/{arch}"));
                    }
                    Err(_) if arch == engine.arch => {
                        found.insert(arch, image.clone());
                    }
                    Err(why) => {
                        let text = format!("no agent image for linux/{arch}: the engine has none, and {why}");
                        missing.insert(arch, text);
                    }
                }
            }
        }
        let agent_image = |image| AgentImage { image, pulling: Mutex::new(()) };
        let found = found.into_iter().map(|(arch, image)| (arch, agent_image(image))).collect();
        Self { found, missing, login }
    }

    /// Whether there is an image for the architecture.
    pub(super) fn has(&self, arch: Arch) -> bool {
        self.found.contains_key(&arch)
    }

    /// Why there is no image for a wanted architecture.
    pub(super) fn why_missing(&self, arch: Arch) -> Option<&str> {
        self.missing.get(&arch).map(String::as_str)
    }

    /// The image's name in the engine, after it was pulled if need be; `report` receives a message before a pull.
    pub(super) async fn ready(
        &self,
        engine: &Engine,
        arch: Arch,
        report: impl Fn(String) + Send,
    ) -> Result<String, LaunchError> {
        let refuse =
            |text: String| LaunchError { retryable: false, reason: Reason::NoSuchArch, message: text.into() };
        let Some(agent_image) = self.found.get(&arch) else {
            return Err(refuse(format!("no agent image for linux/{arch}")));
        };
        let name = agent_image.image.to_string();
        let _one = agent_image.pulling.lock().await;
        match local(engine, &name).await {
            Ok(Some(has)) if has == arch => return Ok(name),
            Ok(_) => {}
            Err(error) => return Err(engine.launch_error("looking for the agent image", &error)),
        }
        report(format!("pulling the agent image {name} for linux/{arch}"));
        pull(engine, &agent_image.image, arch, self.login.as_ref()).await?;
        match local(engine, &name).await {
            Ok(Some(has)) if has == arch => Ok(name),
            Ok(Some(has)) => {
                Err(refuse(format!("the agent image {name} is for linux/{has}, not linux/{arch}")))
            }
            Ok(None) => Err(refused(&name, "it was pulled, but the engine does not have it")),
            Err(error) => Err(engine.launch_error("looking for the agent image", &error)),
        }
    }
}

/// The engine's own copies of the agent image: under its name, or under the name that a build gives one architecture.
pub async fn own_copies(engine: &Engine, image: &ImageRef, wanted: &[Arch]) -> BTreeMap<Arch, ImageRef> {
    let mut found = BTreeMap::new();
    for &arch in wanted {
        for name in [image.clone(), image.for_arch(arch, 1)] {
            let own = if image.digest.is_some() { image.clone() } else { name };
            if local(engine, &own.to_string()).await.ok().flatten() == Some(arch) {
                found.insert(arch, own);
                break;
            }
        }
    }
    found
}

/// The architecture of the engine's copy of an image; `None` where it has none.
async fn local(engine: &Engine, name: &str) -> Result<Option<Arch>, Error> {
    match engine.docker.inspect_image(name).await {
        Ok(image) => Ok(image.architecture.as_deref().and_then(arch_of)),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn pull(
    engine: &Engine,
    image: &ImageRef,
    arch: Arch,
    login: Option<&Credential>,
) -> Result<(), LaunchError> {
    let platform = format!("linux/{arch}");
    let reference =
        image.digest.as_ref().map_or_else(|| image.tag_or_latest().to_owned(), ToString::to_string);
    let options = CreateImageOptionsBuilder::new()
        .from_image(&image.name())
        .tag(&reference)
        .platform(&platform)
        .build();
    let credentials = login.map(engine_login);
    let mut progress = std::pin::pin!(engine.docker.create_image(Some(options), None, credentials));
    while let Some(step) = progress.next().await {
        step.map_err(|error| {
            // An engine that is gone is not a fault of the image.
            if unanswered(&error) {
                engine.launch_error("pulling the agent image", &error)
            } else {
                refused(&image.to_string(), &bare_text(&error))
            }
        })?;
    }
    Ok(())
}

/// A login as the engine takes it; docker's tools keep an identity token under the user name `<token>`.
fn engine_login(login: &Credential) -> DockerCredentials {
    let secret = Some(login.password.expose().to_owned());
    // Engines accept Docker Hub's logins under this name alone.
    let hub = login.registry == DOCKER_HUB;
    let serveraddress = Some(if hub { DOCKER_HUB_LOGIN.to_owned() } else { login.registry.clone() });
    if login.username == "<token>" {
        return DockerCredentials { identitytoken: secret, serveraddress, ..DockerCredentials::default() };
    }
    let username = Some(login.username.clone());
    DockerCredentials { username, password: secret, serveraddress, ..DockerCredentials::default() }
}

fn refused(name: &str, why: &str) -> LaunchError {
    let message = Message::new(format!("the agent image {name} cannot be pulled: {why}"))
        .with_hint("check AGENT_IMAGE, and that the engine reaches its registry");
    LaunchError { retryable: false, reason: Reason::ImagePull, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_to_docker_hub_has_the_address_that_engines_expect() {
        let address = |registry: &str| {
            let (registry, username) = (registry.to_owned(), "me".to_owned());
            engine_login(&Credential { registry, username, password: "crumbs".into() }).serveraddress
        };
        assert_eq!(address("docker.io").as_deref(), Some("https://index.docker.io/v1/"));
        assert_eq!(address("reg.test:5000").as_deref(), Some("reg.test:5000"));
    }
}
