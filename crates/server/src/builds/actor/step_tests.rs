//! Laws of a build's decisions, over every sequence of events.

use bakery_core::image::ImageRef;
use bakery_core::names::{Arch, BuildId, Platform};
use bakery_core::wire::build::TaskPhase;
use bakery_core::wire::run::{Stage, TaskResult};
use proptest::prelude::*;

use super::*;
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
        push_to: Some(image("part")),
        keep_seconds: 60,
    };
    let target = |name: &str, after: Vec<usize>, tasks: Vec<usize>| TargetPlan {
        name: name.to_owned(),
        after,
        index: tasks.len() > 1,
        tasks,
        destination: Some(image(name)),
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
        1 => Just(TaskEvent::StopConfirmed),
        1 => Just(TaskEvent::DeadlinePassed("late".into())),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => (0..3_usize, 1..=2_u8, task_event())
            .prop_map(|(index, attempt, event)| Event::Task { index, attempt, event }),
        2 => (0..3_usize, 1..=2_u8).prop_map(|(index, attempt)| Event::Answered { index, attempt }),
        3 => (0..2_usize).prop_map(|target| Event::Published { target, result: Ok(digest()) }),
        1 => (0..2_usize).prop_map(|target| {
            Event::Published { target, result: Err(Cause::new(Reason::PushRefused, "no")) }
        }),
        1 => Just(Event::Cancel("enough".into())),
    ]
}

/// What the loop would have done so far.
struct Told {
    state: BuildState,
    in_flight: InFlight,
    frames: Vec<Frame>,
    effects: Vec<BuildEffect>,
}

fn play(sequential: bool, events: Vec<Event>) -> Result<Told, TestCaseError> {
    let mut told = Told {
        state: state(sequential),
        in_flight: InFlight::default(),
        frames: Vec::new(),
        effects: Vec::new(),
    };
    for event in std::iter::once(Event::Begin).chain(events) {
        // A publishing ends only where one was begun.
        if let Event::Published { target, .. } = event
            && !told.effects.contains(&BuildEffect::Publish(target))
        {
            continue;
        }
        let over = told.state.outcome.is_some();
        let step = step(&told.state, &mut told.in_flight, Timestamp::UNIX_EPOCH, event);
        if over {
            prop_assert_eq!(&step.state, &told.state);
            prop_assert!(step.frames.is_empty() && step.effects.is_empty() && step.stops.is_empty());
        }
        told.state = step.state;
        told.frames.extend(step.frames);
        told.effects.extend(step.effects);
    }
    Ok(told)
}

proptest! {
    #[test]
    fn the_end_comes_once_and_last(
        sequential in any::<bool>(),
        events in proptest::collection::vec(event(), 0..80),
    ) {
        let told = play(sequential, events)?;
        let ends = told.frames.iter().filter(|frame| matches!(frame, Frame::End { .. })).count();
        prop_assert_eq!(ends, usize::from(told.state.outcome.is_some()));
        if ends == 1 {
            let end_is_last = matches!(told.frames.last(), Some(Frame::End { .. }));
            prop_assert!(end_is_last);
            prop_assert!((0..2).all(|target| told.state.over(target)));
        }
    }

    #[test]
    fn a_success_is_a_success_of_everything(
        sequential in any::<bool>(),
        events in proptest::collection::vec(event(), 0..80),
    ) {
        let told = play(sequential, events)?;
        if let Some(outcome) = &told.state.outcome {
            let all_good = (0..2).all(|target| told.state.good(target));
            prop_assert_eq!(outcome.verdict == Verdict::Baked, all_good);
            prop_assert_eq!(outcome.images.len() == 2, all_good);
        }
    }

    #[test]
    fn an_index_is_published_only_where_everything_is_baked(
        events in proptest::collection::vec(event(), 0..80),
    ) {
        let told = play(true, events)?;
        let begun = told.effects.iter().filter(|effects| **effects == BuildEffect::Publish(0)).count();
        prop_assert!(begun <= 1);
        prop_assert!(begun == 0 || told.state.baked(0));
        let launched = told.effects.contains(&BuildEffect::Enqueue(2));
        prop_assert!(!launched || told.state.good(0), "the second service came before the first was there");
    }

    #[test]
    fn a_cancel_leaves_nothing_open_but_a_publishing(
        sequential in any::<bool>(),
        mut events in proptest::collection::vec(event(), 0..60),
    ) {
        events.push(Event::Cancel("enough".into()));
        let told = play(sequential, events)?;
        let open = |index: usize| !told.state.settled(index);
        prop_assert!(!(0..3).any(open));
        prop_assert!(told.state.outcome.is_some() || !told.in_flight.publishing.is_empty());
    }

    #[test]
    fn every_phase_that_a_task_reaches_is_framed(
        events in proptest::collection::vec(event(), 0..80),
    ) {
        let told = play(false, events)?;
        for index in 0..3 {
            let task = &told.state.tasks[index].task;
            let last = told.frames.iter().rev().find_map(|frame| match frame {
                Frame::State { run, phase, .. } if usize::from(run.task.index) == index => {
                    Some((run.attempt, *phase))
                }
                _ => None,
            });
            prop_assert_eq!(last.unwrap_or((1, TaskPhase::Planned)), (task.attempt, task.phase()));
        }
    }
}
