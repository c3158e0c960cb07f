//! The registry logins for Kaniko and the scripts: Docker's `config.json`.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use bakery_core::image::{DOCKER_HUB, DOCKER_HUB_LOGIN};
use bakery_core::spec::{Credential, IDENTITY_USER};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// Writes the logins to `folder/config.json` (mode 0600). The last login for a registry wins. Without logins nothing is
/// written, because the image may contain a file of its own.
pub fn write<'a>(folder: &Path, logins: impl IntoIterator<Item = &'a Credential>) -> io::Result<()> {
    let Some(text) = config(logins) else { return Ok(()) };
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // Always a new file: an existing one would keep its mode.
    let (path, fresh) = (folder.join("config.json"), folder.join(".config.json.new"));
    let _ = std::fs::remove_file(&fresh);
    File::options().write(true).create_new(true).mode(0o600).open(&fresh)?.write_all(text.as_bytes())?;
    std::fs::rename(fresh, path)
}

fn config<'a>(logins: impl IntoIterator<Item = &'a Credential>) -> Option<String> {
    let auths: BTreeMap<&str, _> = logins
        .into_iter()
        .map(|login| {
            let key = if login.registry == DOCKER_HUB { DOCKER_HUB_LOGIN } else { login.registry.as_str() };
            if login.username == IDENTITY_USER {
                return (key, json!({ "identitytoken": login.password.expose() }));
            }
            let auth = STANDARD.encode(format!("{}:{}", login.username, login.password.expose()));
            (key, json!({ "auth": auth }))
        })
        .collect();
    (!auths.is_empty()).then(|| json!({ "auths": auths }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bakery_core::secret::Secret;
    use std::os::unix::fs::PermissionsExt as _;

    fn login(registry: &str, password: &str) -> Credential {
        Credential {
            registry: registry.to_owned(),
            username: "me".to_owned(),
            password: Secret::new(password),
        }
    }

    #[test]
    fn logins_are_written_as_docker_does_with_mode_0600() {
        let folder = tempfile::tempdir().unwrap();
        let docker = folder.path().join(".docker");
        let logins = [login("docker.io", "a"), login("reg.test:5000", "old"), login("reg.test:5000", "new")];
        write(&docker, &logins).unwrap();
        write(&docker, &logins).unwrap();
        let file = docker.join("config.json");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        insta::assert_snapshot!(
            std::fs::read_to_string(file).unwrap(),
            @r#"{"auths":{"https://index.docker.io/v1/":{"auth":"bWU6YQ=="},"reg.test:5000":{"auth":"bWU6bmV3"}}}"#
        );
    }

    #[test]
    fn an_identity_token_is_written_as_one() {
        let token = Credential { username: IDENTITY_USER.to_owned(), ..login("reg.test", "tok") };
        assert_eq!(config([&token]).unwrap(), r#"{"auths":{"reg.test":{"identitytoken":"tok"}}}"#);
    }

    #[test]
    fn without_logins_the_file_of_the_image_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), []).unwrap();
        assert!(!folder.path().join("config.json").exists());
    }
}
