//! The stream of a platform's watch: observations in order, and the removal of ended containers.
//!
//! What is left of an ended run is removed after its end has been handed over, and never before: a reader that asks for
//! the next item has taken the exit over.

use std::collections::VecDeque;

use bakery_core::names::RunName;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, future};
use tokio::sync::broadcast::{self, error::RecvError};

use super::Observation;
use super::run_registry::RunRegistry;

/// A platform's watch, which [`observations`] turns into a stream.
pub(super) trait ObservationSource: Send + 'static {
    /// The observations that the stream has not yielded yet.
    fn queue(&mut self) -> &mut ObservationQueue;

    /// Removes what the platform holds of a run whose end was yielded.
    fn remove(&mut self, run: RunName) -> impl Future<Output = ()> + Send;

    /// Waits for the next change and queues what follows from it.
    fn advance(&mut self) -> impl Future<Output = ()> + Send;
}

/// Observations on their way to the reader.
#[derive(Debug)]
pub(super) struct ObservationQueue {
    /// Not yielded yet, in order.
    pub(super) ready: VecDeque<Observation>,
    /// Observations that launches publish.
    launches: broadcast::Receiver<Observation>,
    /// The run whose end was yielded last: it is removed when the next item is asked for.
    yielded_end: Option<RunName>,
}

impl ObservationQueue {
    /// An empty queue. What launches publish from now on is received by [`ObservationQueue::receive`].
    pub(super) fn new(runs: &RunRegistry) -> Self {
        Self { ready: VecDeque::new(), launches: runs.subscribe(), yielded_end: None }
    }

    /// Waits for the next observation that a launch publishes, and queues it.
    pub(super) async fn receive(&mut self) {
        match self.launches.recv().await {
            Ok(observation) => self.ready.push_back(observation),
            Err(RecvError::Lagged(lost)) => tracing::warn!(lost, "launch messages were dropped"),
            // The platform holds the sender, and the watch holds the platform.
            Err(RecvError::Closed) => future::pending().await,
        }
    }

    fn next(&mut self) -> Option<Observation> {
        let observation = self.ready.pop_front()?;
        if let Observation::Gone { run, .. } = &observation {
            self.yielded_end = Some(*run);
        }
        Some(observation)
    }
}

/// All observations of a watch. The stream never ends.
pub(super) fn observations<S: ObservationSource>(source: S) -> BoxStream<'static, Observation> {
    stream::unfold(source, async |mut source| {
        if let Some(run) = source.queue().yielded_end.take() {
            source.remove(run).await;
        }
        loop {
            if let Some(observation) = source.queue().next() {
                return Some((observation, source));
            }
            source.advance().await;
        }
    })
    .boxed()
}
