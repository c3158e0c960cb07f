//! A full disk below the data folder, on a real file system: what each caller sees, and that nothing is lost.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bakery_testkit::client::{Client, finish};
use bakery_testkit::parts::Parts;
use bakery_testkit::process::until;
use bakery_testkit::project::{Project, numbered, single};
use bakery_testkit::registry::Registry;
use bakery_testkit::server::Server;
use tempfile::TempDir;

use crate::world::Log;

const LINES: u64 = 200;

/// A small file system of its own, which is unmounted when it is dropped.
struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    fn mount(size: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let options = format!("size={size}");
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(folder.path()).status();
        ensure!(status.context("mount")?.success(), "a tmpfs cannot be mounted");
        Ok(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves not a single byte.
    fn fill(&self) -> Result<()> {
        let mut ballast = File::create(self.path().join("ballast"))?;
        loop {
            match ballast.write(&[7; 4096]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => bail!(error),
            }
        }
    }

    fn free(&self) -> Result<()> {
        Ok(fs::remove_file(self.path().join("ballast"))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn probe_20_on_a_full_disk_open_builds_lose_nothing_and_new_ones_are_told() -> Result<()> {
    let parts = Parts::required();
    let registry = Registry::start(&parts).await?;
    let disk = SmallDisk::mount("64m")?;
    let data = disk.path().join("data").display().to_string();
    let server = Server::start(&parts, &[&registry.host], &[("BAKERY_DATA_DIR", &data)]).await?;
    let ready = async || Ok::<_, anyhow::Error>(reqwest::get(format!("{}/readyz", server.url)).await?);

    let open = format!("{}/full/open:1", registry.host);
    let open = Project::new(&parts, &numbered("tick", LINES.try_into()?, 100), &single(&open))?;
    let client = Client::new(&parts, open.path(), &server.url);
    let mut child = client.spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    let build = log.until("tick 5").await?.build.context("build")?;
    disk.fill()?;

    let answer = ready().await?;
    let (status, text) = (answer.status().as_u16(), answer.text().await?);
    ensure!(status == 503 && text.contains("disk"), "{status} {text}");
    let new = Project::new(&parts, "RUN echo new", &single(&format!("{}/full/new:1", registry.host)))?;
    let new = Client::new(&parts, new.path(), &server.url);
    let refused = new.run(&[]).await?;
    ensure!(refused.code == Some(4) && refused.err.contains("disk"), "{:?} {}", refused.code, refused.err);
    let listed = client.run(&["ps"]).await?;
    ensure!(listed.code == Some(0) && listed.out.contains(&build), "{listed:?}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    disk.free()?;

    // Everything goes on by itself.
    log.until(&format!("tick {LINES}")).await?;
    let ended = finish(child).await?;
    ensure!(ended.code == Some(0), "{:?} {}\n{}", ended.code, ended.err, server.log());
    let whole = client.run(&["logs", &build]).await?;
    assert_eq!(whole.numbers("tick")?, (1..=LINES).collect::<Vec<_>>());
    let is_ready = async || ready().await.is_ok_and(|answer| answer.status().is_success());
    until("readiness", Duration::from_secs(15), is_ready).await?;
    let baked = new.run(&[]).await?;
    ensure!(baked.code == Some(0), "{:?} {}", baked.code, baked.err);
    Ok(())
}
