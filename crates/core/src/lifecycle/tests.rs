//! Properties of the lifecycle that hold for every sequence of events.

use proptest::prelude::*;

use super::*;
use crate::image::Digest;
use crate::limits;
use crate::reason::Fault;
use crate::wire::build::TaskPhase;

fn digest(n: u8) -> Digest {
    Digest::of(&[n])
}

fn reason() -> impl Strategy<Value = Reason> {
    proptest::sample::select(Reason::ALL)
}

fn cause() -> impl Strategy<Value = Cause> {
    reason().prop_map(|reason| Cause::new(reason, "because"))
}

fn result() -> impl Strategy<Value = TaskResult> {
    prop_oneof![
        (0..3_u8).prop_map(|n| TaskResult::Baked { digest: digest(n) }),
        reason().prop_map(|reason| TaskResult::Failed {
            reason,
            text: "because".into(),
            hint: None,
            exit_code: Some(1),
            tail: Vec::new()
        }),
        Just(TaskResult::Cancelled),
    ]
}

fn stage() -> impl Strategy<Value = Stage> {
    proptest::sample::select(&Stage::ALL[..])
}

fn event() -> impl Strategy<Value = TaskEvent> {
    let text = || "because".to_owned();
    prop_oneof![
        3 => Just(TaskEvent::SlotFree),
        3 => Just(TaskEvent::AgentConnected),
        2 => proptest::option::of(reason()).prop_map(move |r| TaskEvent::Progress(r, text().into())),
        2 => (any::<bool>(), cause())
            .prop_map(|(retryable, cause)| TaskEvent::LaunchFailed { retryable, cause }),
        2 => Just(TaskEvent::ProvisionDeadline(text())),
        2 => Just(TaskEvent::StopConfirmed),
        2 => stage().prop_map(TaskEvent::StageReached),
        1 => Just(TaskEvent::ContactLost),
        1 => (result(), stage()).prop_map(|(result, stage)| TaskEvent::Reported(result, stage)),
        3 => cause().prop_map(TaskEvent::Gone),
        3 => Just(TaskEvent::GraceOver),
        1 => proptest::sample::select(vec![
            TaskEvent::Cancelled(text()),
            TaskEvent::SiblingFailed(text()),
            TaskEvent::DeadlinePassed(text()),
            TaskEvent::SecondBinder(text()),
        ]),
    ]
}

/// Events with the attempt that they are about.
fn history() -> impl Strategy<Value = Vec<(u8, TaskEvent)>> {
    proptest::collection::vec((1..=2_u8, event()), 0..40)
}

proptest! {
    #[test]
    fn settled_is_final(history in history()) {
        let mut task = Task::new();
        for (attempt, event) in history {
            let (after, effects) = next(&task, attempt, event);
            if task.ending().is_some() {
                prop_assert_eq!(&after, &task);
                prop_assert!(effects.iter().all(|effect| matches!(effect, TaskEffect::Contradiction(_))));
            }
            task = after;
        }
    }

    #[test]
    fn events_of_other_attempts_change_nothing(history in history(), stray in event()) {
        let mut task = Task::new();
        for (attempt, event) in history {
            task = next(&task, attempt, event).0;
        }
        let other = task.attempt % 2 + 1;
        prop_assert_eq!(next(&task, other, stray), (task, Vec::new()));
    }

    #[test]
    fn a_second_attempt_starts_only_when_no_container_may_run(history in history()) {
        let mut task = Task::new();
        let mut may_run = false;
        let mut launches = 0;
        for (attempt, event) in history {
            let over = matches!(event, TaskEvent::Gone(_) | TaskEvent::StopConfirmed);
            if over && attempt == task.attempt {
                may_run = false;
            }
            let (after, effects) = next(&task, attempt, event);
            if after.attempt > task.attempt {
                prop_assert!(!may_run, "{task:?} -> {after:?}");
            }
            if effects.contains(&TaskEffect::Launch) {
                launches += 1;
                may_run = true;
            }
            task = after;
        }
        prop_assert!(launches <= limits::ATTEMPTS && task.attempt <= limits::ATTEMPTS);
    }

    #[test]
    fn a_report_wins_over_the_exit(gone in cause(), result in result(), launched in any::<bool>()) {
        // Except for an evicted agent, whose reason is only a guess.
        prop_assume!(!matches!(result, TaskResult::Failed { reason: Reason::Evicted, .. }));
        let mut task = next(&Task::new(), 1, TaskEvent::SlotFree).0;
        if launched {
            task = next(&task, 1, TaskEvent::AgentConnected).0;
        }
        let closing = next(&task, 1, TaskEvent::Gone(gone)).0;
        let settled = next(&closing, 1, TaskEvent::Reported(result.clone(), Stage::Push)).0;
        prop_assert_eq!(settled.ending(), Some(&Ending::of(result)));
    }

    #[test]
    fn a_reported_loss_is_retried_exactly_where_an_unreported_one_is(
        known in stage().prop_filter("the last stage is the report's own", |it| *it < Stage::Report),
        reason in reason().prop_filter("an unreported loss is the platform's", |it| it.fault() == Fault::Platform),
        first in any::<bool>(),
        report_first in any::<bool>(),
    ) {
        let attempt = if first { 1 } else { 2 };
        let task = Task { attempt, state: TaskState::Running { stage: known, trouble: None } };
        let step = |task: &Task, event| next(task, attempt, event).0;
        let gone = TaskEvent::Gone(Cause::new(reason, "because"));
        let unreported = step(&step(&task, gone.clone()), TaskEvent::GraceOver);
        let text = "because".into();
        let result = TaskResult::Failed { reason, text, hint: None, exit_code: None, tail: Vec::new() };
        let report = TaskEvent::Reported(result, known);
        let reported = if report_first {
            // A report whose response was lost is sent again.
            let events = [TaskEvent::StageReached(Stage::Report), report.clone(), report, gone];
            events.into_iter().fold(task, |task, event| step(&task, event))
        } else {
            step(&step(&task, gone), report)
        };
        prop_assert_eq!(reported, unreported);
    }

    #[test]
    fn only_a_report_makes_a_success(history in history()) {
        let mut task = Task::new();
        let mut proven = None;
        for (attempt, event) in history {
            if let (TaskEvent::Reported(TaskResult::Baked { digest }, _), true) = (&event, attempt == task.attempt) {
                proven = proven.or_else(|| Some(digest.clone()));
            }
            task = next(&task, attempt, event).0;
        }
        if let Some(Ending::Baked { digest }) = task.ending() {
            prop_assert_eq!(Some(digest), proven.as_ref());
        }
    }

    #[test]
    fn only_a_run_that_had_not_failed_before_runs_out_of_time(history in history()) {
        let mut task = Task::new();
        for (attempt, event) in history {
            let after = next(&task, attempt, event).0;
            task = if after.ending().is_some() { task } else { after };
        }
        let failed = match &task.state {
            TaskState::Retreating { cause, .. } => Some(cause.reason),
            _ => None,
        };
        let (task, _) = next(&task, task.attempt, TaskEvent::DeadlinePassed("too late".into()));
        match (failed, task.ending()) {
            (Some(reason), Some(Ending::Lost { cause })) => prop_assert_eq!(cause.reason, reason),
            (None, Some(Ending::TimedOut { cause })) => prop_assert_eq!(cause.reason, Reason::TaskTimeout),
            (_, ending) => prop_assert!(false, "{ending:?}"),
        }
    }

    #[test]
    fn a_container_that_may_run_is_stopped_when_its_task_is_settled(history in history()) {
        let mut task = Task::new();
        for (attempt, event) in history {
            let may_run = matches!(
                task.state,
                TaskState::Launching { .. } | TaskState::Retreating { .. } | TaskState::Running { .. }
            );
            let (after, effects) = next(&task, attempt, event);
            if may_run && after.ending().is_some() {
                prop_assert!(effects.contains(&TaskEffect::Stop) || effects.contains(&TaskEffect::StopIfItLingers));
            }
            task = after;
        }
    }
}

fn drive(events: &[TaskEvent]) -> Task {
    let mut task = Task::new();
    for event in events {
        task = next(&task, task.attempt, event.clone()).0;
    }
    task
}

fn gone(reason: Reason) -> TaskEvent {
    TaskEvent::Gone(Cause::new(reason, "exit 137"))
}

#[test]
fn a_lost_container_is_retried_only_while_nothing_was_pushed() {
    use TaskEvent::{AgentConnected, GraceOver, SlotFree, StageReached};
    let lost =
        |stage, reason| drive(&[SlotFree, AgentConnected, StageReached(stage), gone(reason), GraceOver]);
    assert_eq!(lost(Stage::Bake, Reason::AgentLost).attempt, 2);
    assert_eq!(lost(Stage::Push, Reason::AgentLost).phase(), TaskPhase::Lost);
    assert_eq!(lost(Stage::PostScript, Reason::Evicted).phase(), TaskPhase::Lost);
    assert_eq!(lost(Stage::Bake, Reason::OutOfMemory).phase(), TaskPhase::Lost);
}

#[test]
fn a_failed_launch_is_stopped_before_it_is_retried() {
    let cause = Cause::new(Reason::NoCapacity, "full");
    let failed = TaskEvent::LaunchFailed { retryable: true, cause: cause.clone() };
    let task = drive(&[TaskEvent::SlotFree, failed.clone()]);
    assert_eq!((task.attempt, task.phase()), (1, TaskPhase::Launching));
    let (task, effects) = next(&task, 1, TaskEvent::StopConfirmed);
    assert_eq!((task.attempt, task.cause(), effects), (2, Some(&cause), vec![TaskEffect::QueueAgain]));
    let (task, _) = next(&task, 2, TaskEvent::SlotFree);
    let (task, effects) = next(&task, 2, failed);
    assert_eq!(task.ending(), Some(&Ending::Lost { cause }));
    assert_eq!(effects, [TaskEffect::Stop]);
}

#[test]
fn a_note_about_a_retry_keeps_the_hint_of_its_cause() {
    let cause = Cause::new(Reason::PlatformUnreachable, Message::new("no answer").with_hint("start it"));
    let failed = TaskEvent::LaunchFailed { retryable: true, cause };
    let (_, effects) = next(&drive(&[TaskEvent::SlotFree]), 1, failed);
    let note = Message::new("no answer: retrying once").with_hint("start it");
    assert_eq!(effects, [TaskEffect::Note(note), TaskEffect::Stop]);
}

#[test]
fn the_platforms_last_report_explains_a_launch_that_took_too_long() {
    let pull = TaskEvent::Progress(Some(Reason::ImagePull), "no such image".into());
    let task = drive(&[TaskEvent::SlotFree, pull, TaskEvent::ProvisionDeadline("5m exceeded".into())]);
    let cause = task.ending().and_then(Ending::cause).unwrap();
    assert_eq!(cause.reason, Reason::ImagePull);
    assert_eq!(cause.text, "5m exceeded; the platform reported: no such image");
}

#[test]
fn a_problem_that_has_ended_explains_nothing() {
    let full = TaskEvent::Progress(Some(Reason::NoCapacity), "no capacity".into());
    let placed = TaskEvent::Progress(None, "on node a".into());
    let task =
        drive(&[TaskEvent::SlotFree, full, placed, TaskEvent::ProvisionDeadline("5m exceeded".into())]);
    assert_eq!(task.cause().map(|cause| cause.reason), Some(Reason::ProvisionTimeout));
}

#[test]
fn an_eviction_that_the_agent_reports_is_retried_once_its_container_is_stopped() {
    let evicted = |stage| {
        let text = "SIGTERM".to_owned();
        let result = TaskResult::Failed {
            reason: Reason::Evicted,
            text,
            hint: None,
            exit_code: None,
            tail: Vec::new(),
        };
        TaskEvent::Reported(result, stage)
    };
    let running =
        |stage| drive(&[TaskEvent::SlotFree, TaskEvent::AgentConnected, TaskEvent::StageReached(stage)]);
    let (task, effects) = next(&running(Stage::Bake), 1, evicted(Stage::Bake));
    assert_eq!((task.attempt, task.phase()), (1, TaskPhase::Closing));
    assert_eq!(effects, [TaskEffect::Note("SIGTERM: retrying once".into()), TaskEffect::Stop]);
    let (task, effects) = next(&task, 1, TaskEvent::StopConfirmed);
    assert_eq!((task.attempt, task.phase(), effects), (2, TaskPhase::Planned, vec![TaskEffect::QueueAgain]));
    // The stage that the server has recorded counts as much as the report's.
    for (known, reported) in
        [(Stage::Push, Stage::Bake), (Stage::Bake, Stage::Push), (Stage::Report, Stage::Push)]
    {
        let (task, effects) = next(&running(known), 1, evicted(reported));
        assert_eq!((task.phase(), effects), (TaskPhase::Lost, vec![TaskEffect::StopIfItLingers]));
    }
}

#[test]
fn an_evicted_agent_ends_with_the_reason_that_the_platform_reports() {
    let evicted = || {
        let text = "SIGTERM".to_owned();
        let result = TaskResult::Failed {
            reason: Reason::Evicted,
            text,
            hint: None,
            exit_code: None,
            tail: Vec::new(),
        };
        TaskEvent::Reported(result, Stage::Bake)
    };
    let full = || Cause::new(Reason::DiskFull, "the disk of the node is full");
    let running = [TaskEvent::SlotFree, TaskEvent::AgentConnected];
    let expected =
        Cause::new(Reason::DiskFull, "SIGTERM; the platform reported: the disk of the node is full");
    // In whichever order the two arrive.
    let progress = || TaskEvent::Progress(Some(full().reason), full().text.into());
    let orders = [
        vec![progress(), evicted()],
        vec![evicted(), TaskEvent::Gone(full())],
        vec![TaskEvent::Gone(full()), evicted()],
    ];
    for order in orders {
        let task = drive(&[&running[..], &order].concat());
        assert_eq!(task.ending(), Some(&Ending::Failed { cause: expected.clone() }), "{order:?}");
    }
    let spot = Cause::new(Reason::SpotReclaimed, "Spot");
    let task = drive(&[&running[..], &[evicted(), TaskEvent::Gone(spot)]].concat());
    assert_eq!((task.attempt, task.cause().map(|cause| cause.reason)), (2, Some(Reason::SpotReclaimed)));
    // A problem of the launch that is reported late, or again after a restart of the server, decides nothing.
    let stale = TaskEvent::Progress(Some(Reason::LaunchRefused), "no node for the pod".into());
    let task = drive(&[&running[..], &[stale, evicted(), TaskEvent::StopConfirmed]].concat());
    assert_eq!((task.attempt, task.cause().map(|cause| cause.reason)), (2, Some(Reason::Evicted)));
    let lost = TaskEvent::Progress(Some(Reason::NodeLost), "the node does not respond".into());
    let late = TaskEvent::DeadlinePassed("10m exceeded".into());
    let task = drive(&[&running[..], &[lost, late]].concat());
    let cause = task.ending().and_then(Ending::cause).unwrap();
    assert_eq!(cause.reason, Reason::TaskTimeout);
    assert!(cause.text.ends_with("the platform reported: the node does not respond"), "{}", cause.text);
}

#[test]
fn a_contradicting_digest_is_reported_and_changes_nothing() {
    let report = |n| TaskEvent::Reported(TaskResult::Baked { digest: digest(n) }, Stage::Report);
    let task = drive(&[TaskEvent::SlotFree, TaskEvent::AgentConnected, report(1)]);
    assert_eq!(next(&task, 1, report(1)), (task.clone(), Vec::new()));
    assert_eq!(next(&task, 1, report(2)), (task.clone(), vec![TaskEffect::Contradiction(digest(2))]));
}

#[test]
fn states_survive_the_ledger() {
    let task = drive(&[TaskEvent::SlotFree, TaskEvent::AgentConnected, gone(Reason::Evicted)]);
    let text = serde_json::to_string(&task).unwrap();
    assert_eq!(serde_json::from_str::<Task>(&text).unwrap(), task);
}

#[test]
fn a_state_is_stored_under_the_names_of_earlier_versions() {
    let cause = Cause::new(Reason::Evicted, "SIGTERM");
    let state = TaskState::Retreating { cause, connected: true };
    let stored = r#"{"kind":"retreating","cause":{"reason":"evicted","text":"SIGTERM"},"spoken":true}"#;
    assert_eq!(serde_json::to_string(&state).unwrap(), stored);
    assert_eq!(serde_json::from_str::<TaskState>(stored).unwrap(), state);
}
