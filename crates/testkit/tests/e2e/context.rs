//! An unchanged tree is sent only once, also after a fresh clone, to the server's own store and to S3.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Result, ensure};
use bakery_testkit::client::Client;
use bakery_testkit::fault_proxy::{FaultProxy, Upstream};
use bakery_testkit::parts::Parts;
use bakery_testkit::project::{Project, single};
use bakery_testkit::registry::Registry;
use bakery_testkit::s3::S3;
use bakery_testkit::server::Server;
use tokio::process::Command;

use crate::world::World;

async fn git(folder: &Path, args: &[&str]) -> Result<()> {
    let who = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"];
    let mut command = Command::new("git");
    command.args(who).args(args).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    ensure!(command.status().await?.success(), "git {args:?}");
    Ok(())
}

/// A second, fresh clone of a project: the same tree with other times and another order of inodes.
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
    // A proxy between client and server counts the PUT requests.
    let upstream = Upstream::Tcp(world.server.url.trim_start_matches("http://").to_owned());
    let (proxy, addr) = FaultProxy::tcp("127.0.0.1:0", upstream).await?;
    let project = Project::new(&world.parts, "COPY src /src", &single(&world.image("ctx/own:1")))?;
    project.write("src/deep/file.txt", "flour\n")?;
    let puts = || proxy.seen().iter().filter(|line| line.starts_with("PUT ")).count();
    let url = format!("http://{addr}");
    let first = Client::new(&world.parts, project.path(), &url).run(&[]).await?;
    ensure!(first.code == Some(0), "{}\n{}", first.out, first.err);
    assert_eq!(puts(), 1);

    let folder = tempfile::tempdir()?;
    clone(&project, folder.path()).await?;
    let again = Client::new(&world.parts, folder.path(), &url).run(&[]).await?;
    ensure!(again.code == Some(0), "{}\n{}", again.out, again.err);
    assert_eq!(puts(), 1, "nothing was sent the second time");

    // The same after a restart of the server.
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

#[tokio::test(flavor = "multi_thread")]
async fn through_s3_a_known_context_is_not_sent_and_an_unknown_one_is_answered_412() -> Result<()> {
    let parts = Parts::required();
    let s3 = S3::start(&parts).await?;
    let registry = Registry::start(&parts).await?;
    // The client reaches S3 through a proxy; agents and server reach it directly.
    let (proxy, addr) = FaultProxy::tcp("127.0.0.1:0", Upstream::Tcp(s3.host.clone())).await?;
    let puts = || proxy.seen().iter().filter(|line| line.starts_with("PUT ")).count();
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

    // Another server has no record of it: the bucket itself reports that it exists.
    let other = Server::start(&parts, &[&registry.host], &s3.vars()).await?;
    let unknown = client(&other.url, folder.path()).run(&[]).await?;
    ensure!(unknown.code == Some(0), "{}\n{}", unknown.out, unknown.err);
    assert_eq!(puts(), 2);
    assert_eq!(proxy.answers("412").len(), 1, "one PUT, answered 412");
    Ok(())
}
