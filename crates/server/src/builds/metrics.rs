//! Metrics of builds: what was counted since the process started, and where things stand.
//!
//! Gauges are read from the state at each scrape. Labels have few values: never a build, an image or an owner.

use std::sync::Arc;

use bakery_core::lifecycle::TaskState;
use bakery_core::names::Platform;
use bakery_core::reason::{Fault, Reason};
use bakery_core::wire::build::{BuildPhase, PublishState, TaskPhase, Verdict};
use bakery_core::wire::json_name;
use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Launchers;
use super::actors::Actors;
use super::run_slots::{RunSlots, SlotUsage};
use super::state::{BuildState, verdict_of_publish, verdict_of_task};

/// Upper bounds of a launch, in seconds: a warm engine takes one, a new node minutes.
const LAUNCH: [f64; 11] = [1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 90.0, 120.0, 180.0, 300.0];
/// Upper bounds of a build, in seconds.
const BUILD: [f64; 11] = [5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0];

const OUTCOMES: [Verdict; 4] = [Verdict::Baked, Verdict::Failed, Verdict::Lost, Verdict::Cancelled];
const OPEN_BUILDS: [BuildPhase; 3] = [BuildPhase::Queued, BuildPhase::Baking, BuildPhase::Publishing];
const OPEN_TASKS: [TaskPhase; 4] =
    [TaskPhase::Planned, TaskPhase::Launching, TaskPhase::Running, TaskPhase::Closing];
/// Why an index is not published.
const UNPUBLISHED: [Reason; 5] = [
    Reason::CredentialsRefused,
    Reason::Internal,
    Reason::PushRefused,
    Reason::RegistryUnreachable,
    Reason::WrongArch,
];

type Labels<const N: usize> = [(&'static str, String); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// Counters. Every series that an alert is about exists from the start, at 0: the increase of one that begins with 1 cannot
/// be seen.
pub(super) struct Counts {
    /// When the process started.
    since: Timestamp,
    ended: Counters<2>,
    lasted: Histograms<1>,
    launches: Histograms<1>,
    retries: Counters<2>,
    unpublished: Counters<1>,
}

impl Counts {
    pub(super) fn new(since: Timestamp, platforms: impl IntoIterator<Item = Platform>) -> Self {
        let counts = Self {
            since,
            ended: Family::default(),
            lasted: Family::new_with_constructor(|| Histogram::new(BUILD)),
            launches: Family::new_with_constructor(|| Histogram::new(LAUNCH)),
            retries: Family::default(),
            unpublished: Family::default(),
        };
        for outcome in OUTCOMES {
            drop(counts.lasted.get_or_create(&of_outcome(outcome)));
        }
        drop(counts.ended.get_or_create(&of_end(Verdict::Baked, None)));
        // The first cause of a build is never that another part of it has failed.
        for &reason in Reason::ALL.iter().filter(|reason| **reason != Reason::SiblingFailed) {
            drop(counts.ended.get_or_create(&of_end(verdict_of_task(reason), Some(reason))));
        }
        for reason in UNPUBLISHED {
            drop(counts.ended.get_or_create(&of_end(verdict_of_publish(reason), Some(reason))));
            drop(counts.unpublished.get_or_create(&[("reason", json_name(reason))]));
        }
        for platform in platforms {
            drop(counts.launches.get_or_create(&of_platform(platform)));
            for &reason in Reason::ALL.iter().filter(|reason| reason.retryable()) {
                drop(counts.retries.get_or_create(&of_retry(platform, reason)));
            }
        }
        counts
    }

    /// Takes one committed step of a build into account.
    pub(super) fn step(&self, before: &BuildState, after: &BuildState, now: Timestamp) {
        let records = before.tasks.iter().zip(&after.tasks).zip(&after.plan.tasks);
        for ((old, new), plan) in records {
            if new.task.attempt > old.task.attempt {
                let reason = new.task.cause().map_or(Reason::Unknown, |cause| cause.reason);
                self.retries.get_or_create(&of_retry(plan.platform, reason)).inc();
            }
            let connected = matches!(old.task.state, TaskState::Launching { .. })
                && matches!(new.task.state, TaskState::Running { .. });
            // The agent of a launch before this start may have tried to connect while no server ran.
            if let (true, Some(launched)) =
                (connected, old.launched.filter(|launched| *launched >= self.since))
            {
                let launches = self.launches.get_or_create(&of_platform(plan.platform));
                launches.observe(seconds(launched, now));
            }
        }
        for (target, (old, new)) in before.publishes.iter().zip(&after.publishes).enumerate() {
            // No index is tried of a target that is not baked or has one architecture, and one that was withdrawn has not failed.
            if let (Some(PublishState::Pending), Some(PublishState::Failed { reason, .. })) = (old, new)
                && after.plan.targets[target].index
                && after.baked(target)
                && reason.fault() != Fault::Asked
            {
                self.unpublished.get_or_create(&[("reason", json_name(reason))]).inc();
            }
        }
        if let (None, Some(outcome)) = (&before.outcome, &after.outcome) {
            self.ended.get_or_create(&of_end(outcome.verdict, outcome.reason)).inc();
            let lasted = self.lasted.get_or_create(&of_outcome(outcome.verdict));
            lasted.observe(seconds(after.created, now));
        }
    }

    fn register(&self, registry: &mut Registry) {
        let text = "Ended builds by outcome and first cause (none for a success)";
        registry.register("builds_ended", text, self.ended.clone());
        let text = "Seconds from the submission of a build to its end, including time in the queue";
        registry.register("build_duration_seconds", text, self.lasted.clone());
        let text = "Seconds from the launch of a container to the first contact of its agent";
        registry.register("launch_duration_seconds", text, self.launches.clone());
        let text = "Second attempts at a task, by the cause that ended the first";
        registry.register("task_retries", text, self.retries.clone());
        let text = "Indexes that could not be published, by cause";
        registry.register("publish_failures", text, self.unpublished.clone());
    }
}

/// What a scrape shows: the counters, and where things stand at that moment.
pub(super) struct Gauges {
    pub(super) counts: Arc<Counts>,
    pub(super) launchers: Launchers,
    pub(super) slots: RunSlots,
    pub(super) actors: Actors,
}

impl Gauges {
    pub(super) fn register(&self, registry: &mut Registry) {
        self.counts.register(registry);
        let (builds, tasks) = (gauges(), gauges());
        let (up, queued, held, slots) = (gauges(), gauges(), gauges(), gauges());
        for phase in OPEN_BUILDS {
            drop(builds.get_or_create(&[("state", json_name(phase))]));
        }
        for (&platform, launcher) in &*self.launchers {
            for phase in OPEN_TASKS {
                drop(tasks.get_or_create(&of_task(platform, phase)));
            }
            let available = launcher.availability().borrow().is_available();
            up.get_or_create(&of_platform(platform)).set(i64::from(available));
        }
        for state in self.actors.states().values().filter(|state| state.outcome.is_none()) {
            builds.get_or_create(&[("state", json_name(state.phase()))]).inc();
            for (record, plan) in state.tasks.iter().zip(&state.plan.tasks) {
                if record.task.ending().is_none() {
                    tasks.get_or_create(&of_task(plan.platform, record.task.phase())).inc();
                }
            }
        }
        for SlotUsage { platform, max, held: in_use, waiting } in self.slots.usage() {
            let labels = of_platform(platform);
            slots.get_or_create(&labels).set(count(max));
            held.get_or_create(&labels).set(count(in_use));
            queued.get_or_create(&labels).set(count(waiting));
        }
        registry.register("builds_open", "Builds that have not ended, by state", builds);
        registry.register("tasks_open", "Tasks of open builds that have not ended, by state", tasks);
        registry.register("platform_up", "1 while the platform is available, else 0", up);
        registry.register("queued_tasks", "Tasks that wait for a run slot", queued);
        registry.register("run_slots_held", "Run slots in use: their containers may still run", held);
        registry.register("run_slots", "Run slots of the platform: MAX_RUNS or its default", slots);
    }
}

fn gauges<const N: usize>() -> Family<Labels<N>, Gauge> {
    Family::default()
}

fn of_platform(platform: Platform) -> Labels<1> {
    [("platform", platform.to_string())]
}

fn of_task(platform: Platform, phase: TaskPhase) -> Labels<2> {
    [("platform", platform.to_string()), ("state", json_name(phase))]
}

fn of_retry(platform: Platform, reason: Reason) -> Labels<2> {
    [("platform", platform.to_string()), ("reason", json_name(reason))]
}

fn of_outcome(outcome: Verdict) -> Labels<1> {
    [("outcome", json_name(outcome))]
}

fn of_end(outcome: Verdict, reason: Option<Reason>) -> Labels<2> {
    [("outcome", json_name(outcome)), ("reason", reason.map_or("none".to_owned(), json_name))]
}

fn count(things: usize) -> i64 {
    i64::try_from(things).unwrap_or(i64::MAX)
}

/// A clock that was set back makes no negative time.
fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}
