//! Runs the effects of a committed step.

use bakery_core::names::RunName;
use bakery_core::wire::build::Verdict;

use super::{Actor, Stopping};
use crate::builds::events::BuildEffect;

impl Actor {
    pub(super) async fn run_effect(&mut self, effect: BuildEffect) -> Result<(), Stopping> {
        let platform = |run: RunName| self.state.platform(run);
        match effect {
            BuildEffect::Note { run, level, message } => self.journal.note(run, level, message).await,
            BuildEffect::Stop { run, lingers } => {
                let platform = platform(run);
                self.containers.stop(run, platform, lingers);
            }
            BuildEffect::Enqueue(run) => self.containers.enqueue(run, platform(run)),
            BuildEffect::EnqueueLater(run) => self.deadlines.back_off(run),
            BuildEffect::LeaveQueue(run) => {
                self.deadlines.end_back_off(run);
                self.containers.leave_queue(run);
            }
            BuildEffect::Launch(run) => {
                self.containers.launch(run, &self.state.plan.tasks[usize::from(run.task.index)]);
            }
            BuildEffect::AskPlatform { run, no_contact } => {
                self.containers.ask(run, platform(run), no_contact);
            }
            BuildEffect::Publish(target) => {
                self.publications.publish(target, &self.state, &self.agents.specs);
            }
            BuildEffect::Withdraw(target) => self.publications.withdraw(target),
            BuildEffect::RecordContradiction(run, digest) => {
                tracing::error!(%run, %digest, "a late report contradicts the digest that the task settled with");
            }
            BuildEffect::AwaitVacated => {
                let success =
                    self.state.outcome.as_ref().is_some_and(|outcome| outcome.verdict == Verdict::Baked);
                self.containers.await_vacated(self.state.id, success);
            }
            BuildEffect::CloseLog => {
                self.journal.close().await?;
                self.agents.leave_context().await;
                self.closed = true;
            }
        }
        Ok(())
    }
}
