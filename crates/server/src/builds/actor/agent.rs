//! What an owner does with an agent.

use bakery_core::lifecycle::{TaskEvent, TaskState};
use bakery_core::names::RunName;
use bakery_core::wire::log::Level;
use bakery_core::wire::run::{OrderRequest, Stage, TaskOrder, TaskReport};

use super::{Actor, Event, Stopping};
use crate::builds::error::RunError;
use crate::builds::sessions::{self, Bound};

impl Actor {
    /// Binds the run to the session, and gives the order. The launch token has been checked.
    pub(super) async fn bind(
        &mut self,
        run: RunName,
        request: &OrderRequest,
    ) -> Result<Result<TaskOrder, RunError>, Stopping> {
        let index = usize::from(run.task.index);
        if !self.is_current(run) {
            return Ok(Err(RunError::Over));
        }
        let hash = sessions::hash(&request.session);
        match (&self.state.tasks[index].task.state, self.sessions.get(&run)) {
            (_, Some(known)) if !sessions::same(known, &hash) => {
                tracing::error!(%run, "a second agent has tried to bind this run; the run is ended");
                let text = "a second agent has shown this run's launch token; somebody may have stolen it";
                self.say(Some(run), Level::Error, text.to_owned()).await;
                self.take(Event::of_run(run, TaskEvent::SecondBinder(text.to_owned()))).await?;
                return Ok(Err(RunError::SecondBinder));
            }
            (TaskState::Running { .. }, Some(_)) => {}
            (TaskState::Launching { .. }, None) => {
                self.take_with(Event::of_run(run, TaskEvent::AgentConnected), Some((run, hash))).await?;
                self.sessions.insert(run, hash);
                self.heard(run);
                let bound = Bound::new(hash, self.context.clone(), Stage::Prepare, false);
                self.shared.sessions.add(run, bound, self.mailbox.clone());
                let text = format!("the agent (version {}) has its order", short(&request.agent_version));
                self.say(Some(run), Level::Info, text).await;
            }
            _ => return Ok(Err(RunError::Over)),
        }
        Ok(self.order(run).await)
    }

    /// Settles the task, or has it tried again; false where the run was over before. What the report says holds also
    /// where the last lines are `missing`: a pushed image is not lost with them.
    pub(super) async fn report(
        &mut self,
        run: RunName,
        report: TaskReport,
        missing: u64,
    ) -> Result<bool, Stopping> {
        let open = self.is_current(run);
        if open && missing > 0 {
            let text = format!(
                "the last {missing} of {} lines are missing here: the agent could not deliver them in time",
                report.lines
            );
            self.say(Some(run), Level::Warn, text).await;
        }
        self.take(Event::of_run(run, TaskEvent::Reported(report.result, report.stage))).await?;
        Ok(open)
    }

    async fn order(&self, run: RunName) -> Result<TaskOrder, RunError> {
        let index = usize::from(run.task.index);
        let settings = &self.shared.settings;
        let spec = self.specs.get(index).ok_or(RunError::Over)?;
        let source = self.shared.contexts.source(&self.context).await.map_err(RunError::Context)?;
        Ok(TaskOrder {
            run,
            arch: spec.arch,
            source,
            context: self.context.clone(),
            env: spec.env.clone(),
            pre_script: spec.pre_script.clone(),
            post_script: spec.post_script.clone(),
            kaniko: spec.kaniko.clone(),
            push_to: self.state.plan.tasks[index].push_to.clone(),
            push: settings.push,
            pull_credentials: spec.credentials.clone(),
            push_credentials: spec.credentials.clone(),
            insecure_registries: settings.insecure_registries.clone(),
            deadline_seconds: self.clocks[index].seconds_left(),
            result_seconds: settings.result_timeout.as_secs(),
        })
    }
}

/// A version as others give it, cut to what fits a line.
fn short(version: &str) -> String {
    version.chars().filter(|c| !c.is_control()).take(64).collect()
}
