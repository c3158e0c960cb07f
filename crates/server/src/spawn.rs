//! The only way to start a tokio task: each has a name, a span, a token that ends it, and a tracker that waits for it.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// The tokio tasks of one server, or of one test. Clones are handles to the same set.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stopping: CancellationToken,
}

impl Tasks {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task. A panic in it is logged with its name and ends only this task. Dropping the handle detaches the
    /// task; [`Tasks::ended`] still waits for it.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let guard = PanicGuard(name);
        let future = async move {
            let output = future.await;
            std::mem::forget(guard);
            output
        };
        start(self.tracker.track_future(future.instrument(tracing::debug_span!("task", task = name))))
    }

    /// Cancelled by [`Tasks::stop`]: long tasks and open streams end then.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Asks every task to end.
    pub fn stop(&self) {
        self.stopping.cancel();
        self.tracker.close();
    }

    /// Waits until every task has ended, but not longer than `within`; returns whether all did. Call [`Tasks::stop`]
    /// first.
    pub async fn ended(&self, within: Duration) -> bool {
        tokio::time::timeout(within, self.tracker.wait()).await.is_ok()
    }
}

/// Dropped only if the future does not complete: after a panic, or when the runtime is dropped.
struct PanicGuard(&'static str);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = self.0, "a task of the server has panicked");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the only place that spawns")]
fn start<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stopped_tasks_are_waited_for() {
        let tasks = Tasks::new();
        let stopping = tasks.stopping().clone();
        let handle = tasks.spawn("sleeper", async move { stopping.cancelled().await });
        tasks.stop();
        assert!(tasks.ended(Duration::from_secs(5)).await);
        assert!(handle.is_finished());
    }

    #[tokio::test]
    async fn a_panic_ends_only_its_own_task() {
        let tasks = Tasks::new();
        assert!(tasks.spawn("panics", async { panic!("on purpose") }).await.is_err());
        assert_eq!(tasks.spawn("continues", async { 1 }).await.unwrap(), 1);
    }
}
