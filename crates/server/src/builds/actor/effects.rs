//! What an owner does once a step is committed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bakery_core::lifecycle::{Cause, TaskEvent, TaskState};
use bakery_core::message;
use bakery_core::names::{Platform, RunName};
use bakery_core::reason::Reason;
use bakery_core::secret::Secret;
use bakery_core::units::format_duration;
use bakery_core::wire::build::Verdict;
use bakery_core::wire::log::Level;
use bakery_core::wire::run::{Stage, launch_env};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Actor, BuildEffect, Event, Mailbox, Message, Stopping};
use crate::builds::panics::catch_panic;
use crate::builds::publish::{self, Job};
use crate::builds::sessions::Bound;
use crate::logs::LogError;
use crate::platform::{LaunchError, LaunchOrder};
use crate::spawn::Tasks;

impl Actor {
    /// Takes up what lives: sessions of agents, and places of containers.
    pub(super) fn adopt(&self) {
        for (&run, &sha256) in &self.sessions {
            let index = usize::from(run.task.index);
            let stage = match self.state.tasks.get(index).map(|record| &record.task.state) {
                Some(TaskState::Running { stage, .. }) => *stage,
                _ => Stage::Prepare,
            };
            let bound = Bound::new(sha256, self.context.clone(), stage, !self.is_current(run));
            self.heard(run);
            self.shared.sessions.add(run, bound, self.mailbox.clone());
        }
        for (index, record) in self.state.tasks.iter().enumerate() {
            let run = self.state.run(index);
            if matches!(
                record.task.state,
                TaskState::Launching { .. } | TaskState::Retreating { .. } | TaskState::Running { .. }
            ) {
                self.shared.run_slots.hold(self.platform(run), run);
            } else if matches!(record.task.state, TaskState::Planned { .. }) {
                // What an owner that was lost has queued or been granted; the queue is joined anew.
                self.shared.run_slots.free(run);
            }
        }
    }

    /// Tells the platform that a run's agent has spoken.
    pub(super) fn heard(&self, run: RunName) {
        if let Some(launcher) = self.shared.launchers.get(&self.platform(run)) {
            launcher.agent_connected(&run);
        }
    }

    pub(super) fn act(&mut self, effects: BuildEffect) {
        match effects {
            BuildEffect::Enqueue(index) => {
                let run = self.state.run(index);
                self.shared.run_slots.enqueue(self.platform(run), run, self.mailbox.clone());
            }
            BuildEffect::EnqueueLater(index) => {
                self.clocks[index].requeue = Some(Instant::now() + self.shared.settings.timing.back_off);
            }
            BuildEffect::Leave(index, run) => {
                self.clocks[index].requeue = None;
                self.shared.run_slots.free(run);
            }
            BuildEffect::Launch(index) => self.launch(index),
            BuildEffect::Ask(index) => {
                let words = format!(
                    "the agent has not spoken for {}; the platform still has its container",
                    format_duration(self.shared.settings.timing.agent_silent)
                );
                self.ask(self.state.run(index), Some(words.into()));
            }
            BuildEffect::Publish(target) => self.publish(target),
            BuildEffect::Withdraw(target) => drop(self.publishing.remove(&target)),
            BuildEffect::End => self.vacate(),
        }
    }

    fn launch(&mut self, index: usize) {
        let run = self.state.run(index);
        let print = &self.state.plan.tasks[index];
        let platform = print.platform;
        let shared = Arc::clone(&self.shared);
        let known = shared.launchers.get(&platform).cloned().zip(shared.settings.platforms.get(&platform));
        let Some((launcher, settings)) = known else {
            let text = format!("this server has no platform {platform} any more");
            let cause = Cause::new(Reason::NoSuchPlatform, text);
            let event = TaskEvent::LaunchFailed { retryable: false, cause };
            self.mailbox.tell(Message::Happens(Event::of_run(run, event)));
            return;
        };
        let mut env = vec![
            (launch_env::URL.to_owned(), Secret::new(settings.agent_url.clone())),
            (launch_env::RUN.to_owned(), Secret::new(run.to_string())),
            (launch_env::TOKEN.to_owned(), shared.ledger.key().launch_token(run)),
        ];
        env.extend(settings.env.iter().cloned());
        let order = LaunchOrder {
            run,
            arch: print.arch,
            cpu_millis: print.cpu_millis,
            memory_mib: print.memory_mib,
            env,
            deadline: Duration::from_secs(print.keep_seconds),
        };
        let on_panic =
            Cause::new(Reason::Internal, "the server failed while it asked the platform for the container");
        // The container may have been started.
        let on_panic = TaskEvent::LaunchFailed { retryable: true, cause: on_panic };
        let on_panic = Message::Happens(Event::of_run(run, on_panic));
        let handle = beside(&self.shared.tasks, "launch", &self.mailbox, on_panic, async move {
            let answer = tokio::select! {
                () = shared.stopping.cancelled() => return None,
                answer = launcher.launch(&order) => answer,
            };
            let index = usize::from(run.task.index);
            let event = match answer {
                Ok(()) => Event::Answered { index, attempt: run.attempt },
                Err(LaunchError { retryable, reason, message }) => {
                    let cause = Cause::new(reason, message);
                    Event::of_run(run, TaskEvent::LaunchFailed { retryable, cause })
                }
            };
            Some(Message::Happens(event))
        });
        self.launching.insert(run, handle.abort_handle());
    }

    /// Says in the log that a platform does not answer of which the build wants a container, and later that it is back:
    /// each once.
    pub(super) async fn report_outage(&mut self, platform: Platform) {
        let outage = self.shared.launchers.get(&platform).and_then(|it| it.availability().borrow().outage());
        match outage {
            Some(outage) if self.waits_for(platform) && self.silent.insert(platform) => {
                let text = format!("{outage}; the build goes on when it answers again");
                self.say(None, Level::Warn, message::Message { text, ..outage }).await;
            }
            None if self.silent.remove(&platform) => {
                self.say(None, Level::Info, format!("the platform {platform} answers again")).await;
            }
            _ => {}
        }
    }

    /// Whether a task waits for a run slot on the platform, or for its container to be started.
    fn waits_for(&self, platform: Platform) -> bool {
        let tasks = self.state.tasks.iter().zip(&self.state.plan.tasks);
        tasks.filter(|(_, print)| print.platform == platform).any(|(record, _)| match record.task.state {
            TaskState::Planned { .. } | TaskState::Retreating { .. } => true,
            TaskState::Launching { .. } => !record.answered,
            _ => false,
        })
    }

    /// Compares with what a platform holds: what should be there and is not may be gone.
    pub(super) fn compare(&self, platform: Platform, live: &HashSet<RunName>) {
        for (index, record) in self.state.tasks.iter().enumerate() {
            let run = self.state.run(index);
            let should_live = match record.task.state {
                TaskState::Launching { .. } => record.answered,
                TaskState::Running { .. } => true,
                _ => false,
            };
            if should_live && self.platform(run) == platform && !live.contains(&run) {
                // The launch may have been answered after the platform had listed.
                self.ask(run, None);
            }
        }
    }

    /// Asks the platform whether it holds the container; `words` are said in the log where it does.
    fn ask(&self, run: RunName, words: Option<message::Message>) {
        let Some(launcher) = self.shared.launchers.get(&self.platform(run)).cloned() else { return };
        let (shared, mailbox) = (Arc::clone(&self.shared), self.mailbox.clone());
        drop(self.shared.tasks.spawn("ask", async move {
            let answer = tokio::select! {
                () = shared.stopping.cancelled() => return,
                answer = launcher.holds(&run) => answer,
            };
            match answer {
                Ok(false) => {
                    let cause = Cause::new(Reason::AgentLost, "the platform no longer has the container");
                    shared.run_slots.free(run);
                    mailbox.tell(Message::Happens(Event::of_run(run, TaskEvent::Gone(cause))));
                }
                Ok(true) => {
                    mailbox.tell(Message::StillThere(run, words));
                }
                Err(error) => {
                    let text = format!("the platform could not be asked about the container: {error}");
                    let words = message::Message { text, ..error.message };
                    mailbox.tell(Message::StillThere(run, Some(words)));
                }
            }
        }));
    }

    fn publish(&mut self, target: usize) {
        let cancel = CancellationToken::new();
        self.publishing.insert(target, cancel.clone().drop_guard());
        let job = Job::of(&self.state, target, &self.specs);
        let shared = Arc::clone(&self.shared);
        let on_panic = Cause::new(Reason::Internal, "the server failed while it published the index");
        let on_panic = Message::Happens(Event::Published { target, result: Err(on_panic) });
        drop(beside(&self.shared.tasks, "publish", &self.mailbox, on_panic, async move {
            let result = match job {
                Some(job) => tokio::select! {
                    () = shared.stopping.cancelled() => return None,
                    result = job.run(&*shared.registry, &cancel) => result,
                },
                None => Err(publish::impossible()),
            };
            Some(Message::Happens(Event::Published { target, result }))
        }));
    }

    /// Tells the owner when nothing of the ended build lives. One that ended well does not wait: its containers have
    /// nothing left to do but to go.
    fn vacate(&self) {
        let (shared, build) = (Arc::clone(&self.shared), self.id);
        let well = self.state.outcome.as_ref().is_some_and(|outcome| outcome.verdict == Verdict::Baked);
        let within = if well { Duration::ZERO } else { shared.settings.timing.vacate };
        drop(beside(&self.shared.tasks, "vacate", &self.mailbox, Message::Vacated, async move {
            // What lives on after this stays a pending stop.
            let _ = tokio::time::timeout(within, shared.run_slots.vacated(build)).await;
            Some(Message::Vacated)
        }));
    }

    /// The log must say that nothing follows before the build is forgotten.
    pub(super) async fn finish(&mut self) -> Result<(), Stopping> {
        self.pending_frames.extend(self.end.take());
        loop {
            self.flush_frames().await;
            if self.pending_frames.is_empty() {
                // A log that has been removed has nothing left to be synced.
                let synced =
                    matches!(self.shared.logs.sync(self.id).await, Ok(()) | Err(LogError::Missing(_)));
                if synced && self.shared.ledger.log_is_whole(self.id).await.is_ok() {
                    break;
                }
            }
            self.pause().await?;
        }
        self.shared.contexts.needed(&self.context).await;
        self.done = true;
        Ok(())
    }
}

/// Does `work` beside the owner, who hears what came of it. Where it panics the owner hears `on_panic` instead: it waits for
/// the one or the other.
fn beside(
    tasks: &Tasks,
    what: &'static str,
    owner: &Mailbox,
    on_panic: Message,
    work: impl Future<Output = Option<Message>> + Send + 'static,
) -> JoinHandle<()> {
    let owner = owner.clone();
    tasks.spawn(what, async move {
        if let Some(message) = catch_panic(what, work).await.unwrap_or(Some(on_panic)) {
            owner.tell(message);
        }
    })
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn an_owner_hears_that_a_build_is_vacated_even_where_the_wait_for_it_panics() {
        let (tell, mut hear) = mpsc::unbounded_channel();
        let work = async { panic!("the places have come down") };
        drop(beside(&Tasks::new(), "vacate", &Mailbox(tell), Message::Vacated, work));
        assert!(matches!(hear.recv().await, Some(Message::Vacated)));
        assert!(hear.recv().await.is_none(), "once");
    }
}
