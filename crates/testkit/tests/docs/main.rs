//! Every block of every page is run as it is written, on real parts, or is a listed exception.
//!
//! A page's command blocks run one after the other, in a copy of a clone's files for users, with the built
//! programs on the PATH and a running server. Example names are replaced by real ones ([`Docs::real`]).

mod exceptions;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bakery_core::report::{Findings, Mistake};
use bakery_core::yaml::{self, Value};
use bakery_server::settings::PodSettings;
use bakery_testkit::pages::{Block, blocks, pages};
use bakery_testkit::parts::Parts;
use bakery_testkit::process::free_port;
use bakery_testkit::project::copy;
use bakery_testkit::registry::Registry;
use bakery_testkit::repository::{path, read};
use bakery_testkit::server::Server;
use exceptions::EXCEPTIONS;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

/// The time limit of a block; the longest is a small build.
const PATIENCE: Duration = Duration::from_mins(3);

/// The files of a clone that users need.
const CLONE: [&str; 3] = [".env.example", "client-config.yaml.example", "Makefile"];

struct Docs {
    parts: Parts,
    registry: Registry,
    server: Server,
}

impl Docs {
    /// Example names of the pages, and the real ones here.
    fn real(&self) -> [(&'static str, &str); 4] {
        [
            ("registry.example.com", &self.registry.host),
            ("docker.io/library/busybox:stable", &self.parts.base_image),
            ("https://bakery.example.com", &self.server.url),
            ("http://127.0.0.1:3000", &self.server.url),
        ]
    }

    /// Runs a page's commands in its folder.
    async fn shell(&self, folder: &Path, text: &str) -> Result<Output> {
        let text = self.real().iter().fold(text.to_owned(), |text, (name, real)| text.replace(name, real));
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", &text]).current_dir(folder.join("clone"));
        // A server that a page starts gets the same settings as the running one, on another address.
        command
            .env_clear()
            .envs(self.server.vars())
            .env("HOME", folder)
            .env("CONTROLLER_URL", &self.server.url);
        command.env("BAKERY_DATA_DIR", folder.join("data"));
        command.env("BAKERY_LISTEN", free_port("127.0.0.1")?.to_string());
        command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", self.parts.bin_dir.display()));
        command.stdin(Stdio::null()).kill_on_drop(true);
        timeout(PATIENCE, command.output()).await.context("time limit exceeded")?.context("bash")
    }

    /// Reads a file of a page with the code that reads such files.
    async fn file(&self, block: &Block) -> Result<&'static str> {
        let mut findings = Findings::default();
        let tree = yaml::parse(&block.page, &block.text, &mut findings);
        let texts_of =
            |mistakes: &[Mistake]| mistakes.iter().map(Mistake::rendered).collect::<Vec<_>>().join("\n");
        let tree = tree.with_context(|| texts_of(&findings.mistakes))?;
        let keys: BTreeSet<&str> = match &tree.value {
            Value::Map(entries) => entries.iter().map(|entry| entry.key.as_str()).collect(),
            _ => bail!("no mapping"),
        };
        if keys.contains("services") {
            self.plan("--compose", "compose.yaml", &block.text).await?;
            return Ok("planned as a Compose file");
        }
        if keys.contains("global") || keys.contains("bake") {
            self.plan("--config", "config.yaml", &block.text).await?;
            return Ok("planned as a config.yaml");
        }
        if keys.contains("k8s") {
            PodSettings::read(&block.page, &block.text).map_err(|wrong| anyhow::anyhow!(texts_of(&wrong)))?;
            return Ok("read as the settings of agents' pods");
        }
        bail!("no program reads a file with these keys: {keys:?}")
    }

    async fn plan(&self, option: &str, name: &str, text: &str) -> Result<()> {
        let folder = scratch()?;
        let clone = folder.path().join("clone");
        std::fs::write(clone.join(name), text)?;
        let output = self.shell(folder.path(), &format!("bakery-client plan {option} {name}")).await?;
        ensure!(output.status.success(), "{}", shown(&output));
        Ok(())
    }
}

/// A folder with a copy of these files.
fn scratch() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let clone = folder.path().join("clone");
    std::fs::create_dir(&clone)?;
    for name in CLONE {
        std::fs::copy(path(name), clone.join(name)).with_context(|| name)?;
    }
    copy(&path("examples"), &clone.join("examples"))?;
    Ok(folder)
}

fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_block_of_every_page_is_run_or_an_exception() -> Result<()> {
    let parts = Parts::required();
    let registry = Registry::start(&parts).await?;
    // The machine has one architecture; the pages build for two.
    let server = Server::start(&parts, &[&registry.host], &[("ALLOW_EMULATION", "true")]).await?;
    let docs = Docs { parts, registry, server };
    let (mut run, mut excepted, mut wrong) = (0, Vec::new(), String::new());
    for page in pages()? {
        let folder = scratch()?;
        let mut printed: Option<Output> = None;
        for block in blocks(&page, &read(&page)?)? {
            let name = format!("{page}:{} {}", block.line, block.name());
            let exception = EXCEPTIONS.iter().find(|it| (it.page, it.first) == (&page, block.name()));
            let done = match (block.language.as_str(), exception) {
                // A block right below commands is their output.
                ("text", None) => match printed.take().filter(|_| block.follows) {
                    None => continue,
                    Some(output) if output.stdout == block.text.as_bytes() => Ok("what the commands print"),
                    Some(output) => Err(anyhow::anyhow!("the commands above print\n{}", shown(&output))),
                },
                (_, Some(exception)) => {
                    println!("exception  {name}: {}", exception.why);
                    excepted.push((exception.page, exception.first));
                    continue;
                }
                ("sh", None) => docs.shell(folder.path(), &block.text).await.and_then(|output| {
                    ensure!(output.status.success(), "{}", shown(&output));
                    printed = Some(output);
                    Ok("ended with 0")
                }),
                ("yaml", None) => docs.file(&block).await,
                (language, None) => {
                    Err(anyhow::anyhow!("nothing runs {language} here, and it is not listed as an exception"))
                }
            };
            match done {
                Ok(how) => println!("run        {name}: {how}"),
                Err(error) => {
                    println!("FAILED     {name}: {error:#}");
                    let _ = writeln!(wrong, "{name}: {error:#}");
                }
            }
            run += 1;
        }
    }
    println!("{} blocks = {run} run + {} exceptions", run + excepted.len(), excepted.len());
    for it in EXCEPTIONS {
        let count = excepted.iter().filter(|found| **found == (it.page, it.first)).count();
        if count != 1 {
            let _ = writeln!(wrong, "the exception {}: `{}` stands for {count} blocks", it.page, it.first);
        }
    }
    ensure!(wrong.is_empty(), "{wrong}\nserver:\n{}", docs.server.log());
    Ok(())
}
