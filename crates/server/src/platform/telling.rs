//! The stream of a platform's watch: what has been seen, in order, and what follows once it was taken over.
//!
//! What is left of an ended run is removed once its end has been told, and never before: whoever reads the stream has taken
//! the exit over when it asks for the next item.

use std::collections::VecDeque;

use bakery_core::names::RunName;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, future};
use tokio::sync::broadcast::{self, error::RecvError};

use super::Observation;
use super::runs::Runs;

/// A watch that [`stream_of`] drives.
pub(super) trait Watch: Send + 'static {
    /// What it has to tell.
    fn telling(&mut self) -> &mut Telling;

    /// Removes what is left of a run whose end was told.
    fn clear(&mut self, run: RunName) -> impl Future<Output = ()> + Send;

    /// Waits for what happens next, and adds what there is to tell of it.
    fn advance(&mut self) -> impl Future<Output = ()> + Send;
}

/// What a watch has to tell.
#[derive(Debug)]
pub(super) struct Telling {
    /// Not told yet.
    pub(super) ready: VecDeque<Observation>,
    /// What launches say.
    launches: broadcast::Receiver<Observation>,
    /// The run whose end was told last: what is left of it goes when the next item is asked for.
    told: Option<RunName>,
}

impl Telling {
    /// Nothing yet; what launches say from now on comes by [`Telling::hear`].
    pub(super) fn of(runs: &Runs) -> Self {
        Self { ready: VecDeque::new(), launches: runs.subscribe(), told: None }
    }

    /// Waits for the next word of a launch.
    pub(super) async fn hear(&mut self) {
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
            self.told = Some(*run);
        }
        Some(observation)
    }
}

/// Everything that a watch tells.
pub(super) fn stream_of<W: Watch>(watch: W) -> BoxStream<'static, Observation> {
    stream::unfold(watch, async |mut watch| {
        if let Some(run) = watch.telling().told.take() {
            watch.clear(run).await;
        }
        loop {
            if let Some(observation) = watch.telling().next() {
                return Some((observation, watch));
            }
            watch.advance().await;
        }
    })
    .boxed()
}
