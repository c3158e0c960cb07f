//! An unchanged tree is sent once, also after a fresh clone, to the server's own store and to S3.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::client::Client;
use bakery_testkit::parts::Parts;
use bakery_testkit::process::{Running, free_port, until};
use bakery_testkit::project::{Project, single};
use bakery_testkit::registry::Registry;
use bakery_testkit::server::Server;
use bakery_testkit::tap::{Tap, Upstream};
use tokio::process::Command;

use crate::world::World;

async fn git(folder: &Path, args: &[&str]) -> Result<()> {
    let who = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"];
    let mut command = Command::new("git");
    command.args(who).args(args).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    ensure!(command.status().await?.success(), "git {args:?}");
    Ok(())
}

/// A second, fresh clone of a project: other times, other inode order, the same tree.
async fn clone(project: &Project, into: &Path) -> Result<()> {
    if !project.path().join(".git").exists() {
        git(project.path(), &["init"]).await?;
    }
    git(project.path(), &["add", "-A"]).await?;
    git(project.path(), &["commit", "-m", "all", "--allow-empty"]).await?;
    let from = project.path().display().to_string();
    git(into, &["clone", "-q", &from, "."]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_clone_sends_nothing_to_the_servers_store() -> Result<()> {
    let mut world = World::start(&[]).await?;
    // A tap between client and server counts the PUTs from outside.
    let upstream = Upstream::Tcp(world.server.url.trim_start_matches("http://").to_owned());
    let (tap, addr) = Tap::tcp("127.0.0.1:0", upstream).await?;
    let project = Project::new(&world.parts, "COPY src /src", &single(&world.image("ctx/own:1")))?;
    project.write("src/deep/file.txt", "flour\n")?;
    let puts = || tap.seen().iter().filter(|line| line.starts_with("PUT ")).count();
    let url = format!("http://{addr}");
    let first = Client::new(&world.parts, project.path(), &url).run(&[]).await?;
    ensure!(first.code == Some(0), "{}\n{}", first.out, first.err);
    assert_eq!(puts(), 1);

    let folder = tempfile::tempdir()?;
    clone(&project, folder.path()).await?;
    let again = Client::new(&world.parts, folder.path(), &url).run(&[]).await?;
    ensure!(again.code == Some(0), "{}\n{}", again.out, again.err);
    assert_eq!(puts(), 1, "nothing was sent the second time");

    // Also after the server has been away.
    world.server.kill().await?;
    world.server.run().await?;
    let third = Client::new(&world.parts, folder.path(), &url).run(&[]).await?;
    ensure!(third.code == Some(0), "{}\n{}", third.out, third.err);
    assert_eq!(puts(), 1);

    project.write("src/deep/file.txt", "sugar\n")?;
    let changed = Client::new(&world.parts, project.path(), &url).run(&[]).await?;
    ensure!(changed.code == Some(0), "{}\n{}", changed.out, changed.err);
    assert_eq!(puts(), 2, "a change is sent");
    Ok(())
}

/// A real S3 server (`weed`).
struct S3 {
    host: String,
    _process: Running,
    _folder: tempfile::TempDir,
}

const KEY: &str = "bakerytest";
const SECRET: &str = "bakerytest-secret";
const BUCKET: &str = "contexts";

impl S3 {
    async fn start(parts: &Parts) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("s3.json");
        let identity = serde_json::json!({ "identities": [{
            "name": "test", "credentials": [{ "accessKey": KEY, "secretKey": SECRET }],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"] }] });
        std::fs::write(&config, identity.to_string())?;
        let ip = parts.gateway.as_str();
        let s3 = free_port(ip)?;
        let mut command = Command::new(&parts.weed);
        command.arg("server").arg(format!("-dir={}", folder.path().display())).arg(format!("-ip={ip}"));
        command.arg(format!("-ip.bind={ip}")).arg("-s3").arg(format!("-s3.port={}", s3.port()));
        command.arg(format!("-s3.config={}", config.display())).arg("-volume.max=20");
        // Every port of its own, so that nothing of the machine is in the way; gRPC ports follow from these.
        for (flag, port) in [("master", 0), ("volume", 1), ("filer", 2)] {
            let base = 18000 + free_port(ip)?.port() % 8000 + port;
            command.arg(format!("-{flag}.port={base}")).arg(format!("-{flag}.port.grpc={}", base + 10000));
        }
        command.arg(format!("-s3.port.grpc={}", free_port(ip)?.port()));
        let log = folder.path().join("weed.log");
        let mut process = Running::start("weed", command, &log)?;
        let host = s3.to_string();
        let url = format!("http://{host}/");
        let up = async || reqwest::get(&url).await.is_ok();
        if let Err(slow) = until("the S3 server", Duration::from_secs(30), up).await {
            process.check().with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;
            return Err(slow);
        }
        Ok(Self { host, _process: process, _folder: folder })
    }

    fn vars(&self) -> Vec<(&str, &str)> {
        vec![
            ("S3_ENDPOINT", &self.host),
            ("S3_SSL", "false"),
            ("S3_BUCKET", BUCKET),
            ("S3_REGION", "us-east-1"),
            ("S3_ACCESS_KEY", KEY),
            ("S3_SECRET_KEY", SECRET),
        ]
    }

    /// Makes the bucket with a third party's signature code: curl.
    async fn make_bucket(&self) -> Result<()> {
        let url = format!("http://{}/{BUCKET}", self.host);
        let user = format!("{KEY}:{SECRET}");
        let made = async || {
            let mut curl = Command::new("curl");
            curl.args(["-sf", "-X", "PUT", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &user, &url]);
            curl.status().await.is_ok_and(|status| status.success())
        };
        until("the bucket", Duration::from_secs(30), made).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn through_s3_a_known_context_is_not_sent_and_an_unknown_one_is_answered_412() -> Result<()> {
    let parts = Parts::required();
    let s3 = S3::start(&parts).await?;
    s3.make_bucket().await?;
    let registry = Registry::start(&parts).await?;
    // The client's way to S3 goes through a tap; agents and server go there directly.
    let (tap, addr) = Tap::tcp("127.0.0.1:0", Upstream::Tcp(s3.host.clone())).await?;
    let puts = || tap.seen().iter().filter(|line| line.starts_with("PUT ")).count();
    let server = Server::start(&parts, &[&registry.host], &s3.vars()).await?;
    let project = Project::new(&parts, "COPY src /src", &single(&format!("{}/ctx/s3:1", registry.host)))?;
    project.write("src/file.txt", "flour\n")?;
    let client = |url: &str, folder: &Path| {
        let through = addr.to_string();
        let vars = s3.vars().into_iter().map(|(name, value)| {
            if name == "S3_ENDPOINT" { (name, through.clone()) } else { (name, value.to_owned()) }
        });
        vars.fold(Client::new(&parts, folder, url), |client, (name, value)| client.with(name, &value))
    };
    let first = client(&server.url, project.path()).run(&[]).await?;
    ensure!(first.code == Some(0), "{}\n{}\n{}", first.out, first.err, server.log());
    assert_eq!(puts(), 1);

    let folder = tempfile::tempdir()?;
    clone(&project, folder.path()).await?;
    let known = client(&server.url, folder.path()).run(&[]).await?;
    ensure!(known.code == Some(0), "{}\n{}", known.out, known.err);
    assert_eq!(puts(), 1, "the server's ledger knows the context");

    // Another server has never heard of it: the bucket itself says that it is there.
    let other = Server::start(&parts, &[&registry.host], &s3.vars()).await?;
    let unknown = client(&other.url, folder.path()).run(&[]).await?;
    ensure!(unknown.code == Some(0), "{}\n{}", unknown.out, unknown.err);
    assert_eq!(puts(), 2);
    assert_eq!(tap.answers("412").len(), 1, "one PUT, answered 412");
    Ok(())
}
