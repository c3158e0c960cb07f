//! The pure step: a build's state and an event give the next state, the frames of its log, and effects.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bakery_core::image::Digest;
use bakery_core::lifecycle::{self, Cause, Ending, TaskEffect, TaskEvent, TaskState};
use bakery_core::message::Message;
use bakery_core::names::{Platform, RunName};
use bakery_core::reason::Reason;
use bakery_core::wire::build::{PublishState, Verdict};
use bakery_core::wire::log::{Frame, Level};
use jiff::Timestamp;

use super::events::{BuildEffect, BuildEvent};
use super::state::{self, BuildState, FirstCause};

#[cfg(test)]
mod tests;

/// One step of a build.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) state: BuildState,
    /// Committed with the state, then appended to the log.
    pub(super) frames: Vec<Frame>,
    pub(super) effects: Vec<BuildEffect>,
}

/// What steps remember of earlier ones and the ledger does not keep: a restart finds it out anew.
#[derive(Debug, Default)]
pub(super) struct StepMemory {
    /// Tasks that were queued for their first attempt.
    queued: Vec<usize>,
    /// Targets whose publishing is under way.
    publishing: Vec<usize>,
    /// What unavailable platforms returned; `None` for those that are available.
    pub(super) outages: BTreeMap<Platform, Option<Message>>,
    /// Platforms of which the log says that they are unavailable.
    reported: BTreeSet<Platform>,
}

/// One step. Pure but for `memory`, which keeps effects from being asked for twice.
pub(super) fn step(state: &BuildState, memory: &mut StepMemory, now: Timestamp, event: BuildEvent) -> Step {
    let step = Step { state: state.clone(), frames: Vec::new(), effects: Vec::new() };
    let mut stepper = Stepper { step, memory, now };
    if state.outcome.is_none() {
        stepper.apply(event);
        stepper.follow_up();
    } else {
        stepper.apply_late(event);
    }
    stepper.report_outages();
    stepper.step
}

struct Stepper<'a> {
    step: Step,
    memory: &'a mut StepMemory,
    now: Timestamp,
}

impl Stepper<'_> {
    /// An event of an open build.
    fn apply(&mut self, event: BuildEvent) {
        match event {
            BuildEvent::Started => self.start(),
            BuildEvent::Run(run, event) => self.task(run, event),
            BuildEvent::LaunchAccepted(run) => {
                let index = usize::from(run.task.index);
                if let Some(record) = self.step.state.tasks.get_mut(index)
                    && record.task.attempt == run.attempt
                    && record.launched.is_some()
                {
                    record.answered = true;
                }
            }
            BuildEvent::Synced { platform, live } => self.compare(platform, &live),
            BuildEvent::StillHeld(run, message) => {
                if let Some(message) = message.filter(|_| self.step.state.is_current(run)) {
                    self.note(Some(run), Level::Warn, message);
                }
            }
            BuildEvent::Availability { platform, outage } => {
                self.memory.outages.insert(platform, outage);
            }
            BuildEvent::BackOffOver(run) => {
                let record = self.step.state.tasks.get(usize::from(run.task.index));
                let backs_off =
                    record.is_some_and(|it| matches!(it.task.state, TaskState::Planned { before: Some(_) }));
                if backs_off && self.step.state.is_current(run) {
                    self.step.effects.push(BuildEffect::Enqueue(run));
                }
            }
            BuildEvent::Cancelled(text) => self.cancel(&text),
            BuildEvent::Published { target, result, messages } => self.published(target, result, messages),
            // Nobody waits for that before the end.
            BuildEvent::Vacated => {}
        }
    }

    /// An event of a build that has ended.
    fn apply_late(&mut self, event: BuildEvent) {
        match event {
            BuildEvent::Run(run, event) => self.task(run, event),
            BuildEvent::Availability { platform, outage } => {
                self.memory.outages.insert(platform, outage);
            }
            BuildEvent::Vacated => self.step.effects.push(BuildEffect::CloseLog),
            BuildEvent::Started
            | BuildEvent::LaunchAccepted(_)
            | BuildEvent::Synced { .. }
            | BuildEvent::StillHeld(..)
            | BuildEvent::BackOffOver(_)
            | BuildEvent::Cancelled(_)
            | BuildEvent::Published { .. } => {}
        }
    }

    /// Resumes what the state alone asks for.
    fn start(&mut self) {
        for index in 0..self.step.state.tasks.len() {
            let run = self.step.state.run(index);
            let record = &self.step.state.tasks[index];
            match &record.task.state {
                TaskState::Launching { .. } if !record.answered => {
                    self.step.effects.push(BuildEffect::Launch(run));
                }
                TaskState::Retreating { .. } => self.stop(run, false),
                _ => {}
            }
        }
    }

    fn task(&mut self, run: RunName, event: TaskEvent) {
        let index = usize::from(run.task.index);
        let Some(record) = self.step.state.tasks.get(index) else { return };
        let before = record.task.clone();
        let (after, effects) = lifecycle::next(&before, run.attempt, event);
        self.step.state.tasks[index].task = after.clone();

        let attempt_over = after.attempt != before.attempt || after.ending() != before.ending();
        let was_planned = matches!(before.state, TaskState::Planned { .. });
        let retreats = matches!(before.state, TaskState::Retreating { .. });
        if attempt_over && was_planned {
            self.step.effects.push(BuildEffect::LeaveQueue(run));
        } else if attempt_over && !retreats {
            // Also if it is gone already: a stop is what removes it from the platform.
            self.stop(run, effects.contains(&TaskEffect::StopIfItLingers));
        }
        for effect in effects {
            self.task_effect(index, run, effect);
        }
        if (before.phase(), before.attempt) != (after.phase(), after.attempt) {
            self.step.frames.push(Frame::State {
                run: self.step.state.run(index),
                phase: after.phase(),
                reason: after.cause().map(|cause| cause.reason),
                text: after.cause().map(|cause| cause.text.clone()),
                hint: after.cause().and_then(|cause| cause.hint.clone()),
            });
        }
        if let (None, Some(cause)) = (before.ending(), after.ending().and_then(Ending::cause)) {
            let text = format!("{}: {}", self.step.state.label(index), cause.text);
            let verdict = state::verdict_of_task(cause.reason);
            let message = Message { text, hint: cause.hint.clone() };
            self.blame(Cause::new(cause.reason, message), verdict);
        }
    }

    fn task_effect(&mut self, index: usize, run: RunName, effect: TaskEffect) {
        let record = &mut self.step.state.tasks[index];
        match effect {
            TaskEffect::Launch => {
                record.launched = Some(self.now);
                record.answered = false;
                self.step.effects.push(BuildEffect::Launch(run));
            }
            TaskEffect::Stop => self.stop(run, false),
            TaskEffect::StopIfItLingers => self.stop(run, true),
            TaskEffect::AskPlatform => {
                self.step.effects.push(BuildEffect::AskPlatform { run, no_contact: true });
            }
            TaskEffect::QueueAgain => {
                record.launched = None;
                record.answered = false;
                let next = self.step.state.run(index);
                self.step.effects.push(BuildEffect::EnqueueLater(next));
            }
            TaskEffect::Note(message) => self.note(Some(run), Level::Info, message),
            TaskEffect::Contradiction(digest) => {
                self.step.effects.push(BuildEffect::RecordContradiction(run, digest));
            }
        }
    }

    /// Compares with what a platform holds: what should be there and is not may be gone.
    fn compare(&mut self, platform: Platform, live: &HashSet<RunName>) {
        for (index, record) in self.step.state.tasks.iter().enumerate() {
            let run = self.step.state.run(index);
            let should_run = match record.task.state {
                TaskState::Launching { .. } => record.answered,
                TaskState::Running { .. } => true,
                _ => false,
            };
            if should_run && self.step.state.plan.tasks[index].platform == platform && !live.contains(&run) {
                // The launch may have been accepted after the platform had listed.
                self.step.effects.push(BuildEffect::AskPlatform { run, no_contact: false });
            }
        }
    }

    fn cancel(&mut self, text: &str) {
        if (0..self.step.state.tasks.len()).any(|index| !self.step.state.settled(index)) {
            self.blame(Cause::new(Reason::Cancelled, text), Verdict::Cancelled);
        }
        for index in 0..self.step.state.tasks.len() {
            self.task(self.step.state.run(index), TaskEvent::Cancelled(text.to_owned()));
        }
        for target in 0..self.step.state.publishes.len() {
            if self.memory.publishing.contains(&target) {
                // Its own result says how it ended: only the registry knows whether the index stands.
                self.step.effects.push(BuildEffect::Withdraw(target));
            } else {
                self.give_up(target, &Cause::new(Reason::Cancelled, text));
            }
        }
    }

    fn published(&mut self, target: usize, result: Result<Digest, Cause>, messages: Vec<Message>) {
        self.memory.publishing.retain(|&other| other != target);
        if self.step.state.publishes[target] != Some(PublishState::Pending) {
            return;
        }
        for message in messages {
            self.note(None, Level::Warn, message);
        }
        let state = match result {
            Ok(digest) => PublishState::Done { digest },
            Err(Cause { reason, text, hint }) => {
                let name = &self.step.state.plan.targets[target].name;
                let message = Message { text: format!("{name}: {text}"), hint: hint.clone() };
                self.blame(Cause::new(reason, message), state::verdict_of_publish(reason));
                PublishState::Failed { reason, text, hint }
            }
        };
        self.step.state.publishes[target] = Some(state);
        self.frame_publish(target);
    }

    /// Whatever follows from the new state, until nothing more does.
    fn follow_up(&mut self) {
        loop {
            let before = self.step.state.clone();
            for target in 0..before.publishes.len() {
                self.follow_target(target);
            }
            if before == self.step.state {
                break;
            }
        }
        let state = &mut self.step.state;
        if (0..state.publishes.len()).all(|target| state.over(target)) {
            let outcome = state.conclude();
            state.outcome = Some(outcome.clone());
            state.ended = Some(self.now);
            self.step.frames.push(Frame::End { outcome });
            self.step.effects.push(BuildEffect::AwaitVacated);
        }
    }

    fn follow_target(&mut self, target: usize) {
        let state = &self.step.state;
        let plan = state.plan.targets[target].clone();
        if state.failed(target) {
            let detail = format!("another task of `{}` failed", plan.name);
            self.abandon(target, &detail, &detail);
        } else if let Some(&failed) = plan.after.iter().find(|&&before| state.failed(before)) {
            let detail = format!("it depends on `{}`, which failed", state.plan.targets[failed].name);
            self.abandon(target, &format!("not started: {detail}"), &detail);
        } else if state.baked(target) && state.publishes[target] == Some(PublishState::Pending) {
            self.publish(target);
        } else if plan.after.iter().all(|&before| state.good(before)) {
            for index in plan.tasks {
                let waits = matches!(self.step.state.tasks[index].task.state, TaskState::Planned { .. });
                if waits && !self.memory.queued.contains(&index) {
                    self.memory.queued.push(index);
                    self.step.effects.push(BuildEffect::Enqueue(self.step.state.run(index)));
                }
            }
        }
    }

    fn abandon(&mut self, target: usize, of_tasks: &str, of_publishing: &str) {
        for index in self.step.state.plan.targets[target].tasks.clone() {
            self.task(self.step.state.run(index), TaskEvent::SiblingFailed(of_tasks.to_owned()));
        }
        let text = format!("not published: {of_publishing}");
        self.give_up(target, &Cause::new(Reason::SiblingFailed, text));
    }

    /// The target will never be published. No frame: nothing was tried, and those of the tasks say why.
    fn give_up(&mut self, target: usize, cause: &Cause) {
        let Cause { reason, text, hint } = cause.clone();
        if self.step.state.publishes[target] == Some(PublishState::Pending) && !self.step.state.baked(target)
        {
            self.step.state.publishes[target] = Some(PublishState::Failed { reason, text, hint });
        }
    }

    fn publish(&mut self, target: usize) {
        if !self.memory.publishing.contains(&target) {
            self.memory.publishing.push(target);
            self.step.effects.push(BuildEffect::Publish(target));
        }
    }

    fn frame_publish(&mut self, target: usize) {
        if let Some(publish) = self.step.state.publish_view(target) {
            self.step.frames.push(Frame::Published { publish });
        }
    }

    /// The log says that a platform is unavailable from which the build wants a container, and later that it is
    /// available again: each once.
    fn report_outages(&mut self) {
        for (platform, outage) in self.memory.outages.clone() {
            match outage {
                Some(Message { text, hint })
                    if self.step.state.waits_for(platform) && self.memory.reported.insert(platform) =>
                {
                    let text = format!("{text}; the build continues when the platform is available again");
                    self.note(None, Level::Warn, Message { text, hint });
                }
                None if self.memory.reported.remove(&platform) => {
                    self.note(None, Level::Info, format!("platform {platform} is available again"));
                }
                _ => {}
            }
        }
    }

    /// The first cause in time is the build's.
    fn blame(&mut self, cause: Cause, verdict: Verdict) {
        if cause.reason != Reason::SiblingFailed && self.step.state.first_cause.is_none() {
            self.step.state.first_cause = Some(FirstCause { cause, verdict });
        }
    }

    fn stop(&mut self, run: RunName, lingers: bool) {
        let known = self.step.stops().any(|other| other == run);
        if !known {
            self.step.effects.push(BuildEffect::Stop { run, lingers });
        }
    }

    fn note(&mut self, run: Option<RunName>, level: Level, message: impl Into<Message>) {
        self.step.effects.push(BuildEffect::Note { run, level, message: message.into() });
    }
}

impl Step {
    /// The containers that this step stops.
    pub(super) fn stops(&self) -> impl Iterator<Item = RunName> {
        self.effects.iter().filter_map(|effect| match effect {
            BuildEffect::Stop { run, .. } => Some(*run),
            _ => None,
        })
    }
}
