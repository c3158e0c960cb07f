//! What the tests of every launcher have in common: an "agent" that is a shell, and orders that tell it what to do.

use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bakery_core::names::{Arch, BuildId, RunName, TaskId};
use bakery_server::platform::contract::Part;
use bakery_server::platform::{Exit, LaunchOrder, Launcher, Observation};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

use crate::engine::Engine;
use crate::parts::Parts;

/// Orders of one build, a run each.
#[derive(Debug)]
pub struct Orders {
    /// The build.
    pub build: BuildId,
    /// MiB of each.
    pub memory_mib: u32,
    /// Thousandths of a cpu of each.
    pub cpu_millis: u32,
    next: AtomicU16,
}

impl Orders {
    /// Those of a test. Its name and the process id keep parallel tests apart.
    pub fn of(name: &str, cpu_millis: u32, memory_mib: u32) -> Self {
        let number =
            name.bytes().fold(u128::from(std::process::id()), |sum, byte| sum << 8 | u128::from(byte));
        Self { build: BuildId::new(1, number), memory_mib, cpu_millis, next: AtomicU16::new(0) }
    }

    /// An order whose agent runs this script.
    pub fn running(&self, arch: Arch, script: &str) -> LaunchOrder {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        LaunchOrder {
            run: RunName { task: TaskId { build: self.build, index }, attempt: 1 },
            arch,
            cpu_millis: self.cpu_millis,
            memory_mib: self.memory_mib,
            env: vec![("DO".to_owned(), script.into())],
            deadline: Duration::from_mins(1),
        }
    }

    /// An order whose agent plays this part.
    pub fn for_part(&self, arch: Arch, part: Part) -> LaunchOrder {
        match part {
            // A shell ends on SIGTERM only if it says so, and process 1 more than any other.
            Part::Stay => self.running(arch, "trap 'exit 0' TERM; while :; do sleep 0.1; done"),
            Part::Leave(code) => self.running(arch, &format!("exit {code}")),
        }
    }
}

/// Makes an image whose program is the shell of the agent image, in the engine's store.
pub async fn shell_image(engine: &Engine, parts: &Parts, name: &str, image: &str) -> Result<()> {
    let container = format!("{name}-{}-source", std::process::id());
    engine.docker(&["create", "--name", &container, &parts.agent_amd64]).await?;
    let entrypoint = r#"ENTRYPOINT ["/kaniko/bin/sh", "-c", "eval \"$DO\""]"#;
    let commit = engine.docker(&["commit", "--change", entrypoint, &container, image]).await;
    engine.docker(&["rm", &container]).await?;
    commit.map(drop)
}

/// Launches, waits for the end, and has it put away.
pub async fn run_to_end(launcher: &dyn Launcher, order: &LaunchOrder) -> Result<Exit> {
    let mut watch = launcher.watch();
    watch.next().await.context("no resync")?;
    launcher.launch(order).await?;
    let exit = end_of(&mut watch, order.run).await?;
    launcher.stop(&order.run).await?;
    Ok(exit)
}

/// Reads on until a run's end.
pub async fn end_of(watch: &mut BoxStream<'static, Observation>, run: RunName) -> Result<Exit> {
    loop {
        match watch.next().await.context("the watch ended")? {
            Observation::Gone { run: other, exit } if other == run => return Ok(exit),
            _ => {}
        }
    }
}
