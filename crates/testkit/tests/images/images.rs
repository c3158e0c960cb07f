//! The three images that Bakery has just baked, by digest, run by this machine's engine.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::engine::Engine;
use bakery_testkit::parts::Parts;
use bakery_testkit::process::{free_port, until};
use bakery_testkit::project::Project;
use bakery_testkit::registry::Registry;
use bakery_testkit::skopeo::{architectures, inspect};
use bakery_testkit::vars::{self, Variable};
use serde_json::Value;

const PARTS: [&str; 3] = ["server", "client", "agent"];
const ARCHES: [&str; 2] = ["amd64", "arm64"];

/// The builder of the images: variables with their names for this machine, since the engine uses plain HTTP for
/// loopback only.
const BAKERY: Variable = vars::IMAGES;
const BUILDX: Variable = vars::BUILDX_IMAGES;

/// Name and tag of one of the three images.
fn image(made: Variable, part: &str) -> (String, String) {
    (format!("{}-{part}", made.required()), vars::IMAGES_TAG.required())
}

/// One architecture of an image. It is named by digest, since an engine keeps one architecture for each tag.
async fn member(parts: &Parts, made: Variable, part: &str, arch: &str) -> Result<(String, Value)> {
    let (name, tag) = image(made, part);
    let index = inspect(parts, &format!("{name}:{tag}"), &["--raw"]).await?;
    let members = index["manifests"].as_array().context("an index")?;
    let member = members.iter().find(|member| member["platform"]["architecture"] == arch);
    let digest = member.and_then(|member| member["digest"].as_str()).context("a digest")?;
    let reference = format!("{name}@{digest}");
    let manifest = inspect(parts, &reference, &["--raw"]).await?;
    Ok((reference, manifest))
}

/// A container that is removed when dropped.
struct Container<'a> {
    name: String,
    host: &'a str,
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("docker")
            .env("DOCKER_HOST", self.host)
            .args(["rm", "-f", &self.name])
            .output();
    }
}

#[tokio::test]
async fn every_image_is_an_index_of_both_architectures_whose_program_runs_and_prints_its_version()
-> Result<()> {
    let parts = Parts::required();
    let engine = Engine::new(&parts);
    for (made, part) in [BAKERY, BUILDX].into_iter().flat_map(|made| PARTS.map(|part| (made, part))) {
        let (name, tag) = image(made, part);
        let index = inspect(&parts, &format!("{name}:{tag}"), &["--raw"]).await?;
        ensure!(architectures(&index)? == ARCHES.map(Some), "{index}");
        for arch in ARCHES {
            let (reference, manifest) = member(&parts, made, part, arch).await?;
            engine.docker(&["pull", "-q", "--platform", &format!("linux/{arch}"), &reference]).await?;
            let run = ["run", "--rm", "--platform", &format!("linux/{arch}"), &reference];
            // The client's image has no entry point: CI systems start a shell.
            let run = if part == "client" { [&run[..], &["bakery-client"]].concat() } else { run.to_vec() };
            let began = Instant::now();
            let printed = engine.docker(&[&run[..], &["--version"]].concat()).await?;
            let took = began.elapsed();
            let help = engine.docker(&[&run[..], &["--help"]].concat()).await?;
            ensure!(help.contains(&format!("Usage: bakery-{part}")), "{part} {arch}: {help}");
            let version = env!("CARGO_PKG_VERSION");
            ensure!(
                printed.starts_with(&format!("bakery-{part} {version} (commit ")),
                "{part} {arch}: {printed}"
            );
            let layers = manifest["layers"].as_array().context("layers")?;
            let size: u64 = layers.iter().filter_map(|layer| layer["size"].as_u64()).sum();
            let (size, layers, printed) = (megabytes(size), layers.len(), printed.trim());
            println!("{name} {arch}: {size:.1} MB compressed in {layers} layers; `{printed}` in {took:.1?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_images_have_the_user_entry_point_and_labels_of_their_dockerfiles() -> Result<()> {
    let parts = Parts::required();
    let promised = [
        ("server", Some("65532:65532"), Some("/usr/local/bin/bakery-server"), true),
        ("client", None, None, false),
        ("agent", None, Some("/kaniko/bakery-agent"), false),
    ];
    for (made, (part, user, entry, health)) in
        [BAKERY, BUILDX].into_iter().flat_map(|made| promised.map(|it| (made, it)))
    {
        let (reference, _) = member(&parts, made, part, "amd64").await?;
        let config = inspect(&parts, &reference, &["--config", "--raw"]).await?["config"].take();
        // CI systems run steps of their own in the client's image, and Kaniko needs root.
        ensure!(config["User"].as_str().filter(|user| !user.is_empty()) == user, "{part}: {config}");
        ensure!(config["Entrypoint"][0].as_str() == entry, "{part}: {config}");
        ensure!(config["Healthcheck"].is_object() == health, "{part}: {config}");
        let label = |name: &str| config["Labels"][format!("org.opencontainers.image.{name}")].as_str();
        ensure!(label("title") == Some(&format!("bakery-{part}")), "{part}: {config}");
        ensure!(label("version") == Some(&vars::IMAGES_TAG.required()), "{part}: {config}");
        ensure!(label("revision").is_some_and(|commit| commit.len() >= 12), "{part}: {config}");
    }
    Ok(())
}

/// Every file of an image, as `tar -tv` shows it.
pub(crate) async fn files(engine: &Engine, parts: &Parts, image: &str) -> Result<String> {
    let id = engine.docker(&["create", "--platform=linux/amd64", image, "-"]).await?;
    let container = Container { name: id.trim().to_owned(), host: &parts.docker_host };
    let folder = tempfile::tempdir()?;
    let archive = folder.path().join("image.tar").display().to_string();
    engine.docker(&["export", "-o", &archive, &container.name]).await?;
    let listed =
        tokio::process::Command::new("tar").args(["--numeric-owner", "-tvf", &archive]).output().await?;
    Ok(String::from_utf8_lossy(&listed.stdout).into_owned())
}

#[tokio::test]
async fn each_image_contains_what_it_needs_and_the_servers_nothing_else() -> Result<()> {
    let parts = Parts::required();
    let engine = Engine::new(&parts);
    let needed: [(&str, &[&str]); 3] = [
        (
            "server",
            &[
                "0/0 usr/local/bin/bakery-server",
                "0/0 etc/ssl/certs/ca-certificates.crt",
                "65532/65532 var/lib/bakery/",
            ],
        ),
        (
            "client",
            &["0/0 usr/local/bin/bakery-client", "0/0 etc/ssl/certs/ca-certificates.crt", "0/0 bin/sh"],
        ),
        (
            "agent",
            &[
                "0/0 kaniko/bakery-agent",
                "0/0 kaniko/executor",
                "0/0 kaniko/tini",
                "0/0 kaniko/bin/sh",
                "0/0 kaniko/ssl/certs/ca-certificates.crt",
            ],
        ),
    ];
    for (made, (part, needed)) in [BAKERY, BUILDX].into_iter().flat_map(|made| needed.map(|it| (made, it))) {
        let (reference, _) = member(&parts, made, part, "amd64").await?;
        engine.docker(&["pull", "-q", "--platform=linux/amd64", &reference]).await?;
        let files = files(&engine, &parts, &reference).await?;
        // Mode, owner, size, date, time, name and the target of a link.
        let there = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            Some(format!("{} {}", words.get(1)?, words.get(5)?))
        };
        let there: Vec<String> = files.lines().filter_map(there).collect();
        for file in needed {
            ensure!(there.iter().any(|it| it == file), "{} {part} lacks {file}:\n{files}", made.name);
        }
        ensure!(part != "server" || !files.contains("bin/sh"), "{}: the server has a shell", made.name);
    }
    Ok(())
}

#[tokio::test]
async fn the_three_images_bake_together_for_both_architectures() -> Result<()> {
    let parts = Parts::required();
    let engine = Engine::new(&parts);
    let registry = Registry::start(&parts).await?;
    let (server, _) = member(&parts, BAKERY, "server", "amd64").await?;
    let (client, _) = member(&parts, BAKERY, "client", "amd64").await?;
    let (agent, tag) = image(BAKERY, "agent");
    let url = format!("http://{}", free_port("127.0.0.1")?);
    let name = format!("bakery-ship-{}", std::process::id());
    let socket = parts.docker_host.strip_prefix("unix://").context("a socket")?;
    let insecure = format!("INSECURE_REGISTRIES={},{}", registry.host, parts.base_registry());
    let container = Container { name, host: &parts.docker_host };
    let began = Instant::now();
    // Root for the engine's socket; the host's network for the agent listener on a bridge of its own.
    engine
        .docker(&[
            "run",
            "-d",
            "--name",
            &container.name,
            "--network=host",
            "--user=0:0",
            "-v",
            &format!("{socket}:/var/run/docker.sock"),
            "-e",
            &format!("BAKERY_LISTEN={}", &url["http://".len()..]),
            "-e",
            &format!("AGENT_IMAGE={agent}:{tag}"),
            "-e",
            &insecure,
            "-e",
            "ALLOW_EMULATION=true",
            "--health-interval=1s",
            &server,
        ])
        .await?;
    let server_log = async || engine.docker(&["logs", &container.name]).await.unwrap_or_default();
    let healthy = async || {
        let state = engine.docker(&["inspect", "-f", "{{.State.Health.Status}}", &container.name]).await;
        state.is_ok_and(|state| state.trim() == "healthy")
    };
    let ready =
        async || reqwest::get(format!("{url}/readyz")).await.is_ok_and(|answer| answer.status().is_success());
    if let Err(error) = until("the server", Duration::from_mins(1), ready).await {
        anyhow::bail!("{error}\n{}", server_log().await);
    }
    println!("server: ready {:.1?} after docker run", began.elapsed());
    until("its health check", Duration::from_secs(30), healthy).await?;

    let destination = format!("{}/shipped/app", registry.host);
    let config = format!(
        "global:\n  kaniko: {{ destination: '{destination}:1' }}\nbake:\n- arch: amd64\n- arch: arm64\n"
    );
    let project = Project::new(&parts, "RUN uname -m >/machine", &config)?;
    let source = format!("{}:/source", Path::display(project.path()));
    let began = Instant::now();
    let printed = engine
        .docker(&[
            "run",
            "--rm",
            "--network=host",
            "-v",
            &source,
            "-w",
            "/source",
            "-e",
            &format!("CONTROLLER_URL={url}"),
            "-e",
            "LOG_FORMAT=plain",
            &client,
            "bakery-client",
        ])
        .await;
    let printed = match printed {
        Ok(printed) => printed,
        Err(error) => anyhow::bail!("{error}\nserver:\n{}", server_log().await),
    };
    println!(
        "a build for both architectures, one of them emulated, client to index: {:.1?}",
        began.elapsed()
    );
    let built = inspect(&parts, &format!("{destination}:1"), &["--raw"]).await?;
    ensure!(architectures(&built)? == ARCHES.map(Some), "{built}\n{printed}");
    for arch in ARCHES {
        ensure!(printed.contains(&format!("on linux/{arch}")), "{printed}");
    }
    Ok(())
}

fn megabytes(bytes: u64) -> f64 {
    u32::try_from(bytes / 100_000).map_or(f64::INFINITY, |tenths| f64::from(tenths) / 10.0)
}
