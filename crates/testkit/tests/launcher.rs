//! The Docker platform on a real engine, put through the contract of all launchers.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use async_trait::async_trait;
use bakery_core::image::ImageRef;
use bakery_core::names::{Arch, RunName};
use bakery_core::reason::Reason;
use bakery_registry::{Member, Registry as Client, RegistrySettings};
use bakery_server::platform::contract::{self, Part, Stage};
use bakery_server::platform::docker::{DockerPlatform, DockerSettings, Engine};
use bakery_server::platform::{LaunchOrder, Launcher, Observation};
use bakery_testkit::engine::Engine as Witness;
use bakery_testkit::parts::{Parts, required};
use bakery_testkit::registry::Registry;
use bakery_testkit::stage::{Orders, end_of, ending, shell_image};
use bakery_testkit::wire::Wire;
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

/// A platform whose "agent" is a shell that does what its order's environment says.
struct Workshop {
    platform: DockerPlatform,
    witness: Witness,
    installation: String,
    image: String,
    orders: Orders,
}

impl Workshop {
    async fn open(name: &str) -> Result<Self> {
        let parts = Parts::required();
        let witness = Witness::new(&parts);
        // The process id keeps parallel test programs apart, the name the tests of this one.
        let installation = format!("{name}{}", std::process::id());
        let image = format!("bakery.test/{installation}:1");
        shell_image(&witness, &parts, name, &image).await?;
        let platform = Self::platform(&parts, &installation, &image).await?;
        Ok(Self { platform, witness, installation, image, orders: Orders::of(name, 500, 32) })
    }

    async fn platform(parts: &Parts, installation: &str, image: &str) -> Result<DockerPlatform> {
        let vars = BTreeMap::from([("DOCKER_HOST".to_owned(), parts.docker_host.clone())]);
        let settings = DockerSettings {
            installation: installation.to_owned(),
            agent_image: image.parse()?,
            agent_login: None,
            allow_emulation: false,
        };
        let lookup = async |_: &_| Err("no registry is asked".to_owned());
        Ok(DockerPlatform::prepare(Engine::find(&vars).await?, settings, lookup).await?)
    }

    fn acting(&self, script: &str) -> LaunchOrder {
        self.orders.acting(self.platform.engine().arch, script)
    }

    async fn ending(&self, order: &LaunchOrder) -> Result<bakery_server::platform::Exit> {
        ending(&self.platform, order).await
    }

    /// Says whether anything was left; what a failing test leaves, goes with the workshop.
    async fn close(self) -> Result<()> {
        let left = self.witness.docker(&["ps", "-aq", "--filter", &self.label()]).await?;
        ensure!(left.is_empty(), "containers were left: {left}");
        Ok(())
    }

    fn label(&self) -> String {
        format!("label=bakery.installation={}", self.installation)
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let docker = |args: &[&str]| {
            let host = &self.platform.engine().host;
            let output = std::process::Command::new("docker").env("DOCKER_HOST", host).args(args).output();
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
        };
        for id in docker(&["ps", "-aq", "--filter", &self.label()]).lines() {
            docker(&["rm", "-f", id]);
        }
        for id in docker(&["network", "ls", "-q", "--filter", &self.label()]).lines() {
            docker(&["network", "rm", id]);
        }
        docker(&["rmi", "-f", &self.image]);
    }
}

#[async_trait]
impl Stage for Workshop {
    fn launcher(&self) -> &dyn Launcher {
        &self.platform
    }
    fn arch(&self) -> Arch {
        self.platform.engine().arch
    }
    fn order(&self, part: Part) -> LaunchOrder {
        self.orders.playing(self.platform.engine().arch, part)
    }
    async fn play(&self, _run: RunName, _part: Part) {}
    async fn starts(&self, run: RunName) -> usize {
        let started = self.witness.started(&self.orders.build.to_string()).await.unwrap_or_default();
        started.iter().filter(|name| **name == run.to_string()).count()
    }
}

#[tokio::test]
async fn the_docker_platform_keeps_the_contract() -> Result<()> {
    let stage = Workshop::open("contract").await?;
    let kept = contract::keep(&stage).await;
    let closed = stage.close().await;
    kept.map_err(|why| anyhow!(why)).and(closed)
}

#[tokio::test]
async fn limits_hold_and_last_words_are_kept() -> Result<()> {
    let shop = Workshop::open("limits").await?;
    let hungry = shop.acting("x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done");
    let exit = shop.ending(&hungry).await?;
    ensure!(exit.reason == Some(Reason::OutOfMemory), "{exit:?}");
    let crashed = shop.acting("echo early words; echo more >&2; exit 9");
    let exit = shop.ending(&crashed).await?;
    ensure!(exit.code == Some(9), "{exit:?}");
    ensure!(exit.text.contains("early words") && exit.text.contains("more"), "{exit:?}");
    let bare = shop.acting("[ $(env | grep -c ^BAKERY) = 0 ] && id -u && [ $(id -u) = 0 ]");
    let exit = shop.ending(&bare).await?;
    ensure!(exit.code == Some(0), "root, and no variable that the order does not hold: {exit:?}");
    shop.close().await
}

#[tokio::test]
async fn a_new_server_finds_what_the_old_one_left() -> Result<()> {
    let shop = Workshop::open("heir").await?;
    let (stays, left) = (shop.order(Part::Stay), shop.order(Part::Leave(4)));
    shop.platform.launch(&stays).await?;
    shop.platform.launch(&left).await?;
    // The old server watched nothing any more: both containers are still there, one of them ended.
    let heir = Workshop::platform(&Parts::required(), &shop.installation, &shop.image).await?;
    ensure!(heir.gateway == shop.platform.gateway, "the bridge is adopted");
    let mut watch = heir.watch();
    let Some(Observation::Synced { live }) = watch.next().await else { bail!("no resync") };
    ensure!(live.contains(&stays.run) && live.contains(&left.run), "{live:?}");
    let exit = end_of(&mut watch, left.run).await?;
    ensure!(exit.code == Some(4), "{exit:?}");
    heir.launch(&stays).await?;
    let starts = shop.starts(stays.run).await;
    ensure!(starts == 1, "a living container is adopted, not started {starts} times");
    heir.stop(&stays.run).await?;
    // The ended one goes when the watcher asks for what comes next: the stop.
    end_of(&mut watch, stays.run).await?;
    ensure!(heir.list().await?.is_empty());
    shop.close().await
}

#[tokio::test]
async fn what_happened_while_the_engine_was_out_of_reach_is_told_afterwards() -> Result<()> {
    let shop = Workshop::open("cut").await?;
    let wire = Wire::to(&shop.platform.engine().host, "127.0.0.1").await?;
    let parts = Parts { docker_host: format!("tcp://{}", wire.addr), ..Parts::required() };
    let far = Workshop::platform(&parts, &shop.installation, &shop.image).await?;
    let mut watch = far.watch();
    watch.next().await.context("no resync")?;
    let (stays, leaves) = (shop.order(Part::Stay), shop.acting("sleep 3; exit 6"));
    far.launch(&stays).await?;
    far.launch(&leaves).await?;
    // The stream is open once it has told of both starts.
    for _ in [stays.run, leaves.run] {
        while !matches!(watch.next().await, Some(Observation::Progress { text, .. }) if text.contains("started"))
        {
        }
    }
    wire.cut();
    let name = leaves.run.to_string();
    ensure!(far.list().await.is_err_and(|error| error.retryable), "the wire is cut");
    ensure!(shop.witness.docker(&["wait", &name]).await?.trim() == "6");
    wire.mend();
    let mut live = Vec::new();
    let exit = loop {
        match watch.next().await.context("the watch ended")? {
            Observation::Synced { live: all } => live = all,
            Observation::Gone { run, exit } if run == leaves.run => break exit,
            _ => {}
        }
    };
    ensure!(live.contains(&stays.run), "what lives on is in the resync: {live:?}");
    ensure!(exit.code == Some(6), "{exit:?}");
    far.stop(&stays.run).await?;
    far.stop(&leaves.run).await?;
    shop.close().await
}

#[tokio::test]
async fn the_agent_image_of_an_index_is_pulled_for_each_architecture() -> Result<()> {
    let shop = Workshop::open("index").await?;
    let registry = Registry::on_loopback(Path::new(&required("BAKERY_TEST_REGISTRY_BIN"))).await?;
    let client = Client::new(RegistrySettings { loopback_http: true, ..RegistrySettings::default() });
    let index: ImageRef = format!("{}/agent:1", registry.host).parse()?;
    let mut members = Vec::new();
    for (arch, name) in
        Arch::ALL.into_iter().zip(["BAKERY_TEST_AGENT_IMAGE_AMD64", "BAKERY_TEST_AGENT_IMAGE_ARM64"])
    {
        // Pushed under other tags than those that the platform would take for its own copy.
        let image = index.with_tag(format!("source-{arch}"));
        let tag = image.to_string();
        shop.witness.docker(&["tag", &required(name), &tag]).await?;
        shop.witness.docker(&["push", &tag]).await?;
        shop.witness.docker(&["rmi", &tag]).await?;
        let digest = client.digest_of(&image, &[]).await?.context("nothing was pushed")?;
        members.push(Member { image, digest, arch });
    }
    client.publish_index(&index, &members, &[], &CancellationToken::new()).await?;
    let settings = |allow_emulation| DockerSettings {
        installation: shop.installation.clone(),
        agent_image: index.clone(),
        agent_login: None,
        allow_emulation,
    };
    let lookup =
        async |image: &ImageRef| client.platforms_of(image, &[]).await.map_err(|error| error.to_string());
    let native = DockerPlatform::prepare(shop.platform.engine().clone(), settings(false), lookup).await?;
    let both = DockerPlatform::prepare(shop.platform.engine().clone(), settings(true), lookup).await?;
    for member in &members {
        ensure!(native.can_run(member.arch).is_ok() == (member.arch == shop.arch()));
        both.can_run(member.arch).map_err(|reason| anyhow!("{}: {reason}", member.arch))?;
        let order = LaunchOrder { arch: member.arch, ..shop.acting("") };
        let mut watch = both.watch();
        watch.next().await.context("no resync")?;
        both.launch(&order).await?;
        let pinned = member.image.with_digest(member.digest.clone()).to_string();
        let Some(Observation::Progress { run, text, .. }) = watch.next().await else {
            bail!("no word of a pull")
        };
        ensure!(run == order.run && text.contains("pulling") && text.contains(&pinned), "{text}");
        let name = order.run.to_string();
        let image = shop.witness.docker(&["inspect", "-f", "{{.Config.Image}}", &name]).await?;
        ensure!(image.trim() == pinned, "{image}");
        let format = "{{.Architecture}}";
        ensure!(
            shop.witness.docker(&["image", "inspect", "-f", format, &pinned]).await?.trim()
                == member.arch.as_str()
        );
        both.stop(&order.run).await?;
        shop.witness.docker(&["rmi", &pinned]).await?;
    }
    shop.close().await
}

#[tokio::test]
async fn what_cannot_run_here_is_said_before_a_launch() -> Result<()> {
    let shop = Workshop::open("foreign").await?;
    let own = shop.arch();
    let other = Arch::ALL.into_iter().find(|arch| *arch != own).context("one architecture only")?;
    ensure!(shop.platform.can_run(own).is_ok() && shop.platform.why_not(own).is_none());
    ensure!(shop.platform.can_run(other) == Err(Reason::NoSuchArch));
    let words = shop.platform.why_not(other).context("no words")?;
    ensure!(words.contains("ALLOW_EMULATION") && words.contains("hint: "), "{words}");
    let stopped = shop.order(Part::Stay);
    shop.platform.stop(&stopped.run).await?;
    shop.platform.launch(&stopped).await?;
    ensure!(shop.starts(stopped.run).await == 0, "what was stopped before its launch is not started");
    shop.close().await
}
