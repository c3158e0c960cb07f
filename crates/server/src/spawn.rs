//! The one way to start a task: it has a name, a span, an owner that waits for it and a token that ends it.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// The tasks of one server (or of one test): cloned into every room that starts some.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stopping: CancellationToken,
}

impl Tasks {
    /// No task yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task. A panic in it is logged by name and ends only this task; dropping the handle detaches it, and
    /// [`Tasks::ended`] still waits for it.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let guard = PanicWitness(name);
        let future = async move {
            let output = future.await;
            std::mem::forget(guard);
            output
        };
        start(self.tracker.track_future(future.instrument(tracing::debug_span!("task", name))))
    }

    /// Ends when [`Tasks::stop`] is called: long tasks and open streams end on it.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Asks every task to end.
    pub fn stop(&self) {
        self.stopping.cancel();
        self.tracker.close();
    }

    /// Waits until every task has ended, at most this long; says whether they all did. Call [`Tasks::stop`] first.
    pub async fn ended(&self, within: Duration) -> bool {
        tokio::time::timeout(within, self.tracker.wait()).await.is_ok()
    }
}

/// Dropped only where the future did not come to its end: by a panic, or because the runtime goes away.
struct PanicWitness(&'static str);

impl Drop for PanicWitness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = self.0, "a task of the server has panicked");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
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
        assert!(tasks.spawn("clumsy", async { panic!("dropped") }).await.is_err());
        assert_eq!(tasks.spawn("steady", async { 1 }).await.unwrap(), 1);
    }
}
