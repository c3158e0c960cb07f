//! The state of every run as the three watches report it, and the observations that follow. Pure: `watch` is the loop
//! around it.
//!
//! Jobs, pods and events arrive on separate streams, in no order among each other. A run has ended when its pod has; the
//! status of its Job counts only where there is no pod.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{Hash as _, Hasher as _};

use bakery_core::names::RunName;
use bakery_core::reason::Reason;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event as K8sEvent, Pod};
use kube::runtime::watcher::Event;

use super::super::run_registry::RunRegistry;
use super::super::{Exit, Observation};
use super::job::{ARCH_LABEL, JobTemplate};
use super::status::{self, ObservedPodStatus, Remark};

/// How many different remarks are reported for one run; a cluster may make up more without end.
const REMARKS: usize = 64;

/// The state of all runs.
#[derive(Debug, Default)]
pub(super) struct RunTracker {
    states: HashMap<RunName, RunState>,
    jobs: Listing,
    pods: Listing,
    /// Whether events were listed.
    events: bool,
    /// Observations that must wait until everything is listed.
    held: Vec<Observation>,
    /// Remarks of listed events; one counts only where the pod has not come further since.
    listed: Vec<(RunName, Remark)>,
    /// Runs that seem to have ended and whose pod was never seen.
    unverified: Vec<RunName>,
}

/// Whether all objects of a kind are known.
#[derive(Debug, Default, PartialEq)]
enum Listing {
    #[default]
    Awaited,
    Begun(HashSet<RunName>),
    Done,
}

#[derive(Debug, Default)]
struct RunState {
    job: Option<ObjectState>,
    pod: Option<ObjectState>,
    /// The pod is on a node: what kept it from there has passed.
    scheduled: bool,
    /// Hashes of the remarks that were reported, and whether each was trouble. Trouble is reported again where the run has
    /// made progress in between.
    reported: HashMap<u64, bool>,
    /// The end was reported.
    end_reported: bool,
}

/// A Job or a pod as it was reported last.
#[derive(Debug)]
enum ObjectState {
    Open,
    Over(Exit),
    Deleted(Exit),
}

impl ObjectState {
    fn exit(&self) -> Option<&Exit> {
        match self {
            Self::Open => None,
            Self::Over(exit) | Self::Deleted(exit) => Some(exit),
        }
    }
}

/// What the tracker reads and writes besides its own state.
pub(super) struct TrackerContext<'a> {
    pub(super) template: &'a JobTemplate,
    pub(super) runs: &'a RunRegistry,
    /// Receives the observations.
    pub(super) out: &'a mut VecDeque<Observation>,
}

impl RunTracker {
    /// Begins again: everything will be listed anew. Remarks that were reported are not reported again.
    pub(super) fn begin(&mut self) {
        (self.jobs, self.pods, self.events) = (Listing::Awaited, Listing::Awaited, false);
        self.listed.clear();
        self.unverified.clear();
    }

    /// Whether everything is listed.
    pub(super) fn is_synced(&self) -> bool {
        self.jobs == Listing::Done && self.pods == Listing::Done && self.events
    }

    /// Takes the runs whose pods have to be looked up; [`RunTracker::verified`] takes each result.
    pub(super) fn take_unverified(&mut self) -> Vec<RunName> {
        std::mem::take(&mut self.unverified)
    }

    pub(super) fn job(&mut self, event: Event<Job>, context: &mut TrackerContext<'_>) {
        let run_of = |job: &Job| context.template.run_of(job.metadata.labels.as_ref());
        match event {
            Event::Init => self.jobs = Listing::Begun(HashSet::new()),
            Event::InitApply(job) => {
                if let (Some(run), Listing::Begun(listed)) = (run_of(&job), &mut self.jobs) {
                    listed.insert(run);
                    self.states.entry(run).or_default().job = Some(job_state(&job));
                }
            }
            Event::InitDone => {
                for run in self.missing(|tracker| &tracker.jobs, |state| state.job.as_ref()) {
                    let deleted = ObjectState::Deleted(gone("the Job was deleted"));
                    self.states.entry(run).or_default().job = Some(deleted);
                }
                self.jobs = Listing::Done;
                self.sync(context);
            }
            Event::Apply(job) => {
                if let Some(run) = run_of(&job) {
                    self.states.entry(run).or_default().job = Some(job_state(&job));
                    self.settle(run, context);
                }
            }
            Event::Delete(job) => {
                if let Some(run) = run_of(&job) {
                    let exit = status::job(&job).unwrap_or_else(|| gone("the Job was deleted"));
                    self.states.entry(run).or_default().job = Some(ObjectState::Deleted(exit));
                    self.settle(run, context);
                }
            }
        }
    }

    pub(super) fn pod(&mut self, event: Event<Pod>, context: &mut TrackerContext<'_>) {
        let run_of = |pod: &Pod| context.template.run_of(pod.metadata.labels.as_ref());
        match event {
            Event::Init => self.pods = Listing::Begun(HashSet::new()),
            Event::InitApply(pod) => {
                if let (Some(run), Listing::Begun(listed)) = (run_of(&pod), &mut self.pods) {
                    listed.insert(run);
                    self.update_pod(run, &pod, true, context);
                }
            }
            Event::InitDone => {
                for run in self.missing(|tracker| &tracker.pods, |state| state.pod.as_ref()) {
                    let deleted = ObjectState::Deleted(gone("the pod was deleted"));
                    self.states.entry(run).or_default().pod = Some(deleted);
                }
                self.pods = Listing::Done;
                self.sync(context);
            }
            Event::Apply(pod) => {
                if let Some(run) = run_of(&pod) {
                    self.update_pod(run, &pod, false, context);
                    self.settle(run, context);
                }
            }
            Event::Delete(pod) => {
                if let Some(run) = run_of(&pod) {
                    let deleted = ObjectState::Deleted(status::ended(&pod));
                    self.states.entry(run).or_default().pod = Some(deleted);
                    self.settle(run, context);
                }
            }
        }
    }

    pub(super) fn event(&mut self, event: &Event<K8sEvent>, context: &mut TrackerContext<'_>) {
        let (event, listed) = match event {
            Event::InitApply(event) => (event, true),
            Event::Apply(event) => (event, false),
            Event::InitDone => {
                self.events = true;
                self.sync(context);
                return;
            }
            Event::Init | Event::Delete(_) => return,
        };
        let Some((run, remark)) = status::event(event) else { return };
        // Nothing is kept about a run that is not ours, or not known yet.
        if listed {
            self.listed.push((run, remark));
        } else if self.states.contains_key(&run) {
            self.report(run, remark, false, context);
        } else {
            self.emit(progress(run, remark), context);
        }
    }

    /// The result of a lookup that [`RunTracker::take_unverified`] asked for: the run's pod, where there is one.
    pub(super) fn verified(&mut self, run: RunName, pod: Option<&Pod>, context: &mut TrackerContext<'_>) {
        if let Some(pod) = pod {
            self.update_pod(run, pod, false, context);
        } else if let Some(state) = self.states.get_mut(&run)
            && let Some(exit) = state.job.as_ref().and_then(ObjectState::exit).filter(|_| state.pod.is_none())
        {
            state.pod = Some(ObjectState::Deleted(exit.clone()));
        }
        self.settle(run, context);
    }

    /// Runs of which an object was known and is no longer listed.
    fn missing(
        &self,
        listing: impl Fn(&Self) -> &Listing,
        object: impl Fn(&RunState) -> Option<&ObjectState>,
    ) -> Vec<RunName> {
        let Listing::Begun(listed) = listing(self) else { return Vec::new() };
        let there = |state| matches!(object(state), Some(ObjectState::Open | ObjectState::Over(_)));
        let known = self.states.iter().filter(|(_, state)| there(state));
        known.map(|(run, _)| *run).filter(|run| !listed.contains(run)).collect()
    }

    /// Updates a pod's state and reports what is new about it. Remarks on a pod that is only listed were reported by the
    /// watch before.
    fn update_pod(&mut self, run: RunName, pod: &Pod, listed: bool, context: &mut TrackerContext<'_>) {
        let nodes = context.template.nodes(arch_of(pod));
        let (object, remarks) = match status::pod(pod, &nodes, context.runs.exit_of(run).is_some()) {
            ObservedPodStatus::Over(exit) => (ObjectState::Over(exit), Vec::new()),
            ObservedPodStatus::Open(remarks) => (ObjectState::Open, remarks),
        };
        let state = self.states.entry(run).or_default();
        state.pod = Some(object);
        state.scheduled |= pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        for remark in remarks {
            self.report(run, remark, listed, context);
        }
    }

    /// Emits a remark, unless it was reported before.
    fn report(&mut self, run: RunName, remark: Remark, listed: bool, context: &mut TrackerContext<'_>) {
        let reported = &mut self.states.entry(run).or_default().reported;
        let mut hasher = DefaultHasher::new();
        remark.message.text.hash(&mut hasher);
        let (key, trouble) = (hasher.finish(), remark.reason.is_some());
        let new = reported.len() < REMARKS && !reported.contains_key(&key);
        if new {
            if !trouble {
                reported.retain(|_, trouble| !*trouble);
            }
            reported.insert(key, trouble);
        }
        if new && (trouble || !listed) {
            self.emit(progress(run, remark), context);
        }
    }

    /// Emits an observation, after the resync at the earliest.
    fn emit(&mut self, observation: Observation, context: &mut TrackerContext<'_>) {
        if self.is_synced() {
            context.out.push_back(observation);
        } else {
            self.held.push(observation);
        }
    }

    /// Emits the resync and everything that follows from it, where everything is listed.
    fn sync(&mut self, context: &mut TrackerContext<'_>) {
        if !self.is_synced() {
            return;
        }
        // A pod outlives its Job, for a while or until somebody ends it.
        let here = |state: &RunState| {
            matches!(state.job, Some(ObjectState::Open | ObjectState::Over(_)))
                || matches!(state.pod, Some(ObjectState::Open))
        };
        let mut live: HashSet<RunName> =
            self.states.iter().filter(|(_, state)| here(state)).map(|(run, _)| *run).collect();
        for state in self.states.values_mut().filter(|state| here(state)) {
            // A run whose end was reported and that is still here could not be removed: its end is reported again.
            state.end_reported = false;
        }
        // A launch under way may not have been listed yet.
        live.extend(context.runs.launching());
        context.out.push_back(Observation::Synced { live: live.into_iter().collect() });
        context.out.extend(self.held.drain(..));
        for (run, remark) in std::mem::take(&mut self.listed) {
            let open = self.states.get(&run).is_some_and(|state| !state.end_reported);
            // A lost node concerns a pod that is scheduled, every other remark one that is not yet.
            let counts = self
                .states
                .get(&run)
                .is_some_and(|state| state.scheduled == (remark.reason == Some(Reason::NodeLost)));
            if open && counts {
                self.report(run, remark, true, context);
            }
        }
        for run in self.states.keys().copied().collect::<Vec<_>>() {
            self.settle(run, context);
        }
    }

    /// Reports the end of a run, once, and forgets a run that has left nothing behind.
    fn settle(&mut self, run: RunName, context: &mut TrackerContext<'_>) {
        if !self.is_synced() {
            return;
        }
        let Some(state) = self.states.get_mut(&run) else { return };
        if !state.end_reported {
            match (&state.pod, &state.job) {
                (Some(pod), _) => {
                    if let Some(exit) = pod.exit().cloned() {
                        state.end_reported = true;
                        // A late update of a run that has left nothing behind.
                        if context.runs.is_removed(run) {
                            self.states.remove(&run);
                            return;
                        }
                        context.runs.remember(run, Some(exit.clone()));
                        context.out.push_back(Observation::Gone { run, exit });
                    }
                }
                // The streams are not in step: the pod may be on its way.
                (None, Some(ObjectState::Over(_) | ObjectState::Deleted(_))) => self.unverified.push(run),
                (None, _) => {}
            }
        }
        let absent = |object: &Option<ObjectState>| matches!(object, None | Some(ObjectState::Deleted(_)));
        if state.end_reported && absent(&state.job) && absent(&state.pod) {
            self.states.remove(&run);
            context.runs.mark_removed(run);
        }
    }
}

fn job_state(job: &Job) -> ObjectState {
    status::job(job).map_or(ObjectState::Open, ObjectState::Over)
}

fn gone(text: &str) -> Exit {
    Exit { code: None, reason: None, message: text.into() }
}

fn progress(run: RunName, Remark { reason, message }: Remark) -> Observation {
    Observation::Progress { run, reason, message }
}

/// The architecture that a pod of ours asks for.
fn arch_of(pod: &Pod) -> &str {
    let selector = pod.spec.as_ref().and_then(|spec| spec.node_selector.as_ref());
    selector.and_then(|selector| selector.get(ARCH_LABEL)).map_or("", String::as_str)
}

#[cfg(test)]
mod tests;
