//! The logins of `docker login`: the user's docker config, and the credential helpers that it names.
//!
//! Only the process environment says where the config is (`DOCKER_CONFIG`, else `HOME`): a `.env` of a checkout cannot name
//! a helper.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bakery_context::read_user_text;
use bakery_core::config::DockerLogins;
use bakery_core::image::{self, DOCKER_HUB, DOCKER_HUB_LOGIN};
use bakery_core::limits;
use bakery_core::message::{Hint as _, Message};
use bakery_core::secret::Secret;
use bakery_core::spec::{Credential, IDENTITY_USER};
use bakery_core::vars::Vars as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::credential_helper::CredentialHelper;

/// The logins of the user who runs the client.
pub(crate) struct UserDockerLogins<'a> {
    environment: &'a BTreeMap<String, String>,
    /// What was found: a helper runs once for each registry.
    found: RefCell<BTreeMap<String, Option<Credential>>>,
}

impl<'a> UserDockerLogins<'a> {
    pub(crate) fn new(environment: &'a BTreeMap<String, String>) -> Self {
        Self { environment, found: RefCell::default() }
    }

    fn config_file(&self) -> Option<PathBuf> {
        let below_home = || Some(PathBuf::from(self.environment.setting("HOME")?).join(".docker"));
        let folder = self.environment.setting("DOCKER_CONFIG").map(PathBuf::from).or_else(below_home)?;
        Some(folder.join("config.json"))
    }

    fn look_up(&self, registry: &str) -> Result<Option<Credential>, Message> {
        let Some(file) = self.config_file() else { return Ok(None) };
        let Some(config) = read(&file)? else { return Ok(None) };
        for (helper, name) in config.helpers(registry) {
            let helper = CredentialHelper::find(helper, self.environment)?;
            if let Some((username, password)) = helper.get(&name)? {
                return Ok(Some(Credential { registry: registry.to_owned(), username, password }));
            }
        }
        let entries = config.auths.iter().flatten();
        let mut of_registry = entries.filter(|(key, _)| is_for(key, registry));
        let login = of_registry.find_map(|(_, entry)| entry.login().transpose()).transpose();
        let login = login.map_err(|InvalidLogin| {
            let text = format!("{}: the login for {registry} is not valid", file.display());
            Message::new(text).with_hint(format!("`docker login {registry}` writes it anew"))
        })?;
        Ok(login.map(|(username, password)| Credential { registry: registry.to_owned(), username, password }))
    }
}

impl DockerLogins for UserDockerLogins<'_> {
    fn find(&self, registry: &str) -> Result<Option<Credential>, Message> {
        if let Some(found) = self.found.borrow().get(registry) {
            return Ok(found.clone());
        }
        let found = self.look_up(registry)?;
        self.found.borrow_mut().insert(registry.to_owned(), found.clone());
        Ok(found)
    }
}

/// Docker's `config.json`, as far as it is about logins.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DockerConfig {
    auths: Option<BTreeMap<String, AuthEntry>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

/// An entry of `auths`; empty if a helper has the login.
#[derive(Deserialize)]
struct AuthEntry {
    /// `user:password` in base64.
    auth: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
    identitytoken: Option<Secret>,
}

impl DockerConfig {
    /// The helpers to ask for the login of a registry, each with the name to ask for.
    fn helpers(&self, registry: &str) -> Vec<(&str, String)> {
        let own = self.cred_helpers.iter().flatten().find(|(key, _)| is_for(key, registry));
        let store = self.creds_store.as_deref().filter(|name| !name.is_empty());
        let Some(helper) = own.map(|(_, helper)| helper.as_str()).or(store) else { return Vec::new() };
        // Under the name that it was stored with, and the one that docker uses.
        let stored = self.auths.iter().flatten().map(|(key, _)| key).find(|key| is_for(key, registry));
        let usual = if registry == DOCKER_HUB { DOCKER_HUB_LOGIN } else { registry };
        let mut names = vec![usual.to_owned()];
        names.extend(stored.filter(|name| *name != usual).cloned());
        names.into_iter().map(|name| (helper, name)).collect()
    }
}

/// User name and password are there, and cannot be read.
struct InvalidLogin;

impl AuthEntry {
    /// User name and password, if it has them.
    fn login(&self) -> Result<Option<(String, Secret)>, InvalidLogin> {
        let filled = |text: &&Secret| !text.expose().is_empty();
        if let Some(token) = self.identitytoken.as_ref().filter(filled) {
            return Ok(Some((IDENTITY_USER.to_owned(), token.clone())));
        }
        if let Some(auth) = self.auth.as_ref().filter(filled) {
            return decoded(auth).map(Some).ok_or(InvalidLogin);
        }
        let username = self.username.clone().filter(|name| !name.is_empty());
        Ok(username.zip(self.password.clone().filter(|text| filled(&text))))
    }
}

fn decoded(auth: &Secret) -> Option<(String, Secret)> {
    let text = String::from_utf8(STANDARD.decode(auth.expose().trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    // Docker pads it.
    let password = password.trim_end_matches('\0');
    let complete = !username.is_empty() && !password.is_empty();
    complete.then(|| (username.to_owned(), Secret::new(password)))
}

fn is_for(key: &str, registry: &str) -> bool {
    image::registry_host(key).as_deref() == Some(registry)
}

fn read(file: &Path) -> Result<Option<DockerConfig>, Message> {
    let name = file.display();
    let text = match read_user_text(file, limits::SPEC_BYTES as u64) {
        Ok(text) => text,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => {
            let hint = error.hint().map(Into::into);
            return Err(Message { text: format!("{name} {error}"), hint });
        }
    };
    // The error quotes the file, which holds passwords.
    let config = serde_json::from_str(&text).map_err(|error| {
        Message::new(format!("{name}:{}: not a valid docker config", error.line()))
            .with_hint("`docker login` writes this file")
    })?;
    Ok(Some(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(config: &str, registry: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        let environment = BTreeMap::from([("DOCKER_CONFIG".to_owned(), path.clone())]);
        match UserDockerLogins::new(&environment).find(registry) {
            Ok(None) => "none".to_owned(),
            Ok(Some(login)) => format!("{} {}", login.username, login.password.expose()),
            Err(message) => message.rendered().replace(&path, "FOLDER"),
        }
    }

    #[test]
    fn a_login_is_found_however_its_registry_is_spelled() {
        // me:open:sesame, hub:h, padded:p
        let config = r#"{ "auths": {
            "https://Reg.test:5000/v2/": { "auth": "bWU6b3BlbjpzZXNhbWU=" },
            "https://index.docker.io/v1/": { "auth": "aHViOmg=" },
            "padded.test": { "auth": "cGFkZGVkOnAAAA==" },
            "identity.test": { "auth": "bWU6", "identitytoken": "tok" },
            "plain.test": { "username": "me", "password": "pw" },
            "empty.test": {},
            "spoilt.test": { "auth": "hunter2!" }
        }, "HttpHeaders": { "a": "b" } }"#;
        for (registry, login) in [
            ("reg.test:5000", "me open:sesame"),
            ("docker.io", "hub h"),
            ("padded.test", "padded p"),
            ("identity.test", "<token> tok"),
            ("plain.test", "me pw"),
            ("empty.test", "none"),
            ("reg.test", "none"),
            (
                "spoilt.test",
                "FOLDER/config.json: the login for spoilt.test is not valid\nhint: `docker login spoilt.test` writes it anew",
            ),
        ] {
            assert_eq!(found(config, registry), login, "{registry}");
        }
        assert_eq!(found(r#"{ "auths": null }"#, "reg.test"), "none");
    }

    #[test]
    fn what_is_wrong_with_the_config_is_said_without_its_text() {
        for text in ["hunter2", r#"{ "auths": "hunter2" }"#, r#"{ "auths": { "r.test": "hunter2" } }"#] {
            let said = found(text, "r.test");
            assert!(said.contains("not a valid docker config") && !said.contains("hunter2"), "{said}");
        }
    }
}
