//! How the agent starts what runs beside it.

use tokio::task::JoinHandle;
use tracing::Instrument as _;

/// Starts `work` under a name that its log lines carry.
#[expect(clippy::disallowed_methods, reason = "this is the agent's one spawn")]
pub(crate) fn spawn<F>(name: &'static str, work: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    tokio::spawn(work.instrument(tracing::info_span!("task", name)))
}
