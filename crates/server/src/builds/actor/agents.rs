//! The agents of one build: their sessions, orders and reports.

use std::collections::HashMap;
use std::sync::Arc;

use bakery_core::lifecycle::{TaskEvent, TaskState};
use bakery_core::message::Message;
use bakery_core::names::RunName;
use bakery_core::spec::TaskSpec;
use bakery_core::wire::context::ContextRef;
use bakery_core::wire::log::Level;
use bakery_core::wire::run::{OrderRequest, Stage, TaskOrder, TaskReport};
use tokio::time::Instant;

use super::{Actor, Stopping};
use crate::builds::context_store::ContextStore;
use crate::builds::error::RunError;
use crate::builds::events::BuildEvent;
use crate::builds::mailbox::Mailbox;
use crate::builds::sessions::{self, BoundRun, SessionHash, Sessions};
use crate::builds::settings::BuildsSettings;
use crate::builds::state::{BuildState, RunEnd, TaskPlan};

/// What an actor does with agents.
pub(super) struct Agents {
    pub(super) sessions: Sessions,
    pub(super) contexts: Arc<dyn ContextStore>,
    pub(super) settings: Arc<BuildsSettings>,
    pub(super) mailbox: Mailbox,
    /// The build's context.
    pub(super) context: ContextRef,
    /// Its tasks, secrets included.
    pub(super) specs: Arc<[TaskSpec]>,
    /// The sessions that the ledger knows.
    pub(super) bound: HashMap<RunName, SessionHash>,
}

impl Agents {
    /// Opens the sessions that the ledger knows: an agent outlives the actor, and the server.
    pub(super) fn adopt(&self, state: &BuildState) {
        for (&run, &sha256) in &self.bound {
            let record = state.tasks.get(usize::from(run.task.index));
            let reached = match record.map(|record| &record.task.state) {
                Some(TaskState::Running { stage, .. }) => *stage,
                _ => Stage::Prepare,
            };
            self.open(run, sha256, reached, state.run_end(run));
        }
    }

    /// When the run's agent was last in contact.
    pub(super) fn last_contact(&self, run: RunName) -> Option<Instant> {
        self.sessions.last_contact(run)
    }

    /// Tells the session how far the run's end has come.
    pub(super) fn end(&self, run: RunName, end: RunEnd) {
        self.sessions.end(run, end);
    }

    /// The build has ended: from now on its context is kept for the usual time.
    pub(super) async fn leave_context(&self) {
        self.contexts.needed(&self.context).await;
    }

    fn open(&self, run: RunName, sha256: SessionHash, stage: Stage, end: RunEnd) {
        let bound = BoundRun::new(sha256, self.context.clone(), stage, end);
        self.sessions.add(run, bound, self.mailbox.clone());
    }

    async fn order(
        &self,
        run: RunName,
        plan: &TaskPlan,
        deadline_seconds: u64,
    ) -> Result<TaskOrder, RunError> {
        let settings = &self.settings;
        let spec = self.specs.get(usize::from(run.task.index)).ok_or(RunError::Over)?;
        let source = self.contexts.source(&self.context).await.map_err(RunError::Context)?;
        Ok(TaskOrder {
            run,
            arch: spec.arch,
            source,
            context: self.context.clone(),
            env: spec.env.clone(),
            pre_script: spec.pre_script.clone(),
            post_script: spec.post_script.clone(),
            kaniko: spec.kaniko.clone(),
            push_to: plan.push_to.clone(),
            also_push_to: plan.also_push_to.clone(),
            push: settings.push,
            pull_credentials: spec.credentials.clone(),
            push_credentials: spec.credentials.clone(),
            insecure_registries: settings.insecure_registries.clone(),
            deadline_seconds,
            result_seconds: settings.result_timeout.as_secs(),
        })
    }
}

impl Actor {
    /// Binds the run to the session, and returns the order. The launch token has been checked.
    pub(super) async fn bind(
        &mut self,
        run: RunName,
        request: &OrderRequest,
    ) -> Result<Result<TaskOrder, RunError>, Stopping> {
        if !self.state.is_current(run) {
            return Ok(Err(RunError::Over));
        }
        let index = usize::from(run.task.index);
        let hash = sessions::hash(&request.session);
        match (&self.state.tasks[index].task.state, self.agents.bound.get(&run)) {
            (_, Some(known)) if !sessions::same(known, &hash) => {
                tracing::error!(%run, "a second agent has tried to bind this run; ending the run");
                let text = "a second agent has used this run's launch token; the token may have been stolen";
                self.journal.note(Some(run), Level::Error, text.into()).await;
                self.apply_event(BuildEvent::Run(run, TaskEvent::SecondBinder(text.to_owned()))).await?;
                return Ok(Err(RunError::SecondBinder));
            }
            (TaskState::Running { .. }, Some(_)) => {}
            (TaskState::Launching { .. }, None) => {
                let event = BuildEvent::Run(run, TaskEvent::AgentConnected);
                self.apply_with_session(event, Some((run, hash))).await?;
                self.agents.bound.insert(run, hash);
                self.containers.agent_connected(run, self.state.platform(run));
                self.agents.open(run, hash, Stage::Prepare, RunEnd::Open);
                let text =
                    format!("the agent (version {}) has received its order", short(&request.agent_version));
                self.journal.note(Some(run), Level::Info, text.into()).await;
            }
            _ => return Ok(Err(RunError::Over)),
        }
        let plan = &self.state.plan.tasks[index];
        Ok(self.agents.order(run, plan, self.deadlines.seconds_left(index)).await)
    }

    /// Settles the task, or has it tried again; false if the run had ended before. The result counts even if the last
    /// lines are `missing`: a pushed image is not lost with them.
    pub(super) async fn report(
        &mut self,
        run: RunName,
        report: TaskReport,
        missing: u64,
    ) -> Result<bool, Stopping> {
        let open = self.state.is_current(run);
        if open && missing > 0 {
            let text = format!(
                "the last {missing} of {} lines are missing: the agent could not deliver them in time",
                report.lines
            );
            self.journal.note(Some(run), Level::Warn, Message::new(text)).await;
        }
        self.apply_event(BuildEvent::Run(run, TaskEvent::Reported(report.result, report.stage))).await?;
        // Every line came before the report.
        self.agents.end(run, RunEnd::Final);
        Ok(open)
    }
}

/// A version as others give it, cut to what fits a line.
fn short(version: &str) -> String {
    version.chars().filter(|c| !c.is_control()).take(64).collect()
}
