//! Whose login is used for a registry: one of the build's credentials, else one of a docker config.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use bakery_core::image::{DOCKER_HUB, DOCKER_HUB_LOGIN, Digest, ImageRef};
use bakery_core::reason::Reason;
use bakery_core::secret::Secret;
use bakery_core::spec::{Credential, IDENTITY_USER};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use docker_credential::{CredentialRetrievalError as Unfound, DockerCredential};

use crate::error::RegistryError;
use crate::guard::canonical;

/// How long a credential helper may run.
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);

/// A login, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Login {
    Anonymous,
    Password {
        username: String,
        password: Secret,
    },
    /// A refresh token of the registry's token service.
    Identity(Secret),
}

impl Login {
    /// The login for `registry` among a build's credentials; of several the last one, as in a docker config.
    pub(crate) fn among(registry: &str, credentials: &[Credential]) -> Self {
        let registry = canonical(registry);
        let ours = credentials.iter().rev().find(|credential| canonical(&credential.registry) == registry);
        ours.map_or(Self::Anonymous, |credential| {
            Self::of(credential.username.clone(), credential.password.clone())
        })
    }

    fn of(username: String, password: Secret) -> Self {
        if username == IDENTITY_USER {
            Self::Identity(password)
        } else {
            Self::Password { username, password }
        }
    }

    /// A digest that differs between logins, for use as a cache key.
    pub(crate) fn fingerprint(&self) -> Digest {
        match self {
            Self::Anonymous => Digest::of(b""),
            Self::Password { username, password } => {
                Digest::of(format!("{}:{username}:{}", username.len(), password.expose()).as_bytes())
            }
            Self::Identity(token) => Digest::of(format!("identity {}", token.expose()).as_bytes()),
        }
    }

    /// `user:password` in base64, as the basic scheme sends it.
    pub(crate) fn basic(&self) -> Option<Secret> {
        match self {
            Self::Password { username, password } => {
                Some(Secret::new(STANDARD.encode(format!("{username}:{}", password.expose()))))
            }
            Self::Anonymous | Self::Identity(_) => None,
        }
    }

    /// The kind of login and the user name, as the end of a sentence.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Anonymous => "without a login".to_owned(),
            Self::Password { username, .. } => format!("as user `{username}`"),
            Self::Identity(_) => "with an identity token".to_owned(),
        }
    }

    /// Replaces this login's secrets in a text that came from outside.
    pub(crate) fn mask(&self, text: &str) -> String {
        let secret = match self {
            Self::Anonymous => return text.to_owned(),
            Self::Password { password: secret, .. } | Self::Identity(secret) => secret.expose(),
        };
        let encoded = self.basic();
        [Some(secret), encoded.as_ref().map(Secret::expose)]
            .into_iter()
            .flatten()
            .filter(|secret| !secret.is_empty())
            .fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

/// Whose login is used for `image`: the build's own comes first, then that of the docker config, if there is one.
pub(crate) async fn of_image(
    image: &ImageRef,
    creds: &[Credential],
    docker_config: Option<PathBuf>,
) -> Result<Login, RegistryError> {
    let login = Login::among(&image.registry, creds);
    let Some(config) = docker_config.filter(|_| login == Login::Anonymous) else { return Ok(login) };
    from_docker_config(&image.registry, config).await.map_err(|detail| RegistryError {
        reason: Reason::CredentialsRefused,
        text: format!("{image}: {detail}"),
        hint: Some("check the docker config of the server (DOCKER_CONFIG)".to_owned()),
    })
}

/// True where `image` is below one of these prefixes (`registry`, `registry/path`; whole path components).
pub(crate) fn is_below(image: &ImageRef, prefixes: &[String]) -> bool {
    prefixes.iter().any(|prefix| {
        let rest =
            prefix.strip_prefix("https://").or_else(|| prefix.strip_prefix("http://")).unwrap_or(prefix);
        let (registry, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_matches('/');
        let below = path.is_empty()
            || image
                .repository
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        canonical(registry) == canonical(&image.registry) && below
    })
}

/// The login for `registry` in a docker config, credential helpers included. `Err`: why a configured login is not
/// available.
pub(crate) async fn from_docker_config(registry: &str, config: PathBuf) -> Result<Login, String> {
    let names = names_in_config(registry);
    let lookup = tokio::task::spawn_blocking(move || {
        let text = match std::fs::read(&config) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Login::Anonymous),
            Err(error) => return Err(format!("{}: {error}", config.display())),
        };
        for name in names {
            match docker_credential::get_credential_from_reader(&text[..], &name) {
                Ok(DockerCredential::IdentityToken(token)) => return Ok(Login::Identity(token.into())),
                Ok(DockerCredential::UsernamePassword(user, password)) => {
                    return Ok(Login::of(user, password.into()));
                }
                Err(Unfound::NoCredentialConfigured) => {}
                // A helper without this login fails. Its output is not quoted: it may hold secrets.
                Err(Unfound::HelperFailure { stdout, .. }) if stdout.contains("not found") => {}
                Err(Unfound::HelperFailure { helper, .. }) => {
                    return Err(format!("the credential helper `{helper}` failed"));
                }
                Err(other) => return Err(format!("{}: {other}", config.display())),
            }
        }
        Ok(Login::Anonymous)
    });
    match tokio::time::timeout(HELPER_TIMEOUT, lookup).await {
        Ok(Ok(login)) => login,
        Ok(Err(_)) => Err("the docker config could not be read".to_owned()),
        Err(_) => Err(format!("the credential helper did not return within {} s", HELPER_TIMEOUT.as_secs())),
    }
}

/// The keys under which docker's tools store a registry's login.
fn names_in_config(registry: &str) -> Vec<String> {
    let registry = canonical(registry);
    if registry == DOCKER_HUB {
        return [DOCKER_HUB_LOGIN, "index.docker.io", DOCKER_HUB].map(str::to_owned).to_vec();
    }
    vec![registry.clone(), format!("https://{registry}"), format!("http://{registry}")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(registry: &str, username: &str) -> Credential {
        Credential { registry: registry.to_owned(), username: username.to_owned(), password: "geheim".into() }
    }

    #[test]
    fn credentials_are_found_by_registry_however_it_is_spelled() {
        let all = [
            credential("https://Reg.test:5000/v2/", "a"),
            credential("https://index.docker.io/v1/", "hub"),
            credential("reg.test", IDENTITY_USER),
        ];
        let whom = |registry| Login::among(registry, &all).describe();
        assert_eq!(whom("reg.test:5000"), "as user `a`");
        assert_eq!(whom("docker.io"), "as user `hub`");
        assert_eq!(whom("reg.test"), "with an identity token");
        assert_eq!(whom("other.test"), "without a login");
        assert_eq!(whom("reg.test:5001"), "without a login");
    }

    #[test]
    fn a_registry_that_repeats_a_secret_is_not_quoted() {
        let login = Login::among("reg.test", &[credential("reg.test", "me")]);
        let echo = format!("bad login me:geheim, Basic {}", login.basic().unwrap().expose());
        assert_eq!(login.mask(&echo), "bad login me:***, Basic ***");
    }

    #[test]
    fn prefixes_end_at_path_components() {
        let allow = ["reg.test/shop".to_owned(), "docker.io/me/".to_owned(), "other.test:5000".to_owned()];
        let below = |image: &str| is_below(&image.parse().unwrap(), &allow);
        assert!(below("reg.test/shop:1") && below("reg.test/shop/cart:1") && below("me/app"));
        assert!(below("other.test:5000/any/thing"));
        assert!(!below("reg.test/shopping:1") && !below("reg.test/other") && !below("library/me"));
    }

    #[tokio::test]
    async fn the_docker_config_is_read_with_its_aliases() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        let text = serde_json::json!({ "auths": {
            "https://index.docker.io/v1/": { "auth": STANDARD.encode("hub:x") },
            "reg.test:5000": { "identitytoken": "long" },
            "broken.test": { "auth": "%%%" },
        }});
        std::fs::write(&file, text.to_string()).unwrap();
        let whom =
            async |registry| from_docker_config(registry, file.clone()).await.map(|login| login.describe());
        assert_eq!(whom("docker.io").await.unwrap(), "as user `hub`");
        assert_eq!(whom("reg.test:5000").await.unwrap(), "with an identity token");
        assert_eq!(whom("nowhere.test").await.unwrap(), "without a login");
        assert!(whom("broken.test").await.is_err());
        let nowhere = from_docker_config("docker.io", folder.path().join("none.json")).await;
        assert_eq!(nowhere, Ok(Login::Anonymous), "without a config there is no login");
    }
}
