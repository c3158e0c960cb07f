//! Panics of what works for the builds: catch_panic wherever somebody waits for the work.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::Shared;

/// The longest pause before a loop that has panicked is begun again.
const BEGIN_AGAIN_MAX: Duration = Duration::from_mins(1);

/// What came of `work`; `None` where it has panicked, which is logged.
pub(super) async fn catch_panic<T>(what: &'static str, work: impl Future<Output = T>) -> Option<T> {
    // What a panic leaves half done is dropped with the work.
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => Some(done),
        Err(panic) => {
            tracing::error!(what, panic = words(&*panic), "work for the builds has panicked");
            None
        }
    }
}

/// The pauses of a loop that is begun again after each panic: each is twice as long as the one before.
#[derive(Default)]
pub(super) struct RestartBackoff(u32);

impl RestartBackoff {
    /// False where the server stops meanwhile.
    pub(super) async fn pause(&mut self, shared: &Shared) -> bool {
        let wait = shared.settings.timing.back_off.saturating_mul(1 << self.0.min(16)).min(BEGIN_AGAIN_MAX);
        self.0 += 1;
        tokio::select! {
            () = shared.stopping.cancelled() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }
}

/// What a panic said.
pub(super) fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a word")
}
