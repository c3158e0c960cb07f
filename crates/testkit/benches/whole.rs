//! A whole build with Bakery, compared with a plain `docker run` of the same executor on the same context.
//!
//! Both build and push the same Dockerfile, about 2 s of work, within the same cpu and memory; the registry is emptied before
//! each run, so that one side's pushes do not help the other.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bakery_testkit::bench::{interleave, pairs};
use bakery_testkit::client::Client;
use bakery_testkit::engine::Engine;
use bakery_testkit::parts::Parts;
use bakery_testkit::project::{Project, single};
use bakery_testkit::registry::Registry;
use bakery_testkit::server::Server;

/// About a second of work besides Kaniko's own: a layer of random bytes, hashed and compressed.
const STEPS: &str = "COPY . /src\nRUN dd if=/dev/urandom of=/blob bs=1M count=12 2>/dev/null && sha256sum /blob\n\
                     RUN i=0; while [ $i -lt 500000 ]; do i=$((i+1)); done; echo $i";

#[tokio::main]
async fn main() -> Result<()> {
    let parts = Parts::required();
    let registry = Registry::start(&parts).await?;
    let server = Server::start(&parts, &[&registry.host], &[]).await?;
    let engine = Engine::new(&parts);
    let image = format!("{}/bench/app:1", registry.host);
    let config = single(&image).replace("global:\n", "global:\n  cpu: 2\n  memory: 2G\n");
    let project = Project::new(&parts, STEPS, &config)?;
    for n in 0..200 {
        project.write(&format!("src/{n}.txt"), &format!("{n}\n").repeat(500))?;
    }
    let client = Client::new(&parts, project.path(), &server.url);
    let ours = async || {
        registry.clear()?;
        let begin = Instant::now();
        let ended = client.run(&[]).await?;
        ensure!(ended.code == Some(0), "{}\n{}", ended.out, ended.err);
        Ok(begin.elapsed())
    };
    let mount = format!("{}:/workspace:ro", project.path().display());
    let insecure = [&registry.host, parts.base_registry()].map(|host| format!("--insecure-registry={host}"));
    let destination = format!("--destination={image}");
    let limits = ["run", "--rm", "--cpus=2", "--memory=2g", "--entrypoint", "/kaniko/executor"];
    let flags = ["--context=dir:///workspace", &destination, &insecure[0], &insecure[1]];
    let run = [&limits[..], &["-v", &mount, &parts.agent_amd64], &flags[..]].concat();
    let peer = async || {
        registry.clear()?;
        let begin = Instant::now();
        engine.docker(&run).await?;
        Ok::<Duration, anyhow::Error>(begin.elapsed())
    };
    let found = interleave(pairs(), ours, peer).await?;
    found.print(
        "one build, from the client's start to its exit",
        "bare docker run of the executor",
        "s",
        "<= 1.15",
    );
    Ok(())
}
