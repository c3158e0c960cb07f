//! Spawning of background tasks.

use tokio::task::JoinHandle;
use tracing::Instrument as _;

/// Spawns `work`; its log lines carry `name`.
#[expect(clippy::disallowed_methods, reason = "the agent's only spawn")]
pub(crate) fn spawn<F>(name: &'static str, work: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    tokio::spawn(work.instrument(tracing::info_span!("task", name)))
}
