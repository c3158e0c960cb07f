//! Properties of the step, over every sequence of events.

use bakery_core::image::ImageRef;
use bakery_core::names::{Arch, BuildId, Platform, TaskId};
use bakery_core::wire::build::TaskPhase;
use bakery_core::wire::run::{Stage, TaskResult};
use futures_util::FutureExt as _;
use proptest::prelude::*;

use std::sync::Arc;

use super::*;
use crate::builds::mailbox::{ActorMessage, with_capacity};
use crate::builds::state::{ResolvedPlan, TargetPlan, TaskPlan};

/// Two targets, the second after the first (or beside it), the first an index of two tasks.
fn state(sequential: bool) -> BuildState {
    let image = |name: &str| -> ImageRef { format!("reg.test/{name}:1").parse().unwrap() };
    let task = |target, arch| TaskPlan {
        target,
        arch,
        platform: Platform::Docker,
        cpu_millis: 500,
        memory_mib: 512,
        disk_mib: None,
        timeout_seconds: None,
        push_to: Some(image("part")),
        also_push_to: Vec::new(),
        keep_seconds: 60,
    };
    let target = |name: &str, after: Vec<usize>, tasks: Vec<usize>| TargetPlan {
        name: name.to_owned(),
        after,
        index: tasks.len() > 1,
        tasks,
        destination: Some(image(name)),
        tags: Vec::new(),
    };
    let after = if sequential { vec![0] } else { Vec::new() };
    let plan = ResolvedPlan {
        targets: vec![target("a", Vec::new(), vec![0, 1]), target("b", after, vec![2])],
        tasks: vec![task(0, Arch::Amd64), task(0, Arch::Arm64), task(1, Arch::Amd64)],
    };
    BuildState::new(BuildId::new(1, 2), Timestamp::UNIX_EPOCH, plan)
}

fn digest() -> Digest {
    Digest::of(b"image")
}

fn failed(reason: Reason) -> TaskEvent {
    let result =
        TaskResult::Failed { reason, text: "broke".into(), hint: None, exit_code: Some(1), tail: Vec::new() };
    TaskEvent::Reported(result, Stage::Bake)
}

fn task_event() -> impl Strategy<Value = TaskEvent> {
    let cause = || Cause::new(Reason::AgentLost, "lost");
    prop_oneof![
        4 => Just(TaskEvent::SlotFree),
        4 => Just(TaskEvent::AgentConnected),
        4 => Just(TaskEvent::Reported(TaskResult::Baked { digest: digest() }, Stage::Report)),
        1 => proptest::sample::select(vec![Reason::ExecutorFailed, Reason::Evicted]).prop_map(failed),
        2 => Just(TaskEvent::StageReached(Stage::Push)),
        2 => Just(TaskEvent::Gone(cause())),
        2 => Just(TaskEvent::GraceOver),
        1 => Just(TaskEvent::LaunchFailed { retryable: true, cause: cause() }),
        2 => proptest::option::of(proptest::sample::select(vec![Reason::ImagePull, Reason::DiskFull]))
            .prop_map(|reason| TaskEvent::Progress(reason, "pulls".into())),
        1 => Just(TaskEvent::StopConfirmed),
        1 => Just(TaskEvent::DeadlinePassed("late".into())),
    ]
}

fn run(index: usize, attempt: u8) -> RunName {
    let index = u16::try_from(index).unwrap();
    RunName { task: TaskId { build: BuildId::new(1, 2), index }, attempt }
}

fn platform() -> impl Strategy<Value = Platform> {
    proptest::sample::select(vec![Platform::Docker, Platform::K8s])
}

fn event() -> impl Strategy<Value = BuildEvent> {
    prop_oneof![
        20 => (0..3_usize, 1..=2_u8, task_event())
            .prop_map(|(index, attempt, event)| BuildEvent::Run(run(index, attempt), event)),
        2 => (0..3_usize, 1..=2_u8).prop_map(|(index, attempt)| BuildEvent::LaunchAccepted(run(index, attempt))),
        1 => (0..3_usize, 1..=2_u8).prop_map(|(index, attempt)| BuildEvent::BackOffOver(run(index, attempt))),
        3 => (0..2_usize).prop_map(|target| BuildEvent::Published { target, result: Ok(digest()), messages: Vec::new() }),
        1 => (0..2_usize).prop_map(|target| {
            BuildEvent::Published { target, result: Err(Cause::new(Reason::PushRefused, "no")), messages: Vec::new() }
        }),
        1 => Just(BuildEvent::Cancelled("enough".into())),
        3 => (platform(), proptest::collection::hash_set((0..3_usize, 1..=2_u8), 0..3)).prop_map(|(platform, live)| {
            let live = live.into_iter().map(|(index, attempt)| run(index, attempt)).collect();
            BuildEvent::Synced { platform, live: Arc::new(live) }
        }),
        3 => (platform(), any::<bool>()).prop_map(|(platform, out)| {
            BuildEvent::Availability { platform, outage: out.then(|| "no response".into()) }
        }),
    ]
}

/// What an actor would have done so far.
struct Played {
    state: BuildState,
    memory: StepMemory,
    frames: Vec<Frame>,
    effects: Vec<BuildEffect>,
}

fn play(sequential: bool, events: Vec<BuildEvent>) -> Result<Played, TestCaseError> {
    let mut played = Played {
        state: state(sequential),
        memory: StepMemory::default(),
        frames: Vec::new(),
        effects: Vec::new(),
    };
    for event in std::iter::once(BuildEvent::Started).chain(events) {
        // A publishing ends only where one was begun.
        if let BuildEvent::Published { target, .. } = event
            && !played.effects.contains(&BuildEffect::Publish(target))
        {
            continue;
        }
        let over = played.state.outcome.is_some();
        let step = step(&played.state, &mut played.memory, Timestamp::UNIX_EPOCH, event);
        if over {
            prop_assert_eq!(&step.state, &played.state);
            // Only a platform that is available again is still mentioned.
            prop_assert!(step.frames.is_empty());
            let only_notes =
                step.effects.iter().all(|effect| matches!(effect, BuildEffect::Note { run: None, .. }));
            prop_assert!(only_notes, "{:?}", step.effects);
        }
        played.state = step.state;
        played.frames.extend(step.frames);
        played.effects.extend(step.effects);
    }
    Ok(played)
}

/// What is left of events that waited in a mailbox of this capacity.
fn merged(events: &[BuildEvent], capacity: usize) -> Vec<BuildEvent> {
    let (mailbox, mut inbox) = with_capacity(BuildId::new(1, 2), capacity);
    for event in events {
        mailbox.post(event.clone());
    }
    let mut left = Vec::new();
    while let Some(ActorMessage::Event(event)) = inbox.next().now_or_never() {
        left.push(event);
    }
    left
}

proptest! {
    #[test]
    fn what_a_full_mailbox_merges_changes_no_state(
        sequential in any::<bool>(),
        capacity in 0..8_usize,
        events in proptest::collection::vec(event(), 0..80),
    ) {
        // Whether a publishing has begun depends on the steps before.
        let events: Vec<_> =
            events.into_iter().filter(|event| !matches!(event, BuildEvent::Published { .. })).collect();
        let left = merged(&events, capacity);
        prop_assert!(left.len() <= events.len());
        let (merged, whole) = (play(sequential, left)?, play(sequential, events)?);
        prop_assert_eq!(merged.state, whole.state);
        prop_assert_eq!(merged.memory.outages, whole.memory.outages);
    }

    #[test]
    fn the_end_comes_once_and_last(
        sequential in any::<bool>(),
        events in proptest::collection::vec(event(), 0..80),
    ) {
        let played = play(sequential, events)?;
        let ends = played.frames.iter().filter(|frame| matches!(frame, Frame::End { .. })).count();
        prop_assert_eq!(ends, usize::from(played.state.outcome.is_some()));
        if ends == 1 {
            let end_is_last = matches!(played.frames.last(), Some(Frame::End { .. }));
            prop_assert!(end_is_last);
            prop_assert!((0..2).all(|target| played.state.over(target)));
        }
    }

    #[test]
    fn a_build_succeeds_only_if_every_task_and_target_does(
        sequential in any::<bool>(),
        events in proptest::collection::vec(event(), 0..80),
    ) {
        let played = play(sequential, events)?;
        if let Some(outcome) = &played.state.outcome {
            let all_good = (0..2).all(|target| played.state.good(target));
            prop_assert_eq!(outcome.verdict == Verdict::Baked, all_good);
            prop_assert_eq!(outcome.images.len() == 2, all_good);
        }
    }

    #[test]
    fn an_index_is_published_only_where_everything_is_baked(
        events in proptest::collection::vec(event(), 0..80),
    ) {
        let played = play(true, events)?;
        let begun = played.effects.iter().filter(|effect| **effect == BuildEffect::Publish(0)).count();
        prop_assert!(begun <= 1);
        prop_assert!(begun == 0 || played.state.baked(0));
        let launched = played.effects.contains(&BuildEffect::Enqueue(run(2, 1)));
        prop_assert!(!launched || played.state.good(0), "the second service came before the first was there");
    }

    #[test]
    fn a_cancel_leaves_nothing_open_but_a_publishing(
        sequential in any::<bool>(),
        mut events in proptest::collection::vec(event(), 0..60),
    ) {
        events.push(BuildEvent::Cancelled("enough".into()));
        let played = play(sequential, events)?;
        let open = |index: usize| !played.state.settled(index);
        prop_assert!(!(0..3).any(open));
        prop_assert!(played.state.outcome.is_some() || !played.memory.publishing.is_empty());
    }

    #[test]
    fn every_phase_that_a_task_reaches_is_framed(
        events in proptest::collection::vec(event(), 0..80),
    ) {
        let played = play(false, events)?;
        for index in 0..3 {
            let task = &played.state.tasks[index].task;
            let last = played.frames.iter().rev().find_map(|frame| match frame {
                Frame::State { run, phase, .. } if usize::from(run.task.index) == index => {
                    Some((run.attempt, *phase))
                }
                _ => None,
            });
            prop_assert_eq!(last.unwrap_or((1, TaskPhase::Planned)), (task.attempt, task.phase()));
        }
    }
}
