//! What every launcher promises, as tests that any of them can be put through: the fake by this crate's own tests, the
//! real ones on real platforms.

use std::time::Duration;

use async_trait::async_trait;
use bakery_core::names::{Arch, RunName};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

use super::{Exit, LaunchOrder, Launcher, Observation};

/// How long a platform may take to show something.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long nothing must be heard for it to count as nothing.
const SILENCE: Duration = Duration::from_millis(300);

/// What a container of these tests does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Runs until it is stopped.
    Stay,
    /// Ends with this code.
    Leave(i32),
}

/// A launcher on a platform whose containers play their parts.
#[async_trait]
pub trait Stage: Send + Sync {
    /// The launcher under test.
    fn launcher(&self) -> &dyn Launcher;
    /// An architecture that it runs.
    fn arch(&self) -> Arch;
    /// An order, with a new run each time, whose container plays this part.
    fn order(&self, part: Part) -> LaunchOrder;
    /// Makes the launched container play its part, where it does not by itself.
    async fn play(&self, run: RunName, part: Part);
    /// How often a container of this run was started, as a witness other than the launcher says.
    async fn starts(&self, run: RunName) -> usize;
}

type Outcome = Result<(), String>;

fn holds(condition: bool, promise: &str) -> Outcome {
    if condition { Ok(()) } else { Err(format!("broken promise: {promise}")) }
}

/// Puts a launcher through all of them; the error names the promise that is broken.
pub async fn keep(stage: &dyn Stage) -> Outcome {
    holds(stage.launcher().can_run(stage.arch()).is_ok(), "it runs its own architecture")?;
    an_order_starts_one_container(stage).await?;
    ending_an_ended_run_is_success(stage).await?;
    an_exit_is_told_and_then_cleared(stage, 0).await?;
    an_exit_is_told_and_then_cleared(stage, 3).await?;
    every_watch_begins_with_what_is_there(stage).await
}

async fn an_order_starts_one_container(stage: &dyn Stage) -> Outcome {
    let order = stage.order(Part::Stay);
    launch(stage, &order).await?;
    launch(stage, &order).await?;
    let twice = futures_util::join!(launch(stage, &order), launch(stage, &order));
    twice.0.and(twice.1)?;
    let listed = list(stage).await?.into_iter().filter(|run| *run == order.run).count();
    holds(listed == 1, "the same order again starts nothing new: one is listed")?;
    holds(stage.starts(order.run).await == 1, "the same order again starts nothing new: one was started")?;
    stop(stage, order.run).await
}

async fn ending_an_ended_run_is_success(stage: &dyn Stage) -> Outcome {
    let mut watch = stage.launcher().watch();
    synced(&mut watch).await?;
    let order = stage.order(Part::Stay);
    stop(stage, order.run).await.map_err(|why| format!("stopping a run that never was: {why}"))?;
    let order = stage.order(Part::Stay);
    launch(stage, &order).await?;
    stop(stage, order.run).await?;
    holds(!list(stage).await?.contains(&order.run), "a stopped container is not there any more")?;
    gone(&mut watch, order.run).await?;
    stop(stage, order.run).await?;
    launch(stage, &order).await?;
    holds(stage.starts(order.run).await == 1, "an order that was stopped starts nothing new")
}

async fn an_exit_is_told_and_then_cleared(stage: &dyn Stage, code: i32) -> Outcome {
    let mut watch = stage.launcher().watch();
    synced(&mut watch).await?;
    let order = stage.order(Part::Leave(code));
    launch(stage, &order).await?;
    stage.play(order.run, Part::Leave(code)).await;
    let exit = gone(&mut watch, order.run).await?;
    holds(exit.code == Some(code), &format!("an exit of {code} is told as it was: {exit:?}"))?;
    // Whoever asks for the next item has taken the exit over.
    if let Ok(Some(item)) = tokio::time::timeout(SILENCE, watch.next()).await {
        let again = matches!(&item, Observation::Gone { run, .. } if *run == order.run);
        holds(!again, "an exit is told once by one watch")?;
    }
    holds(!list(stage).await?.contains(&order.run), "an ended container is removed once its exit was told")?;
    launch(stage, &order).await?;
    holds(stage.starts(order.run).await == 1, "an order whose run has ended starts nothing new")
}

async fn every_watch_begins_with_what_is_there(stage: &dyn Stage) -> Outcome {
    let stays = stage.order(Part::Stay);
    launch(stage, &stays).await?;
    let left = stage.order(Part::Leave(5));
    launch(stage, &left).await?;
    stage.play(left.run, Part::Leave(5)).await;
    for _ in 0..2 {
        let mut watch = stage.launcher().watch();
        let live = synced(&mut watch).await?;
        holds(live.contains(&stays.run), "a watch begins with what is there")?;
    }
    stop(stage, stays.run).await?;
    stop(stage, left.run).await?;
    let mut watch = stage.launcher().watch();
    let live = synced(&mut watch).await?;
    holds(
        !live.contains(&stays.run) && !live.contains(&left.run),
        "what is stopped is not in the next resync",
    )
}

async fn launch(stage: &dyn Stage, order: &LaunchOrder) -> Outcome {
    stage.launcher().launch(order).await.map_err(|error| format!("launching {}: {error}", order.run))
}

async fn stop(stage: &dyn Stage, run: RunName) -> Outcome {
    stage.launcher().stop(&run).await.map_err(|error| format!("stopping {run}: {error}"))
}

async fn list(stage: &dyn Stage) -> Result<Vec<RunName>, String> {
    stage.launcher().list().await.map_err(|error| format!("listing: {error}"))
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
    let told = tokio::time::timeout(PATIENCE, wait).await.ok().flatten();
    told.ok_or_else(|| format!("broken promise: the end of {run} is told"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU16, Ordering};

    use bakery_core::names::{BuildId, TaskId};

    use super::super::fake::FakePlatform;
    use super::*;

    struct Theatre {
        platform: FakePlatform,
        next: AtomicU16,
    }

    #[async_trait]
    impl Stage for Theatre {
        fn launcher(&self) -> &dyn Launcher {
            &self.platform
        }
        fn arch(&self) -> Arch {
            Arch::Amd64
        }
        fn order(&self, _part: Part) -> LaunchOrder {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            LaunchOrder {
                run: RunName { task: TaskId { build: BuildId::new(1, 1), index }, attempt: 1 },
                arch: Arch::Amd64,
                cpu_millis: 500,
                memory_mib: 64,
                env: Vec::new(),
                deadline: PATIENCE,
            }
        }
        async fn play(&self, run: RunName, part: Part) {
            if let Part::Leave(code) = part {
                self.platform.exit(run, code);
            }
        }
        async fn starts(&self, run: RunName) -> usize {
            self.platform.starts(run)
        }
    }

    #[tokio::test]
    async fn the_fake_keeps_the_contract() {
        let stage = Theatre { platform: FakePlatform::new([Arch::Amd64]), next: AtomicU16::new(0) };
        keep(&stage).await.unwrap();
    }

    #[tokio::test]
    async fn the_contract_notices_a_launcher_that_starts_twice() {
        struct Twice(FakePlatform);
        #[async_trait]
        impl Launcher for Twice {
            fn can_run(&self, arch: Arch) -> Result<(), bakery_core::reason::Reason> {
                self.0.can_run(arch)
            }
            async fn launch(&self, order: &LaunchOrder) -> Result<(), super::super::LaunchError> {
                self.0.forget(order.run);
                self.0.launch(order).await
            }
            async fn stop(&self, run: &RunName) -> Result<(), super::super::LaunchError> {
                self.0.stop(run).await
            }
            fn availability(&self) -> tokio::sync::watch::Receiver<super::super::Availability> {
                self.0.availability()
            }
            fn watch(&self) -> BoxStream<'static, Observation> {
                self.0.watch()
            }
            async fn list(&self) -> Result<Vec<RunName>, super::super::LaunchError> {
                self.0.list().await
            }
        }
        struct Doubles(Twice, Theatre);
        #[async_trait]
        impl Stage for Doubles {
            fn launcher(&self) -> &dyn Launcher {
                &self.0
            }
            fn arch(&self) -> Arch {
                self.1.arch()
            }
            fn order(&self, part: Part) -> LaunchOrder {
                self.1.order(part)
            }
            async fn play(&self, run: RunName, part: Part) {
                self.1.play(run, part).await;
            }
            async fn starts(&self, run: RunName) -> usize {
                self.1.starts(run).await
            }
        }
        let platform = FakePlatform::new([Arch::Amd64]);
        let theatre = Theatre { platform: platform.clone(), next: AtomicU16::new(0) };
        let broken = keep(&Doubles(Twice(platform), theatre)).await.unwrap_err();
        assert!(broken.contains("the same order again starts nothing new"), "{broken}");
    }
}
