//! What every launcher promises, as tests that any of them can be put through: the fake one by this crate's own tests, the
//! real ones on real platforms.

use std::time::Duration;

use async_trait::async_trait;
use bakery_core::names::{Arch, RunName};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

use super::{Exit, LaunchOrder, Launcher, Observation};

/// How long a platform may take to report something.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a watch must report nothing for it to count as nothing.
const QUIET: Duration = Duration::from_millis(300);

/// What a container of these tests does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behavior {
    /// Runs until it is stopped.
    Stay,
    /// Ends with this code.
    Leave(i32),
}

/// A launcher on a platform whose containers behave as ordered.
#[async_trait]
pub trait LauncherFixture: Send + Sync {
    /// The launcher under test.
    fn launcher(&self) -> &dyn Launcher;
    /// An architecture that it runs.
    fn arch(&self) -> Arch;
    /// An order, with a new run each time, whose container behaves like this.
    fn order(&self, behavior: Behavior) -> LaunchOrder;
    /// Makes the launched container behave like this, where it does not by itself.
    async fn perform(&self, run: RunName, behavior: Behavior);
    /// How often a container of this run was started, by another source than the launcher.
    async fn starts(&self, run: RunName) -> usize;
}

type ContractResult = Result<(), String>;

fn holds(condition: bool, promise: &str) -> ContractResult {
    if condition { Ok(()) } else { Err(format!("broken promise: {promise}")) }
}

/// Puts a launcher through all tests of the contract; the error names the promise that is broken.
pub async fn keep(fixture: &dyn LauncherFixture) -> ContractResult {
    holds(fixture.launcher().can_run(fixture.arch()).is_ok(), "it runs its own architecture")?;
    an_order_starts_one_container(fixture).await?;
    ending_an_ended_run_succeeds(fixture).await?;
    an_exit_is_reported_and_then_cleared(fixture, 0).await?;
    an_exit_is_reported_and_then_cleared(fixture, 3).await?;
    every_watch_begins_with_what_is_there(fixture).await
}

async fn an_order_starts_one_container(fixture: &dyn LauncherFixture) -> ContractResult {
    let order = fixture.order(Behavior::Stay);
    launch(fixture, &order).await?;
    launch(fixture, &order).await?;
    let twice = futures_util::join!(launch(fixture, &order), launch(fixture, &order));
    twice.0.and(twice.1)?;
    let listed = list(fixture).await?.into_iter().filter(|run| *run == order.run).count();
    holds(listed == 1, "the same order again starts nothing new: one is listed")?;
    holds(fixture.starts(order.run).await == 1, "the same order again starts nothing new: one was started")?;
    stop(fixture, order.run).await
}

async fn ending_an_ended_run_succeeds(fixture: &dyn LauncherFixture) -> ContractResult {
    let mut watch = fixture.launcher().watch();
    synced(&mut watch).await?;
    let order = fixture.order(Behavior::Stay);
    stop(fixture, order.run).await.map_err(|error| format!("stopping a run that never was: {error}"))?;
    let order = fixture.order(Behavior::Stay);
    launch(fixture, &order).await?;
    stop(fixture, order.run).await?;
    holds(!list(fixture).await?.contains(&order.run), "a stopped container is no longer listed")?;
    gone(&mut watch, order.run).await?;
    stop(fixture, order.run).await?;
    launch(fixture, &order).await?;
    holds(fixture.starts(order.run).await == 1, "an order that was stopped starts nothing new")
}

async fn an_exit_is_reported_and_then_cleared(fixture: &dyn LauncherFixture, code: i32) -> ContractResult {
    let mut watch = fixture.launcher().watch();
    synced(&mut watch).await?;
    let order = fixture.order(Behavior::Leave(code));
    launch(fixture, &order).await?;
    fixture.perform(order.run, Behavior::Leave(code)).await;
    let exit = gone(&mut watch, order.run).await?;
    holds(exit.code == Some(code), &format!("an exit of {code} is reported as it was: {exit:?}"))?;
    // A reader that asks for the next item has taken the exit over.
    if let Ok(Some(item)) = tokio::time::timeout(QUIET, watch.next()).await {
        let again = matches!(&item, Observation::Gone { run, .. } if *run == order.run);
        holds(!again, "one watch reports an exit once")?;
    }
    holds(
        !list(fixture).await?.contains(&order.run),
        "an ended container is removed once its exit was reported",
    )?;
    launch(fixture, &order).await?;
    holds(fixture.starts(order.run).await == 1, "an order whose run has ended starts nothing new")
}

async fn every_watch_begins_with_what_is_there(fixture: &dyn LauncherFixture) -> ContractResult {
    let stays = fixture.order(Behavior::Stay);
    launch(fixture, &stays).await?;
    let left = fixture.order(Behavior::Leave(5));
    launch(fixture, &left).await?;
    fixture.perform(left.run, Behavior::Leave(5)).await;
    for _ in 0..2 {
        let mut watch = fixture.launcher().watch();
        let live = synced(&mut watch).await?;
        holds(live.contains(&stays.run), "a watch begins with what is there")?;
    }
    stop(fixture, stays.run).await?;
    stop(fixture, left.run).await?;
    let mut watch = fixture.launcher().watch();
    let live = synced(&mut watch).await?;
    holds(
        !live.contains(&stays.run) && !live.contains(&left.run),
        "what is stopped is not in the next resync",
    )
}

async fn launch(fixture: &dyn LauncherFixture, order: &LaunchOrder) -> ContractResult {
    fixture.launcher().launch(order).await.map_err(|error| format!("launching {}: {error}", order.run))
}

async fn stop(fixture: &dyn LauncherFixture, run: RunName) -> ContractResult {
    fixture.launcher().stop(&run).await.map_err(|error| format!("stopping {run}: {error}"))
}

async fn list(fixture: &dyn LauncherFixture) -> Result<Vec<RunName>, String> {
    fixture.launcher().list().await.map_err(|error| format!("listing: {error}"))
}

async fn synced(watch: &mut BoxStream<'static, Observation>) -> Result<Vec<RunName>, String> {
    match tokio::time::timeout(PATIENCE, watch.next()).await {
        Ok(Some(Observation::Synced { live })) => Ok(live),
        other => Err(format!("broken promise: a watch begins with a resync, not with {other:?}")),
    }
}

async fn gone(watch: &mut BoxStream<'static, Observation>, run: RunName) -> Result<Exit, String> {
    let wait = async {
        while let Some(item) = watch.next().await {
            if let Observation::Gone { run: ended, exit } = item
                && ended == run
            {
                return Some(exit);
            }
        }
        None
    };
    let exit = tokio::time::timeout(PATIENCE, wait).await.ok().flatten();
    exit.ok_or_else(|| format!("broken promise: the end of {run} is reported"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU16, Ordering};

    use bakery_core::names::{BuildId, TaskId};
    use bakery_core::reason::Reason;
    use tokio::sync::watch::Receiver;

    use super::super::fake::FakePlatform;
    use super::super::{Availability, LaunchError};
    use super::*;

    /// The fake platform, whose containers end when the test ends them.
    struct FakeFixture {
        platform: FakePlatform,
        next: AtomicU16,
    }

    #[async_trait]
    impl LauncherFixture for FakeFixture {
        fn launcher(&self) -> &dyn Launcher {
            &self.platform
        }
        fn arch(&self) -> Arch {
            Arch::Amd64
        }
        fn order(&self, _behavior: Behavior) -> LaunchOrder {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            LaunchOrder {
                run: RunName { task: TaskId { build: BuildId::new(1, 1), index }, attempt: 1 },
                arch: Arch::Amd64,
                cpu_millis: 500,
                memory_mib: 64,
                disk_mib: None,
                env: Vec::new(),
                deadline: PATIENCE,
            }
        }
        async fn perform(&self, run: RunName, behavior: Behavior) {
            if let Behavior::Leave(code) = behavior {
                self.platform.exit(run, code);
            }
        }
        async fn starts(&self, run: RunName) -> usize {
            self.platform.starts(run)
        }
    }

    /// A launcher that breaks a promise: each launch starts a container.
    struct StartsTwice(FakePlatform);

    #[async_trait]
    impl Launcher for StartsTwice {
        fn can_run(&self, arch: Arch) -> Result<(), Reason> {
            self.0.can_run(arch)
        }
        async fn launch(&self, order: &LaunchOrder) -> Result<(), LaunchError> {
            self.0.forget(order.run);
            self.0.launch(order).await
        }
        async fn stop(&self, run: &RunName) -> Result<(), LaunchError> {
            self.0.stop(run).await
        }
        fn availability(&self) -> Receiver<Availability> {
            self.0.availability()
        }
        fn watch(&self) -> BoxStream<'static, Observation> {
            self.0.watch()
        }
        async fn list(&self) -> Result<Vec<RunName>, LaunchError> {
            self.0.list().await
        }
    }

    struct BrokenFixture {
        launcher: StartsTwice,
        fixture: FakeFixture,
    }

    #[async_trait]
    impl LauncherFixture for BrokenFixture {
        fn launcher(&self) -> &dyn Launcher {
            &self.launcher
        }
        fn arch(&self) -> Arch {
            self.fixture.arch()
        }
        fn order(&self, behavior: Behavior) -> LaunchOrder {
            self.fixture.order(behavior)
        }
        async fn perform(&self, run: RunName, behavior: Behavior) {
            self.fixture.perform(run, behavior).await;
        }
        async fn starts(&self, run: RunName) -> usize {
            self.fixture.starts(run).await
        }
    }

    #[tokio::test]
    async fn the_fake_keeps_the_contract() {
        let fixture = FakeFixture { platform: FakePlatform::new([Arch::Amd64]), next: AtomicU16::new(0) };
        keep(&fixture).await.unwrap();
    }

    #[tokio::test]
    async fn the_contract_notices_a_launcher_that_starts_twice() {
        let platform = FakePlatform::new([Arch::Amd64]);
        let fixture = FakeFixture { platform: platform.clone(), next: AtomicU16::new(0) };
        let broken = keep(&BrokenFixture { launcher: StartsTwice(platform), fixture }).await.unwrap_err();
        assert!(broken.contains("the same order again starts nothing new"), "{broken}");
    }
}
