//! A real S3 server: `weed`.

use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use crate::parts::Parts;
use crate::process::{Running, free_port, until};

/// From a port of `SeaweedFS` to its gRPC port.
const GRPC: u16 = 10_000;

/// Keys that the server checks signatures with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Access key id.
    pub id: String,
    /// Secret access key.
    pub secret: String,
}

impl Keys {
    /// A pair.
    pub fn new(id: &str, secret: &str) -> Self {
        Self { id: id.to_owned(), secret: secret.to_owned() }
    }
}

/// A server for one test with one bucket. Every key may do everything: [`crate::aws`] checks permissions.
#[derive(Debug)]
pub struct S3 {
    /// `host:port`.
    pub host: String,
    /// The name of the bucket.
    pub bucket: String,
    keys: Vec<Keys>,
    _process: Running,
    _ports: Vec<PortPair>,
    _folder: TempDir,
}

impl S3 {
    /// A server with one pair of keys on the gateway's address, which this machine and containers of every bridge reach.
    pub async fn start(parts: &Parts) -> Result<Self> {
        Self::listening(parts, &parts.gateway, &[Keys::new("bakerytest", "bakerytest-secret")]).await
    }

    /// A server on `ip` that accepts `keys`; the first makes the bucket.
    ///
    /// # Panics
    /// If there are no keys.
    pub async fn listening(parts: &Parts, ip: &str, keys: &[Keys]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("s3.json");
        let identities = keys.iter().map(|keys| {
            json!({
                "name": keys.id,
                "credentials": [{ "accessKey": keys.id, "secretKey": keys.secret }],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            })
        });
        let identities = json!({ "identities": identities.collect::<Vec<_>>() });
        std::fs::write(&config, identities.to_string())?;
        let flags = ["s3", "master", "volume", "filer"];
        let pairs = PortPair::several(ip, flags.len())?;
        let mut command = Command::new(&parts.weed);
        command.arg("server").arg(format!("-dir={}", folder.path().display())).arg(format!("-ip={ip}"));
        command.arg(format!("-ip.bind={ip}")).arg("-s3");
        command.arg(format!("-s3.config={}", config.display())).arg("-volume.max=20");
        // All ports are set, so that none collides with a port in use.
        for (flag, PortPair { port, .. }) in flags.iter().zip(&pairs) {
            command.arg(format!("-{flag}.port={port}")).arg(format!("-{flag}.port.grpc={}", port + GRPC));
        }
        // These would use the same ports for all servers. No telemetry.
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]);
        let log = folder.path().join("weed.log");
        let mut process = Running::start("weed", command, &log)?;
        let host = format!("{ip}:{}", pairs[0].port);
        let url = format!("http://{host}/");
        let up = async || reqwest::get(&url).await.is_ok();
        if let Err(slow) = until("the S3 server", Duration::from_secs(30), up).await {
            process.check().with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;
            return Err(slow);
        }
        let bucket = "contexts".to_owned();
        let server =
            Self { host, bucket, keys: keys.to_vec(), _process: process, _ports: pairs, _folder: folder };
        server.make_bucket().await?;
        Ok(server)
    }

    /// The variables of server and client for it, with the first pair of keys.
    pub fn vars(&self) -> Vec<(&str, &str)> {
        vec![
            ("S3_ENDPOINT", &self.host),
            ("S3_SSL", "false"),
            ("S3_BUCKET", &self.bucket),
            ("S3_REGION", "us-east-1"),
            ("S3_ACCESS_KEY", &self.keys[0].id),
            ("S3_SECRET_KEY", &self.keys[0].secret),
        ]
    }

    /// Makes the bucket with curl, whose signatures are independent of our code.
    async fn make_bucket(&self) -> Result<()> {
        let url = format!("http://{}/{}", self.host, self.bucket);
        let user = format!("{}:{}", self.keys[0].id, self.keys[0].secret);
        let made = async || {
            let mut curl = Command::new("curl");
            curl.args(["-sf", "-X", "PUT", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &user, &url]);
            curl.status().await.is_ok_and(|status| status.success())
        };
        until("the bucket", Duration::from_secs(30), made).await
    }
}

/// A free port and its gRPC port. They are below the ports that the kernel uses for outgoing connections (32768 and up), so
/// that no program takes them before the server has started; the claims keep other tests from taking them.
#[derive(Debug)]
struct PortPair {
    port: u16,
    /// The server binds its TCP ports only after seconds. It needs no UDP, so binding the same UDP ports claims them.
    _claims: [UdpSocket; 2],
}

impl PortPair {
    fn claim(ip: &str, port: u16) -> Option<Self> {
        let [Ok(own), Ok(grpc)] = [port, port + GRPC].map(|port| {
            let claim = UdpSocket::bind((ip, port))?;
            TcpListener::bind((ip, port)).map(|_free| claim)
        }) else {
            return None;
        };
        Some(Self { port, _claims: [own, grpc] })
    }

    fn several(ip: &str, count: usize) -> Result<Vec<Self>> {
        let mut pairs = Vec::new();
        for _ in 0..100 {
            pairs.extend(Self::claim(ip, 12_000 + free_port(ip)?.port() % 8_000));
            if pairs.len() == count {
                return Ok(pairs);
            }
        }
        anyhow::bail!("no {count} pairs of ports {GRPC} apart are free on {ip}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_pair_cannot_be_claimed_again_before_its_server_listens() {
        let ours = PortPair::several("127.0.0.1", 1).expect("a machine with free ports").remove(0);
        assert!(PortPair::claim("127.0.0.1", ours.port).is_none());
        TcpListener::bind(("127.0.0.1", ours.port)).expect("its server can listen");
    }
}
