//! A real registry: Debian's docker-registry.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;
use tokio::process::Command;

use crate::parts::Parts;
use crate::process::{Running, free_port, until};

/// User and password of a registry with a login.
pub const LOGIN: (&str, &str) = ("baker", "crumbs-7f3a9c41e2");

/// [`LOGIN`] as `htpasswd -B` writes it.
const HTPASSWD: &str = "baker:$2b$04$Iri1mfDzUdkALIL52/.7VOnZ0q0PghFq7INjAwcg9zUE9s2ayYZ9O\n";

/// A registry for one test, on the gateway's address, so that this machine and containers reach it by one name.
#[derive(Debug)]
pub struct Registry {
    /// `host:port`.
    pub host: String,
    _process: Running,
    folder: TempDir,
}

impl Registry {
    /// A registry with anonymous access.
    pub async fn start(parts: &Parts) -> Result<Self> {
        Self::configured(&parts.registry_bin, &parts.gateway, tempfile::tempdir()?, "").await
    }

    /// A registry with anonymous access on loopback.
    pub async fn on_loopback(program: &Path) -> Result<Self> {
        Self::configured(program, "127.0.0.1", tempfile::tempdir()?, "").await
    }

    /// A registry on loopback with logins: `auth` writes its files into a folder and returns the section `auth`.
    pub async fn guarded(program: &Path, auth: impl FnOnce(&Path) -> Result<String>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let auth = auth(folder.path())?;
        Self::configured(program, "127.0.0.1", folder, &auth).await
    }

    /// A registry with basic access for [`LOGIN`] only.
    pub async fn with_login(parts: &Parts) -> Result<Self> {
        Self::with_users(parts, HTPASSWD).await
    }

    /// A registry with basic access for the users of an htpasswd file, as `htpasswd -B` writes it.
    pub async fn with_users(parts: &Parts, htpasswd: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let auth = auth(folder.path(), htpasswd)?;
        Self::configured(&parts.registry_bin, &parts.gateway, folder, &auth).await
    }

    /// Removes every image and every blob.
    pub fn clear(&self) -> Result<()> {
        match std::fs::remove_dir_all(self.folder.path().join("data")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    async fn configured(program: &Path, ip: &str, folder: TempDir, auth: &str) -> Result<Self> {
        let addr = free_port(ip)?;
        let mut config = String::from(
            "version: 0.1\nlog:\n  accesslog:\n    disabled: true\nstorage:\n  delete:\n    enabled: true\n",
        );
        writeln!(config, "  filesystem:\n    rootdirectory: {}", folder.path().join("data").display())?;
        writeln!(config, "http:\n  addr: {addr}\n{auth}")?;
        let file = folder.path().join("config.yml");
        std::fs::write(&file, config)?;
        let mut command = Command::new(program);
        command.arg("serve").arg(&file);
        let process = Running::start("docker-registry", command, &folder.path().join("log"))?;
        let url = format!("http://{addr}/v2/");
        let ready = async || reqwest::get(&url).await.is_ok();
        until("the registry", Duration::from_secs(10), ready).await?;
        Ok(Self { host: addr.to_string(), _process: process, folder })
    }
}

/// The section `auth` for [`LOGIN`] only.
pub fn basic_auth(folder: &Path) -> Result<String> {
    auth(folder, HTPASSWD)
}

fn auth(folder: &Path, htpasswd: &str) -> Result<String> {
    let file = folder.join("htpasswd");
    std::fs::write(&file, htpasswd)?;
    Ok(format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", file.display()))
}
