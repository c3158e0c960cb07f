//! The common part of the tests of all launchers: an "agent" that is a shell, and orders with scripts for it.

use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_core::names::{Arch, BuildId, RunName, TaskId};
use bakery_core::reason::Reason;
use bakery_server::platform::{Exit, LaunchOrder, Launcher, Observation};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

use crate::engine::Engine;
use crate::parts::Parts;
use crate::platform::contract::Behavior;

/// Makes the orders of one build, each with a run of its own.
#[derive(Debug)]
pub struct Orders {
    /// The build.
    pub build: BuildId,
    /// The memory of each, in MiB.
    pub memory_mib: u32,
    /// The cpu of each, in thousandths.
    pub cpu_millis: u32,
    next: AtomicU16,
}

impl Orders {
    /// The orders of a test. Its name and the process id keep parallel tests apart.
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
            disk_mib: None,
            env: vec![("DO".to_owned(), script.into())],
            deadline: Duration::from_mins(1),
        }
    }

    /// An order whose agent behaves like this.
    pub fn for_behavior(&self, arch: Arch, behavior: Behavior) -> LaunchOrder {
        match behavior {
            // Process 1 ends on SIGTERM only with a trap.
            Behavior::Stay => self.running(arch, "trap 'exit 0' TERM; while :; do sleep 0.1; done"),
            Behavior::Leave(code) => self.running(arch, &format!("exit {code}")),
        }
    }
}

/// Makes an image in the engine's store whose program is the shell of the agent image.
pub async fn shell_image(engine: &Engine, parts: &Parts, name: &str, image: &str) -> Result<()> {
    let container = format!("{name}-{}-source", std::process::id());
    engine.docker(&["create", "--name", &container, &parts.agent_amd64]).await?;
    let entrypoint = r#"ENTRYPOINT ["/kaniko/bin/sh", "-c", "eval \"$DO\""]"#;
    let commit = engine.docker(&["commit", "--change", entrypoint, &container, image]).await;
    engine.docker(&["rm", &container]).await?;
    commit.map(drop)
}

/// Launches, waits for the end, and stops the run so that it is cleaned up.
pub async fn run_to_end(launcher: &dyn Launcher, order: &LaunchOrder) -> Result<Exit> {
    let mut watch = launcher.watch();
    watch.next().await.context("no resync")?;
    launcher.launch(order).await?;
    let exit = end_of(&mut watch, order.run).await?;
    launcher.stop(&order.run).await?;
    Ok(exit)
}

/// Reads observations until a run's end.
pub async fn end_of(watch: &mut BoxStream<'static, Observation>, run: RunName) -> Result<Exit> {
    loop {
        match watch.next().await.context("the watch ended")? {
            Observation::Gone { run: other, exit } if other == run => return Ok(exit),
            _ => {}
        }
    }
}

/// Succeeds in a process that has the capabilities that Kaniko needs and no others: CHOWN, `DAC_OVERRIDE`, FOWNER, FSETID,
/// KILL, SETGID and SETUID are the bits 0, 1 and 3 to 7, SETFCAP is bit 31.
const REQUIRED_CAPABILITIES: &str = "grep -E '^Cap(Eff|Bnd):' /proc/self/status; \
    [ $(grep -cE '^Cap(Eff|Bnd):.*00000000800000fb$' /proc/self/status) = 2 ]";

/// Runs into the memory limit, fails with output, reads its capabilities, and runs `bare`, which must succeed: a check of
/// what the container has.
///
/// The reason and the text of each end must match.
pub async fn check_limits(launcher: &dyn Launcher, orders: &Orders, arch: Arch, bare: &str) -> Result<()> {
    let hungry = orders.running(arch, "x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done");
    let exit = run_to_end(launcher, &hungry).await?;
    ensure!(exit.reason == Some(Reason::OutOfMemory), "{exit:?}");
    println!("out of memory: {}", exit.message);
    let crashed = orders.running(arch, "echo early words; echo more >&2; exit 9");
    let exit = run_to_end(launcher, &crashed).await?;
    ensure!(exit.code == Some(9), "{exit:?}");
    let text = &exit.message.text;
    ensure!(text.contains("early words") && text.contains("more"), "{exit:?}");
    for script in [REQUIRED_CAPABILITIES, bare] {
        let exit = run_to_end(launcher, &orders.running(arch, script)).await?;
        ensure!(exit.code == Some(0), "{script}: {exit:?}");
    }
    Ok(())
}
