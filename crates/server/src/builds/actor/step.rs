//! The pure half: what a build becomes when something happens to it, and what has to be done about it.

use bakery_core::image::Digest;
use bakery_core::lifecycle::{self, Cause, Ending, TaskEffect, TaskEvent, TaskState};
use bakery_core::message::Message;
use bakery_core::names::RunName;
use bakery_core::reason::Reason;
use bakery_core::wire::build::{PublishState, Verdict};
use bakery_core::wire::log::{Frame, Level};
use jiff::Timestamp;

use crate::builds::state::{self, BuildState, FirstCause};

/// What happens to a build.
#[derive(Debug, Clone)]
pub(in crate::builds) enum Event {
    /// The server begins with it, or begins again after a restart.
    Begin,
    /// Something happens to one attempt at one task.
    Task { index: usize, attempt: u8, event: TaskEvent },
    /// The platform holds the container.
    Answered { index: usize, attempt: u8 },
    /// Somebody cancels it.
    Cancel(String),
    /// The publishing of a target has come to its end.
    Published { target: usize, result: Result<Digest, Cause> },
}

impl Event {
    /// What happens to one attempt, by its name.
    pub(in crate::builds) fn of_run(run: RunName, event: TaskEvent) -> Self {
        Self::Task { index: usize::from(run.task.index), attempt: run.attempt, event }
    }
}

/// What has to be done, once the new state is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::builds) enum BuildEffect {
    /// Queue for a run slot on the task's platform.
    Enqueue(usize),
    /// The same after a pause.
    EnqueueLater(usize),
    /// Leave the queue, or give back a slot that was never used.
    Leave(usize, RunName),
    /// Ask the platform for the container.
    Launch(usize),
    /// Ask the platform whether it still holds the container.
    Ask(usize),
    /// Publish the target's index.
    Publish(usize),
    /// Publish it no more, unless it is pushed already; the result says which.
    Withdraw(usize),
    /// Nothing will follow.
    End,
}

/// A container that must not live on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::builds) struct PendingStop {
    pub(in crate::builds) index: usize,
    pub(in crate::builds) run: RunName,
    /// It may end by itself first.
    pub(in crate::builds) lingers: bool,
}

/// One step of a build.
#[derive(Debug)]
pub(in crate::builds) struct Step {
    pub(in crate::builds) state: BuildState,
    pub(in crate::builds) frames: Vec<Frame>,
    pub(in crate::builds) stops: Vec<PendingStop>,
    pub(in crate::builds) effects: Vec<BuildEffect>,
    pub(in crate::builds) says: Vec<(Option<RunName>, Level, Message)>,
}

/// What is under way and need not be kept: a restart begins it again.
#[derive(Debug, Default)]
pub(in crate::builds) struct InFlight {
    queued: Vec<usize>,
    publishing: Vec<usize>,
}

/// One step. Pure but for `in_flight`, which keeps effects from being asked for twice.
pub(in crate::builds) fn step(
    state: &BuildState,
    in_flight: &mut InFlight,
    now: Timestamp,
    event: Event,
) -> Step {
    let step = Step {
        state: state.clone(),
        frames: Vec::new(),
        stops: Vec::new(),
        effects: Vec::new(),
        says: Vec::new(),
    };
    let mut hand = Stepper { step, in_flight, now };
    if state.outcome.is_none() {
        hand.take(event);
        hand.follow_up();
    } else if let Event::Task { index, attempt, event } = event {
        hand.task(index, attempt, event);
    }
    hand.step
}

struct Stepper<'a> {
    step: Step,
    in_flight: &'a mut InFlight,
    now: Timestamp,
}

impl Stepper<'_> {
    fn take(&mut self, event: Event) {
        match event {
            Event::Begin => self.begin(),
            Event::Task { index, attempt, event } => self.task(index, attempt, event),
            Event::Answered { index, attempt } => {
                let record = &mut self.step.state.tasks[index];
                if record.task.attempt == attempt && record.launched.is_some() {
                    record.answered = true;
                }
            }
            Event::Cancel(text) => self.cancel(&text),
            Event::Published { target, result } => self.published(target, result),
        }
    }

    /// Takes up what a state alone asks for.
    fn begin(&mut self) {
        for index in 0..self.step.state.tasks.len() {
            let record = &self.step.state.tasks[index];
            match &record.task.state {
                TaskState::Launching { .. } if !record.answered => {
                    self.step.effects.push(BuildEffect::Launch(index))
                }
                TaskState::Retreating { .. } => self.stop(index, self.step.state.run(index), false),
                _ => {}
            }
        }
    }

    fn task(&mut self, index: usize, attempt: u8, event: TaskEvent) {
        let Some(record) = self.step.state.tasks.get(index) else { return };
        let before = record.task.clone();
        let run = self.step.state.run(index);
        let (after, effects) = lifecycle::next(&before, attempt, event);
        self.step.state.tasks[index].task = after.clone();

        let attempt_over = after.attempt != before.attempt || after.ending() != before.ending();
        let was_planned = matches!(before.state, TaskState::Planned { .. });
        let retreats = matches!(before.state, TaskState::Retreating { .. });
        if attempt_over && was_planned {
            self.step.effects.push(BuildEffect::Leave(index, run));
        } else if attempt_over && !retreats {
            // Also where it is gone already: stopping is what removes it from the platform.
            self.stop(index, run, effects.contains(&TaskEffect::StopIfItLingers));
        }
        for effect in effects {
            self.effect(index, run, effect);
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

    fn effect(&mut self, index: usize, run: RunName, effect: TaskEffect) {
        let record = &mut self.step.state.tasks[index];
        match effect {
            TaskEffect::Launch => {
                record.launched = Some(self.now);
                record.answered = false;
                self.step.effects.push(BuildEffect::Launch(index));
            }
            TaskEffect::Stop => self.stop(index, run, false),
            TaskEffect::StopIfItLingers => self.stop(index, run, true),
            TaskEffect::AskPlatform => self.step.effects.push(BuildEffect::Ask(index)),
            TaskEffect::QueueAgain => {
                record.launched = None;
                record.answered = false;
                self.step.effects.push(BuildEffect::EnqueueLater(index));
            }
            TaskEffect::Note(message) => self.say(Some(run), Level::Info, message),
            TaskEffect::Contradiction(digest) => {
                tracing::error!(%run, %digest, "a late report contradicts the digest that the task settled with");
            }
        }
    }

    fn cancel(&mut self, text: &str) {
        if (0..self.step.state.tasks.len()).any(|index| !self.step.state.settled(index)) {
            self.blame(Cause::new(Reason::Cancelled, text), Verdict::Cancelled);
        }
        for index in 0..self.step.state.tasks.len() {
            let attempt = self.step.state.tasks[index].task.attempt;
            self.task(index, attempt, TaskEvent::Cancelled(text.to_owned()));
        }
        for target in 0..self.step.state.publishes.len() {
            if self.in_flight.publishing.contains(&target) {
                // Its own result says how it ended: only the registry knows whether the index stands.
                self.step.effects.push(BuildEffect::Withdraw(target));
            } else {
                self.give_up(target, &Cause::new(Reason::Cancelled, text.to_owned()));
            }
        }
    }

    fn published(&mut self, target: usize, result: Result<Digest, Cause>) {
        self.in_flight.publishing.retain(|&other| other != target);
        if self.step.state.publishes[target] != Some(PublishState::Pending) {
            return;
        }
        let state = match result {
            Ok(digest) => PublishState::Done { digest },
            Err(Cause { reason, text, hint }) => {
                let name = &self.step.state.plan.targets[target].name;
                let message = Message { text: format!("{name}: {text}"), hint: hint.clone() };
                let cause = Cause::new(reason, message);
                self.blame(cause, state::verdict_of_publish(reason));
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
            self.step.effects.push(BuildEffect::End);
        }
    }

    fn follow_target(&mut self, target: usize) {
        let state = &self.step.state;
        let print = state.plan.targets[target].clone();
        if state.failed(target) {
            self.abandon(target, &format!("another part of {} did not end well", print.name));
        } else if let Some(&lost) = print.after.iter().find(|&&before| state.failed(before)) {
            let name = &state.plan.targets[lost].name;
            self.abandon(target, &format!("{name}, which comes first, did not end well"));
        } else if state.baked(target) && state.publishes[target] == Some(PublishState::Pending) {
            self.publish(target, &print.tasks, print.index);
        } else if print.after.iter().all(|&before| state.good(before)) {
            for index in print.tasks {
                let waits = matches!(self.step.state.tasks[index].task.state, TaskState::Planned { .. });
                if waits && !self.in_flight.queued.contains(&index) {
                    self.in_flight.queued.push(index);
                    self.step.effects.push(BuildEffect::Enqueue(index));
                }
            }
        }
    }

    fn abandon(&mut self, target: usize, why: &str) {
        let tasks = self.step.state.plan.targets[target].tasks.clone();
        for index in tasks {
            let attempt = self.step.state.tasks[index].task.attempt;
            self.task(index, attempt, TaskEvent::SiblingFailed(why.to_owned()));
        }
        self.give_up(target, &Cause::new(Reason::SiblingFailed, format!("not published: {why}")));
    }

    /// The target will never be published. No frame: nothing was tried, and the tasks' own say why.
    fn give_up(&mut self, target: usize, cause: &Cause) {
        if self.step.state.publishes[target] == Some(PublishState::Pending) && !self.step.state.baked(target)
        {
            self.step.state.publishes[target] = Some(PublishState::Failed {
                reason: cause.reason,
                text: cause.text.clone(),
                hint: cause.hint.clone(),
            });
        }
    }

    fn publish(&mut self, target: usize, tasks: &[usize], index: bool) {
        if index {
            if !self.in_flight.publishing.contains(&target) {
                self.in_flight.publishing.push(target);
                self.step.effects.push(BuildEffect::Publish(target));
            }
        } else if let Some(Ending::Baked { digest }) =
            tasks.first().and_then(|&index| self.step.state.tasks[index].task.ending())
        {
            self.step.state.publishes[target] = Some(PublishState::Done { digest: digest.clone() });
            self.frame_publish(target);
        }
    }

    fn frame_publish(&mut self, target: usize) {
        if let Some(publish) = self.step.state.publish_view(target) {
            self.step.frames.push(Frame::Published { publish });
        }
    }

    /// The first cause in time is the build's.
    fn blame(&mut self, cause: Cause, verdict: Verdict) {
        if cause.reason != Reason::SiblingFailed && self.step.state.first_cause.is_none() {
            self.step.state.first_cause = Some(FirstCause { cause, verdict });
        }
    }

    fn stop(&mut self, index: usize, run: RunName, lingers: bool) {
        let known = self.step.stops.iter().any(|stop| stop.run == run);
        if !known {
            self.step.stops.push(PendingStop { index, run, lingers });
        }
    }

    fn say(&mut self, run: Option<RunName>, level: Level, message: impl Into<Message>) {
        self.step.says.push((run, level, message.into()));
    }
}

#[cfg(test)]
#[path = "step_tests.rs"]
mod tests;
