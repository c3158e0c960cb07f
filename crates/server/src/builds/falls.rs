//! Panics of what works for the builds: caught wherever somebody waits for the work.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

/// What came of `work`; `None` where it has panicked, which is logged.
pub(super) async fn caught<T>(what: &'static str, work: impl Future<Output = T>) -> Option<T> {
    // What a panic leaves half done is dropped with the work.
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => Some(done),
        Err(panic) => {
            tracing::error!(what, panic = words(&*panic), "work for the builds has panicked");
            None
        }
    }
}

/// What a panic said.
pub(super) fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a word")
}
