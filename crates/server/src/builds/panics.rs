//! Panics of work for the builds: caught wherever somebody waits for the work.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

/// The longest pause before a loop that has panicked starts again.
const RESTART_MAX: Duration = Duration::from_mins(1);

/// The result of `work`; `None` if it has panicked, which is logged.
pub(super) async fn catch_panic<T>(task: &'static str, work: impl Future<Output = T>) -> Option<T> {
    // What a panic leaves half done is dropped with the work.
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => Some(done),
        Err(panic) => {
            tracing::error!(task, panic = panic_message(&*panic), "work for the builds has panicked");
            None
        }
    }
}

/// The pauses of a loop that starts again after each panic: each is twice as long as the one before.
pub(super) struct RestartBackoff {
    first: Duration,
    panics: u32,
}

impl RestartBackoff {
    pub(super) fn new(first: Duration) -> Self {
        Self { first, panics: 0 }
    }

    /// False if the server stops meanwhile.
    pub(super) async fn pause(&mut self, stopping: &CancellationToken) -> bool {
        let pause = self.first.saturating_mul(1 << self.panics.min(16)).min(RESTART_MAX);
        self.panics += 1;
        stopping.run_until_cancelled(tokio::time::sleep(pause)).await.is_some()
    }
}

/// The message of a panic.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
