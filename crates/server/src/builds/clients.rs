//! What clients ask about their builds: list, view, cancel.

use std::sync::Arc;

use bakery_core::names::BuildId;
use bakery_core::wire::build::{BuildList, BuildView};
use tokio::sync::oneshot;

use super::actors::Actors;
use super::error::{BuildError, InternalError};
use super::ledger::Ledger;
use super::mailbox::ActorMessage;
use super::run_slots::RunSlots;
use super::state::BuildState;
use super::supervisor::Supervisor;

/// How many builds a list holds.
const LISTED: u32 = 100;

/// Answers clients.
pub(super) struct ClientRequests {
    pub(super) ledger: Ledger,
    pub(super) actors: Actors,
    pub(super) slots: RunSlots,
    pub(super) supervisor: Arc<Supervisor>,
}

impl ClientRequests {
    pub(super) async fn list(&self, owner: &str) -> Result<BuildList, BuildError> {
        let newest = self.ledger.newest(owner, LISTED).await?;
        // The actor of an open build may be a step ahead.
        let current = |stored: BuildState| match self.actors.state(stored.id) {
            Some(state) => self.shown(&state),
            None => self.shown(&stored),
        };
        Ok(BuildList { builds: newest.into_iter().map(current).collect() })
    }

    pub(super) async fn view(&self, owner: &str, build: BuildId) -> Result<BuildView, BuildError> {
        self.check_owner(owner, build).await?;
        self.current(build).await
    }

    pub(super) async fn cancel(&self, owner: &str, build: BuildId) -> Result<BuildView, BuildError> {
        self.check_owner(owner, build).await?;
        let mut cancelled = self.ask_actor(build).await;
        // It has ended by itself, or it has lost its actor: then the next one is asked.
        if !cancelled && self.supervisor.ensure_actor(build).await.map_err(BuildError::Internal)? {
            cancelled = self.ask_actor(build).await;
        }
        let view = self.current(build).await?;
        if cancelled || view.ended.is_some() {
            Ok(view)
        } else {
            Err(BuildError::Internal(InternalError::NoActor))
        }
    }

    /// Whether the build's actor has cancelled it.
    async fn ask_actor(&self, build: BuildId) -> bool {
        let (reply, done) = oneshot::channel();
        let request = ActorMessage::Cancel { text: "by a client".to_owned(), reply };
        self.actors.request(build, request).await && done.await.is_ok()
    }

    async fn current(&self, build: BuildId) -> Result<BuildView, BuildError> {
        if let Some(state) = self.actors.state(build) {
            return Ok(self.shown(&state));
        }
        let stored = self.ledger.state(build).await?;
        stored.map(|state| self.shown(&state)).ok_or(BuildError::NoSuchBuild)
    }

    fn shown(&self, state: &BuildState) -> BuildView {
        state.view(|run| self.slots.ahead(run))
    }

    /// Another owner's build does not exist for this one.
    async fn check_owner(&self, owner: &str, build: BuildId) -> Result<(), BuildError> {
        let is_theirs = match self.actors.owner(build) {
            Some(known) => *known == *owner,
            None => self.ledger.owner(build).await?.as_deref() == Some(owner),
        };
        if is_theirs { Ok(()) } else { Err(BuildError::NoSuchBuild) }
    }
}
