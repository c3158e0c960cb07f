//! What agents ask and report: the order, the session, the result.

use std::sync::Arc;

use bakery_core::names::RunName;
use bakery_core::reason::Reason;
use bakery_core::secret::Secret;
use bakery_core::wire::context::ContextRef;
use bakery_core::wire::run::{OrderRequest, ReportAck, Stage, TaskOrder, TaskReport, TaskResult};
use tokio::sync::oneshot;

use super::actors::Actors;
use super::context_store::ContextStore;
use super::error::RunError;
use super::mailbox::ActorMessage;
use super::sessions::{BoundRun, RunSession, Sessions};
use super::state::RunEnd;
use super::store::BuildStore;
use super::supervisor::Supervisor;

/// Answers agents.
pub(super) struct AgentRequests {
    pub(super) store: BuildStore,
    pub(super) contexts: Arc<dyn ContextStore>,
    pub(super) sessions: Sessions,
    pub(super) actors: Actors,
    pub(super) supervisor: Arc<Supervisor>,
}

impl AgentRequests {
    pub(super) async fn bind(
        &self,
        run: RunName,
        token: &Secret,
        request: OrderRequest,
    ) -> Result<TaskOrder, RunError> {
        self.launched(run, token)?;
        let (reply, answer) = oneshot::channel();
        let build = run.task.build;
        if self.actors.request(build, ActorMessage::Bind { run, request, reply }).await
            && let Ok(answer) = answer.await
        {
            return answer;
        }
        Err(self.supervisor.why_no_actor(build).await.map_or(RunError::Over, RunError::Internal))
    }

    pub(super) fn launched(&self, run: RunName, token: &Secret) -> Result<(), RunError> {
        if self.store.ledger.key().is_launch_token(run, token) { Ok(()) } else { Err(RunError::Unauthorized) }
    }

    pub(super) async fn session(&self, run: RunName, secret: &Secret) -> Result<RunSession, RunError> {
        if let Some((bound, actor)) = self.sessions.get(run) {
            return bound.session(run, secret, Some(actor)).ok_or(RunError::Unauthorized);
        }
        let stored = self.store.ledger.session(run).await?;
        let (sha256, context) = stored.ok_or(RunError::Unauthorized)?;
        let bound = BoundRun::new(sha256, context, Stage::Report, RunEnd::Final);
        let over = bound.session(run, secret, None).ok_or(RunError::Unauthorized)?;
        // The session has ended only if the build has ended: nobody waits for what the agent sends.
        self.supervisor
            .why_no_actor(run.task.build)
            .await
            .map_or(Ok(over), |error| Err(RunError::Internal(error)))
    }

    pub(super) async fn report(
        &self,
        run: RunName,
        secret: &Secret,
        report: TaskReport,
    ) -> Result<ReportAck, RunError> {
        let session = self.session(run, secret).await?;
        session.contact(report.stage);
        let build = run.task.build;
        let mut missing = 0;
        if !session.cancelled() {
            let next = self.store.logs.next(run).await?;
            missing = report.lines.saturating_add(1).saturating_sub(next);
            if missing > 0 && !report.cut {
                return Err(RunError::LinesMissing { lines: report.lines, next });
            }
            self.store.logs.sync(build).await?;
            self.note_context(&session.context, &report).await;
        }
        let (reply, settled) = oneshot::channel();
        if self.actors.request(build, ActorMessage::Report { run, report, missing, reply }).await
            && let Ok(accepted) = settled.await
        {
            return Ok(ReportAck { accepted });
        }
        // Nobody waits for the report of an ended build; else the agent asks again.
        let error = self.supervisor.why_no_actor(build).await;
        error.map_or(Ok(ReportAck { accepted: false }), |error| Err(RunError::Internal(error)))
    }

    /// Records what a report says about the context.
    async fn note_context(&self, context: &ContextRef, report: &TaskReport) {
        if matches!(report.result, TaskResult::Failed { reason: Reason::ContextBroken, .. }) {
            self.contexts.broken(context).await;
        } else if report.stage > Stage::Prepare {
            self.contexts.read(context).await;
        }
    }
}
