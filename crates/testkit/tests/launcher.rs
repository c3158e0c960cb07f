//! The Docker platform on a real engine: the contract of all launchers, and what else a launcher must do.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use async_trait::async_trait;
use bakery_core::image::ImageRef;
use bakery_core::names::{Arch, RunName};
use bakery_core::reason::Reason;
use bakery_registry::{Member, Registry as Client, RegistrySettings};
use bakery_server::platform::docker::{DockerOptions, DockerPlatform, Engine};
use bakery_server::platform::{Capabilities, LaunchOrder, Launcher, Observation};
use bakery_server::spawn::Tasks;
use bakery_testkit::cuttable_link::CuttableLink;
use bakery_testkit::engine::Engine as DockerCli;
use bakery_testkit::launcher_fixture::{Orders, check_limits, end_of, run_to_end, shell_image};
use bakery_testkit::parts::Parts;
use bakery_testkit::platform::contract::{self, Behavior, LauncherFixture};
use bakery_testkit::registry::Registry;
use bakery_testkit::vars;
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

/// A platform whose "agent" is a shell that runs a script from its order's environment.
struct DockerFixture {
    platform: DockerPlatform,
    docker: DockerCli,
    installation: String,
    image: String,
    orders: Orders,
}

impl DockerFixture {
    async fn open(name: &str) -> Result<Self> {
        let parts = Parts::required();
        let docker = DockerCli::new(&parts);
        // The process id keeps parallel test programs apart, the name the tests of this program.
        let installation = format!("{name}{}", std::process::id());
        let image = format!("bakery.test/{installation}:1");
        shell_image(&docker, &parts, name, &image).await?;
        let platform = Self::platform(&parts, &installation, &image).await?;
        Ok(Self { platform, docker, installation, image, orders: Orders::of(name, 500, 32) })
    }

    async fn platform(parts: &Parts, installation: &str, image: &str) -> Result<DockerPlatform> {
        let vars = BTreeMap::from([("DOCKER_HOST".to_owned(), parts.docker_host.clone())]);
        let options = DockerOptions {
            installation: installation.to_owned(),
            agent_image: image.parse()?,
            agent_login: None,
            allow_emulation: false,
            capabilities: Capabilities::default(),
        };
        let lookup = async |_: &_| Err("no registry is asked".to_owned());
        Ok(DockerPlatform::prepare(Engine::find(&vars).await?, options, &Tasks::new(), lookup).await?)
    }

    fn running(&self, script: &str) -> LaunchOrder {
        self.orders.running(self.platform.engine().arch, script)
    }

    /// Checks that nothing was left. What a failing test leaves is removed with the fixture.
    async fn close(self) -> Result<()> {
        let left = self.docker.docker(&["ps", "-aq", "--filter", &self.label()]).await?;
        ensure!(left.is_empty(), "containers were left: {left}");
        Ok(())
    }

    fn label(&self) -> String {
        format!("label=bakery.installation={}", self.installation)
    }
}

impl Drop for DockerFixture {
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
impl LauncherFixture for DockerFixture {
    fn launcher(&self) -> &dyn Launcher {
        &self.platform
    }
    fn arch(&self) -> Arch {
        self.platform.engine().arch
    }
    fn order(&self, behavior: Behavior) -> LaunchOrder {
        self.orders.for_behavior(self.platform.engine().arch, behavior)
    }
    async fn perform(&self, _run: RunName, _behavior: Behavior) {}
    async fn starts(&self, run: RunName) -> usize {
        let started = self.docker.started(&self.orders.build.to_string()).await.unwrap_or_default();
        started.iter().filter(|name| **name == run.to_string()).count()
    }
}

#[tokio::test]
async fn the_docker_platform_keeps_the_contract() -> Result<()> {
    let fixture = DockerFixture::open("contract").await?;
    let kept = contract::keep(&fixture).await;
    let closed = fixture.close().await;
    kept.map_err(|why| anyhow!(why)).and(closed)
}

#[tokio::test]
async fn limits_apply_and_the_last_output_is_kept() -> Result<()> {
    let fixture = DockerFixture::open("limits").await?;
    // Root, no variable that the order does not hold, and a limit of processes (cgroup v1 or v2).
    let bare = "[ $(env | grep -c ^BAKERY) = 0 ] && [ $(id -u) = 0 ] && \
        [ $(cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null) = 4096 ]";
    check_limits(&fixture.platform, &fixture.orders, fixture.arch(), bare).await?;
    let notices = fixture.platform.fit(500, 64, Some(40 << 10)).map_err(|message| anyhow!(message))?;
    ensure!(notices.len() == 1 && notices[0].starts_with("`disk` (40 GiB) has no effect"), "{notices:?}");
    fixture.close().await
}

#[tokio::test]
async fn tasks_reach_the_server_and_not_each_other() -> Result<()> {
    let fixture = DockerFixture::open("neighbours").await?;
    let serves = fixture.running("echo hello | nc -l -p 9999 & sleep 60");
    fixture.platform.launch(&serves).await?;
    let name = serves.run.to_string();
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let neighbour = fixture.docker.docker(&["inspect", "-f", format, &name]).await?.trim().to_owned();
    let gateway = fixture.platform.gateway;
    let listener = tokio::net::TcpListener::bind((gateway, 0)).await?;
    let port = listener.local_addr()?.port();
    let script = format!(
        "nc -w 5 {gateway} {port} </dev/null || exit 3; \
         ! nc -w 3 {neighbour} 9999 </dev/null || exit 4; ! ping -c 1 -w 2 {neighbour} || exit 5"
    );
    let asks = fixture.running(&script);
    // Closed at once: `nc` waits for the end of the connection.
    let accept = async { listener.accept().await.map(drop) };
    let (exit, accepted) = tokio::join!(run_to_end(&fixture.platform, &asks), accept);
    accepted?;
    ensure!(exit?.code == Some(0), "3: the server, 4: a port of a neighbour, 5: its address");
    // The port is open: from outside the bridge it is reached.
    tokio::net::TcpStream::connect((neighbour.as_str(), 9999)).await?;
    fixture.platform.stop(&serves.run).await?;
    fixture.close().await
}

#[tokio::test]
async fn tasks_on_a_bridge_of_an_earlier_version_are_adopted_and_then_it_is_removed() -> Result<()> {
    let fixture = DockerFixture::open("former").await?;
    let former = format!("bakery-{}", fixture.installation.chars().take(12).collect::<String>());
    let label = fixture.label().replace("label=", "");
    fixture.docker.docker(&["network", "create", "--label", &label, &former]).await?;
    let name = format!("{former}-task");
    let (image, sleep) = (&fixture.image, "DO=sleep 60");
    fixture.docker.docker(&["run", "-d", "--name", &name, "--network", &former, "-e", sleep, image]).await?;
    let of =
        async || DockerFixture::platform(&Parts::required(), &fixture.installation, &fixture.image).await;
    let format = "{{range .IPAM.Config}}{{.Gateway}}{{end}}";
    let gateway = fixture.docker.docker(&["network", "inspect", "-f", format, &former]).await?;
    let adopted = of().await?;
    ensure!(adopted.former_gateway.map(|it| it.to_string()).as_deref() == Some(gateway.trim()), "{gateway}");
    ensure!(adopted.former_gateway != Some(adopted.gateway), "new tasks join another bridge");
    fixture.docker.docker(&["rm", "-f", &name]).await?;
    ensure!(of().await?.former_gateway.is_none());
    let left =
        fixture.docker.docker(&["network", "ls", "-q", "--filter", &format!("name=^{former}$")]).await?;
    ensure!(left.is_empty(), "the former bridge is removed");
    fixture.close().await
}

#[tokio::test]
async fn a_stop_at_any_moment_of_a_launch_leaves_no_container() -> Result<()> {
    let fixture = DockerFixture::open("moments").await?;
    for moment in 0..100_u64 {
        let order = fixture.order(Behavior::Stay);
        {
            let mut launch = pin!(fixture.platform.launch(&order));
            // The caller gives up, as the actor of a cancelled build does.
            let wait = tokio::time::sleep(Duration::from_millis(moment * 3));
            tokio::select! { _ = &mut launch => {}, () = wait => {} }
        }
        fixture.platform.stop(&order.run).await?;
    }
    fixture.close().await
}

#[tokio::test]
async fn a_new_server_finds_the_runs_of_the_old_one() -> Result<()> {
    let fixture = DockerFixture::open("next").await?;
    let (stays, left) = (fixture.order(Behavior::Stay), fixture.order(Behavior::Leave(4)));
    fixture.platform.launch(&stays).await?;
    fixture.platform.launch(&left).await?;
    // The old server no longer watches: both containers still exist, one has ended.
    let next = DockerFixture::platform(&Parts::required(), &fixture.installation, &fixture.image).await?;
    ensure!(next.gateway == fixture.platform.gateway, "the bridge is adopted");
    let mut watch = next.watch();
    let Some(Observation::Synced { live }) = watch.next().await else { bail!("no resync") };
    ensure!(live.contains(&stays.run) && live.contains(&left.run), "{live:?}");
    let exit = end_of(&mut watch, left.run).await?;
    ensure!(exit.code == Some(4), "{exit:?}");
    next.launch(&stays).await?;
    let starts = fixture.starts(stays.run).await;
    ensure!(starts == 1, "a running container is adopted, not started {starts} times");
    next.stop(&stays.run).await?;
    // The ended one is removed when the watch is polled for the next observation.
    end_of(&mut watch, stays.run).await?;
    ensure!(next.list().await?.is_empty());
    fixture.close().await
}

#[tokio::test]
async fn what_happened_while_the_engine_was_unreachable_is_reported_afterwards() -> Result<()> {
    let fixture = DockerFixture::open("cut").await?;
    let link = CuttableLink::to(&fixture.platform.engine().host, "127.0.0.1").await?;
    let parts = Parts { docker_host: format!("tcp://{}", link.addr), ..Parts::required() };
    let far = DockerFixture::platform(&parts, &fixture.installation, &fixture.image).await?;
    let mut watch = far.watch();
    watch.next().await.context("no resync")?;
    let (stays, leaves) = (fixture.order(Behavior::Stay), fixture.running("sleep 3; exit 6"));
    far.launch(&stays).await?;
    far.launch(&leaves).await?;
    // The stream is open once it has reported both starts.
    for _ in [stays.run, leaves.run] {
        while !matches!(watch.next().await, Some(Observation::Progress { message, .. }) if message.text.contains("started"))
        {
        }
    }
    link.cut();
    let name = leaves.run.to_string();
    ensure!(far.list().await.is_err_and(|error| error.retryable), "the link is cut");
    ensure!(fixture.docker.docker(&["wait", &name]).await?.trim() == "6");
    link.mend();
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
    fixture.close().await
}

#[tokio::test]
async fn the_agent_image_of_an_index_is_pulled_for_each_architecture() -> Result<()> {
    let fixture = DockerFixture::open("index").await?;
    let registry = Registry::on_loopback(Path::new(&vars::REGISTRY_BIN.required())).await?;
    let client = Client::new(RegistrySettings { loopback_http: true, ..RegistrySettings::default() });
    let index: ImageRef = format!("{}/agent:1", registry.host).parse()?;
    let mut members = Vec::new();
    for (arch, image_var) in Arch::ALL.into_iter().zip([vars::AGENT_IMAGE_AMD64, vars::AGENT_IMAGE_ARM64]) {
        // Pushed with other tags than those that the platform would accept as its own copy.
        let image = index.with_tag(format!("source-{arch}"));
        let tag = image.to_string();
        fixture.docker.docker(&["tag", &image_var.required(), &tag]).await?;
        fixture.docker.docker(&["push", &tag]).await?;
        fixture.docker.docker(&["rmi", &tag]).await?;
        let digest = client.digest_of(&image, &[]).await?.context("nothing was pushed")?;
        members.push(Member { image, digest, arch });
    }
    client.publish_index(&index, &members, &[], &CancellationToken::new()).await?;
    let options = |allow_emulation| DockerOptions {
        installation: fixture.installation.clone(),
        agent_image: index.clone(),
        agent_login: None,
        allow_emulation,
        capabilities: Capabilities::default(),
    };
    let tasks = Tasks::new();
    let lookup =
        async |image: &ImageRef| client.platforms_of(image, &[]).await.map_err(|error| error.to_string());
    let engine = fixture.platform.engine();
    let native = DockerPlatform::prepare(engine.clone(), options(false), &tasks, lookup).await?;
    let both = DockerPlatform::prepare(engine.clone(), options(true), &tasks, lookup).await?;
    for member in &members {
        ensure!(native.can_run(member.arch).is_ok() == (member.arch == fixture.arch()));
        both.can_run(member.arch).map_err(|reason| anyhow!("{}: {reason}", member.arch))?;
        let order = LaunchOrder { arch: member.arch, ..fixture.running("") };
        let mut watch = both.watch();
        watch.next().await.context("no resync")?;
        both.launch(&order).await?;
        let pinned = member.image.with_digest(member.digest.clone()).to_string();
        let Some(Observation::Progress { run, message, .. }) = watch.next().await else {
            bail!("the pull was not reported")
        };
        let text = message.text;
        ensure!(run == order.run && text.contains("pulling") && text.contains(&pinned), "{text}");
        let name = order.run.to_string();
        let image = fixture.docker.docker(&["inspect", "-f", "{{.Config.Image}}", &name]).await?;
        ensure!(image.trim() == pinned, "{image}");
        let format = "{{.Architecture}}";
        ensure!(
            fixture.docker.docker(&["image", "inspect", "-f", format, &pinned]).await?.trim()
                == member.arch.as_str()
        );
        both.stop(&order.run).await?;
        fixture.docker.docker(&["rmi", &pinned]).await?;
    }
    fixture.close().await
}

#[tokio::test]
async fn what_cannot_run_here_is_refused_before_a_launch() -> Result<()> {
    let fixture = DockerFixture::open("foreign").await?;
    let own = fixture.arch();
    let other = Arch::ALL.into_iter().find(|arch| *arch != own).context("one architecture only")?;
    ensure!(fixture.platform.can_run(own).is_ok() && fixture.platform.why_not(own).is_none());
    ensure!(fixture.platform.can_run(other) == Err(Reason::NoSuchArch));
    let hint = fixture.platform.why_not(other).and_then(|message| message.hint).context("no hint")?;
    ensure!(hint.contains("ALLOW_EMULATION"), "{hint}");
    let stopped = fixture.order(Behavior::Stay);
    fixture.platform.stop(&stopped.run).await?;
    fixture.platform.launch(&stopped).await?;
    ensure!(fixture.starts(stopped.run).await == 0, "what was stopped before its launch is not started");
    fixture.close().await
}
