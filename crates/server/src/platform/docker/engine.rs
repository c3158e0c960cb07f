//! Finding the engine, and the calls that several files make.

use std::borrow::Cow;
use std::path::Path;

use bakery_core::mask::{self, Form};
use bakery_core::message::{Hint, Message};
use bakery_core::names::Arch;
use bakery_core::reason::Reason;
use bakery_core::vars::Vars;
use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::RemoveContainerOptionsBuilder;

use super::super::LaunchError;
use super::order::arch_of;

/// Why there is no Docker platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct DockerError {
    /// What was tried and what happened.
    pub text: String,
    /// What to do about it.
    pub hint: String,
}

impl Hint for DockerError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.hint))
    }
}

/// An engine that answers.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(super) docker: Docker,
    /// Where it was found, without a login.
    pub host: String,
    /// The architecture of its machine.
    pub arch: Arch,
    /// Its cpus.
    pub cpus: u32,
    /// Its version, as it reports it.
    pub version: String,
}

impl Engine {
    /// The engine that `DOCKER_HOST` names, else the first of Docker's and Podman's sockets that answers.
    pub async fn find(vars: &dyn Vars) -> Result<Self, DockerError> {
        if let Some(host) = vars.setting("DOCKER_HOST") {
            return Self::connect(&host).await.map_err(|why| DockerError {
                // The client's own text may quote the address.
                text: without_login(&format!("DOCKER_HOST={host}: no Docker engine answers there: {why}")),
                hint: "start it, or unset DOCKER_HOST; unix:// and tcp:// (without TLS) are supported"
                    .to_owned(),
            });
        }
        let mut tried = Vec::new();
        for socket in sockets(vars) {
            if !Path::new(&socket).exists() {
                tried.push(format!("{socket} does not exist"));
                continue;
            }
            match Self::connect(&format!("unix://{socket}")).await {
                Ok(engine) => return Ok(engine),
                Err(why) => tried.push(format!("{socket}: {why}")),
            }
        }
        Err(DockerError {
            text: format!("no Docker engine was found ({})", tried.join("; ")),
            hint: "start Docker or Podman's socket, or name an engine in DOCKER_HOST".to_owned(),
        })
    }

    async fn connect(host: &str) -> Result<Self, String> {
        let docker = Docker::connect_with_host(host).map_err(|error| bare_text(&error))?;
        let docker = docker.negotiate_version().await.map_err(|error| bare_text(&error))?;
        let info = docker.info().await.map_err(|error| bare_text(&error))?;
        if info.os_type.as_deref().is_some_and(|os| os != "linux") {
            return Err("it does not run Linux containers".to_owned());
        }
        let machine = info.architecture.unwrap_or_default();
        let arch = arch_of(&machine)
            .ok_or_else(|| format!("its architecture is `{machine}`, neither amd64 nor arm64"))?;
        let cpus = info.ncpu.and_then(|cpus| u32::try_from(cpus).ok()).unwrap_or(1).max(1);
        Ok(Self {
            docker,
            host: without_login(host),
            arch,
            cpus,
            version: info.server_version.unwrap_or_default(),
        })
    }

    /// The text of an error of this engine, or on the way to it.
    pub(super) fn text_of(&self, error: &Error) -> String {
        let text = bare_text(error);
        if unanswered(error) {
            format!("the Docker engine at {} does not answer ({text})", self.host)
        } else {
            text
        }
    }

    /// The launch error that an error of the engine stands for. `doing`: what was tried.
    pub(super) fn launch_error(&self, doing: &str, error: &Error) -> LaunchError {
        let text = self.text_of(error);
        let has = |part: &str| text.contains(part);
        let (reason, retryable) = match error {
            _ if has("exec format error") => (Reason::NoSuchArch, false),
            _ if has("no space left on device") => (Reason::DiskFull, false),
            _ if has("cannot allocate memory") => (Reason::NoCapacity, true),
            Error::DockerResponseServerError { status_code: 400..500, .. } => (Reason::LaunchRefused, false),
            _ => (Reason::PlatformUnreachable, true),
        };
        let hint =
            unanswered(error).then(|| "start the engine again; the server reconnects by itself".to_owned());
        LaunchError { retryable, reason, message: Message { text: format!("{doing}: {text}"), hint } }
    }

    /// Removes a container, running or not. Succeeds where it is not there.
    pub(super) async fn remove(&self, name: &str) -> Result<(), Error> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.docker.remove_container(name, Some(options)).await {
            // 409: its removal is under way.
            Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) | Ok(()) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn without_login(text: &str) -> String {
    mask::text(text, Form::Plain)
}

/// The sockets that are tried where `DOCKER_HOST` is not set.
fn sockets(vars: &dyn Vars) -> Vec<String> {
    let rootless = vars.setting("XDG_RUNTIME_DIR").map(|folder| format!("{folder}/podman/podman.sock"));
    ["/var/run/docker.sock", "/run/podman/podman.sock"]
        .into_iter()
        .map(str::to_owned)
        .chain(rootless)
        .collect()
}

/// Whether the engine was not reached, or went away before it had answered.
pub(super) fn unanswered(error: &Error) -> bool {
    matches!(
        error,
        Error::HyperLegacyError { .. }
            | Error::HyperResponseError { .. }
            | Error::IOError { .. }
            | Error::RequestTimeoutError
            | Error::SocketNotFoundError(_)
    )
}

/// The text of an error without the client's own framing.
pub(super) fn bare_text(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        Error::DockerStreamError { error } => error.trim().to_owned(),
        other => {
            let first: &(dyn std::error::Error + 'static) = other;
            let last = std::iter::successors(Some(first), |error| error.source()).last();
            last.unwrap_or(first).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    impl Engine {
        /// An engine that was not asked whether it answers.
        pub(in super::super) fn unasked(host: &str) -> Self {
            let docker = Docker::connect_with_host(host).unwrap();
            Self { docker, host: host.to_owned(), arch: Arch::Amd64, cpus: 1, version: String::new() }
        }
    }

    #[tokio::test]
    async fn without_an_engine_every_socket_that_was_tried_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().display().to_string();
        let named = BTreeMap::from([("DOCKER_HOST".to_owned(), format!("unix://{folder}/none.sock"))]);
        let error = Engine::find(&named).await.unwrap_err();
        assert!(error.text.contains("none.sock") && error.hint.contains("DOCKER_HOST"), "{error}");
        let wrong = BTreeMap::from([("DOCKER_HOST".to_owned(), "ssh://host".to_owned())]);
        assert!(Engine::find(&wrong).await.is_err());
        let closed = BTreeMap::from([("DOCKER_HOST".to_owned(), "tcp://127.0.0.1:1".to_owned())]);
        let error = Engine::find(&closed).await.unwrap_err();
        assert!(error.text.contains("there: Connection refused (os error"), "{error}");
        for scheme in ["tcp", "http", "ssh"] {
            let host = format!("{scheme}://user:hunter22@127.0.0.1:1");
            let error = Engine::find(&BTreeMap::from([("DOCKER_HOST".to_owned(), host)])).await.unwrap_err();
            assert!(error.text.contains("user:***@127.0.0.1:1"), "{error}");
            assert!(!error.to_string().contains("hunter22"), "{error}");
        }
        let vars = BTreeMap::from([("XDG_RUNTIME_DIR".to_owned(), folder.clone())]);
        let all = [
            "/var/run/docker.sock".into(),
            "/run/podman/podman.sock".into(),
            format!("{folder}/podman/podman.sock"),
        ];
        assert_eq!(sockets(&vars), all);
    }

    #[tokio::test]
    async fn an_engine_that_has_gone_is_named_without_the_clients_framing() {
        let engine = Engine::unasked("tcp://127.0.0.1:1");
        let gone = engine.docker.info().await.unwrap_err();
        let error = engine.launch_error("looking for the container bk-1", &gone);
        let text = "looking for the container bk-1: the Docker engine at tcp://127.0.0.1:1 does not answer (Connection refused";
        assert!(error.message.text.starts_with(text), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.starts_with("start the engine")), "{error:?}");
        assert_eq!((error.reason, error.retryable), (Reason::PlatformUnreachable, true));
        let refused = Error::DockerResponseServerError { status_code: 400, message: "no\n".to_owned() };
        assert_eq!(engine.launch_error("asking", &refused).message, "asking: no".into());
    }
}
