//! A proxy in front of the server, configured as in docs/kubernetes.md: log lines pass as they come, and so does a
//! context that an unconfigured proxy refuses.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::client::Log;
use bakery_testkit::process::{Running, free_port, until};
use bakery_testkit::project::{Project, numbered};
use bakery_testkit::repository;
use bakery_testkit::vars;
use tempfile::TempDir;
use tokio::process::Command;

use bakery_testkit::cluster::example;
use bakery_testkit::k8s_env::{K8sEnv, single};

/// Debian's nginx in front of a server.
struct Nginx {
    url: String,
    _process: Running,
    _folder: TempDir,
}

impl Nginx {
    async fn start(listen: &str, location: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = folder.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("  {name}_temp_path {at}/{name};\n"))
            .concat();
        // One process: a worker would survive a killed master.
        let text = format!(
            "daemon off;\nmaster_process off;\npid {at}/pid;\nuser root;\nevents {{ worker_connections 256; }}\n\
             http {{\n  access_log off;\n{temporary}  server {{\n    listen {listen};\n{location}\n  }}\n}}\n"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, text)?;
        let mut command = Command::new(vars::NGINX.required());
        command.arg("-p").arg(folder.path()).arg("-c").arg(&file).arg("-e").arg("stderr");
        let log = folder.path().join("log");
        let process = Running::start("nginx", command, &log)?;
        let url = format!("http://{listen}");
        let up = async || reqwest::get(&url).await.is_ok();
        until("nginx", Duration::from_secs(10), up)
            .await
            .with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;
        Ok(Self { url, _process: process, _folder: folder })
    }
}

/// The block of the page, with this server's address.
fn documented(server: &str) -> Result<String> {
    let text = repository::read("docs/kubernetes.md")?;
    let (_, rest) = text.split_once("```nginx\n").context("no nginx block in docs/kubernetes.md")?;
    let (block, _) = rest.split_once("```").context("the block has no end")?;
    ensure!(block.contains("http://127.0.0.1:3000"), "{block}");
    Ok(block.replace("http://127.0.0.1:3000", server))
}

/// A server whose clients and agents connect through a proxy with this location.
async fn behind(name: &str, location: impl FnOnce(&str) -> Result<String>) -> Result<(K8sEnv, Nginx)> {
    let mut env = K8sEnv::stopped(name, &[]).await?;
    let listen = free_port(&env.namespace.cluster.host)?.to_string();
    env.server.set("CONTROLLER_URL", &format!("http://{listen}"));
    env.server.run().await?;
    let nginx = Nginx::start(&listen, &location(&env.server.url)?).await?;
    Ok((env, nginx))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_builds_log_passes_the_documented_proxy_line_by_line() -> Result<()> {
    let (env, nginx) = behind("proxied", documented).await?;
    let image = env.image("proxied/app:1");
    let steps = format!("COPY big /big\n{}", numbered("line", 10, 400));
    let project = Project::new(&env.parts, &steps, &single(&image))?;
    project.write("big", &noise())?;
    let client = bakery_testkit::client::Client::new(&env.parts, project.path(), &nginx.url);
    let mut child = client.spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    log.until("line 1").await?;
    let first = Instant::now();
    log.until("line 10").await?;
    let apart = first.elapsed();
    ensure!(apart > Duration::from_secs(2), "ten lines of 3.6 s came within {apart:?}: they were held back");
    println!(
        "through the documented proxy the first and the last of ten lines, 3.6 s apart, came {apart:?} apart"
    );
    ensure!(child.wait().await?.code() == Some(0), "{}", env.server.log());
    env.gone(Duration::from_secs(20)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unconfigured_proxy_refuses_what_the_documented_one_passes() -> Result<()> {
    let bare = |server: &str| Ok(format!("    location / {{ proxy_pass {server}; }}"));
    let (env, nginx) = behind("bare", bare).await?;
    let project = Project::new(&env.parts, "COPY big /big", &single(&env.image("bare/app:1")))?;
    project.write("big", &noise())?;
    let client = bakery_testkit::client::Client::new(&env.parts, project.path(), &nginx.url);
    let ended = client.run(&[]).await?;
    ensure!(ended.code != Some(0) && ended.err.contains("413"), "{}", env.details(&ended));
    Ok(())
}

/// Comments in the Ingress name the directive of each annotation: the page's block has them all.
#[test]
fn the_ingress_and_the_page_set_the_same_directives() -> Result<()> {
    let ingress = std::fs::read_to_string(example("ing.yaml"))?;
    let block = documented("http://127.0.0.1:3000")?;
    let named: Vec<_> = ingress
        .lines()
        .filter_map(|line| line.trim().strip_prefix("# ")?.split_once(": ").map(|(directive, _)| directive))
        .filter(|directive| directive.starts_with("proxy_") || directive.starts_with("client_"))
        .collect();
    ensure!(named.len() >= 6, "{named:?}");
    for directive in named {
        let words: Vec<_> = directive.split(' ').collect();
        let there = block.lines().any(|line| {
            words.iter().all(|word| line.trim_end_matches(';').split_whitespace().any(|it| it == *word))
        });
        ensure!(there, "the page's block has no `{directive}`");
    }
    Ok(())
}

/// Three MB that do not compress: more than an unconfigured proxy accepts.
fn noise() -> String {
    (0_u64..400_000).fold(String::new(), |mut noise, n| {
        let _ = write!(noise, "{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        noise
    })
}
