//! What is known of every run from the three watches, and what follows from it. Pure: the loop around it is `watch`.
//!
//! Jobs, pods and events arrive on streams of their own, in an order of their own. A run is over when its pod is; its
//! Job's word counts only where there is no pod.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{Hash as _, Hasher as _};

use bakery_core::names::RunName;
use bakery_core::reason::Reason;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event as Happening, Pod};
use kube::runtime::watcher::Event;

use super::super::runs::Runs;
use super::super::{Exit, Observation};
use super::job::{ARCH_LABEL, House};
use super::seen::{self, Standing, Word};

/// Different things that are said of one run; what a cluster has to say beyond that is its own.
const SAID: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Board {
    lives: HashMap<RunName, Life>,
    jobs: Listing,
    pods: Listing,
    /// Whether events were listed.
    events: bool,
    /// Observations that must wait until everything is listed.
    held: Vec<Observation>,
    /// What listed events say; it counts where the pod has not come further since.
    listed: Vec<(RunName, Word)>,
    /// Runs that seem to be over and whose pod was never seen.
    doubts: Vec<RunName>,
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
struct Life {
    job: Option<Seen>,
    pod: Option<Seen>,
    /// The pod is on a node: what kept it from there is over.
    placed: bool,
    /// What was said; troubles are said again where it has gone on in between.
    said: HashMap<u64, bool>,
    /// Its end has been told.
    told: bool,
}

/// An object as it was seen last.
#[derive(Debug)]
enum Seen {
    Open,
    Over(Exit),
    Deleted(Exit),
}

impl Seen {
    fn exit(&self) -> Option<&Exit> {
        match self {
            Self::Open => None,
            Self::Over(exit) | Self::Deleted(exit) => Some(exit),
        }
    }
}

/// What the board needs of the room around it.
pub(super) struct Around<'a> {
    pub(super) house: &'a House,
    pub(super) runs: &'a Runs,
    /// What is observed goes here.
    pub(super) out: &'a mut VecDeque<Observation>,
}

impl Board {
    /// Begins again: everything will be listed anew. What was said is not said again.
    pub(super) fn begin(&mut self) {
        (self.jobs, self.pods, self.events) = (Listing::Awaited, Listing::Awaited, false);
        self.listed.clear();
        self.doubts.clear();
    }

    /// Whether everything is listed.
    pub(super) fn is_synced(&self) -> bool {
        self.jobs == Listing::Done && self.pods == Listing::Done && self.events
    }

    /// Runs of which it has to be asked whether there is a pod; [`Board::answer`] takes the answer.
    pub(super) fn doubts(&mut self) -> Vec<RunName> {
        std::mem::take(&mut self.doubts)
    }

    pub(super) fn job(&mut self, event: Event<Job>, around: &mut Around<'_>) {
        let run_of = |job: &Job| around.house.run_of(job.metadata.labels.as_ref());
        match event {
            Event::Init => self.jobs = Listing::Begun(HashSet::new()),
            Event::InitApply(job) => {
                if let (Some(run), Listing::Begun(listed)) = (run_of(&job), &mut self.jobs) {
                    listed.insert(run);
                    self.lives.entry(run).or_default().job = Some(seen_job(&job));
                }
            }
            Event::InitDone => {
                for run in self.missing(|board| &board.jobs, |life| life.job.as_ref()) {
                    self.lives.entry(run).or_default().job = Some(Seen::Deleted(gone("the Job was deleted")));
                }
                self.jobs = Listing::Done;
                self.sync(around);
            }
            Event::Apply(job) => {
                if let Some(run) = run_of(&job) {
                    self.lives.entry(run).or_default().job = Some(seen_job(&job));
                    self.settle(run, around);
                }
            }
            Event::Delete(job) => {
                if let Some(run) = run_of(&job) {
                    let exit = seen::job(&job).unwrap_or_else(|| gone("the Job was deleted"));
                    self.lives.entry(run).or_default().job = Some(Seen::Deleted(exit));
                    self.settle(run, around);
                }
            }
        }
    }

    pub(super) fn pod(&mut self, event: Event<Pod>, around: &mut Around<'_>) {
        let run_of = |pod: &Pod| around.house.run_of(pod.metadata.labels.as_ref());
        match event {
            Event::Init => self.pods = Listing::Begun(HashSet::new()),
            Event::InitApply(pod) => {
                if let (Some(run), Listing::Begun(listed)) = (run_of(&pod), &mut self.pods) {
                    listed.insert(run);
                    self.see(run, &pod, true, around);
                }
            }
            Event::InitDone => {
                for run in self.missing(|board| &board.pods, |life| life.pod.as_ref()) {
                    self.lives.entry(run).or_default().pod = Some(Seen::Deleted(gone("the pod was deleted")));
                }
                self.pods = Listing::Done;
                self.sync(around);
            }
            Event::Apply(pod) => {
                if let Some(run) = run_of(&pod) {
                    self.see(run, &pod, false, around);
                    self.settle(run, around);
                }
            }
            Event::Delete(pod) => {
                if let Some(run) = run_of(&pod) {
                    self.lives.entry(run).or_default().pod = Some(Seen::Deleted(seen::ended(&pod)));
                    self.settle(run, around);
                }
            }
        }
    }

    pub(super) fn event(&mut self, event: &Event<Happening>, around: &mut Around<'_>) {
        let (happening, listed) = match event {
            Event::InitApply(happening) => (happening, true),
            Event::Apply(happening) => (happening, false),
            Event::InitDone => {
                self.events = true;
                self.sync(around);
                return;
            }
            Event::Init | Event::Delete(_) => return,
        };
        let Some((run, word)) = seen::event(happening) else { return };
        // Of a run that is not ours, or not known yet, nothing is kept.
        if listed {
            self.listed.push((run, word));
        } else if self.lives.contains_key(&run) {
            self.say(run, word, false, around);
        } else {
            self.tell(progress(run, word), around);
        }
    }

    /// The answer to a doubt: the run's pod, where there is one.
    pub(super) fn answer(&mut self, run: RunName, pod: Option<&Pod>, around: &mut Around<'_>) {
        if let Some(pod) = pod {
            self.see(run, pod, false, around);
        } else if let Some(life) = self.lives.get_mut(&run)
            && let Some(exit) = life.job.as_ref().and_then(Seen::exit).filter(|_| life.pod.is_none())
        {
            life.pod = Some(Seen::Deleted(exit.clone()));
        }
        self.settle(run, around);
    }

    /// Runs of which an object was known and is not listed any more.
    fn missing(
        &self,
        listing: impl Fn(&Self) -> &Listing,
        seen: impl Fn(&Life) -> Option<&Seen>,
    ) -> Vec<RunName> {
        let Listing::Begun(listed) = listing(self) else { return Vec::new() };
        let known =
            self.lives.iter().filter(|(_, life)| matches!(seen(life), Some(Seen::Open | Seen::Over(_))));
        known.map(|(run, _)| *run).filter(|run| !listed.contains(run)).collect()
    }

    /// Takes note of a pod, and says what is new about it. What is only listed was said by whoever watched before.
    fn see(&mut self, run: RunName, pod: &Pod, listed: bool, around: &mut Around<'_>) {
        let nodes = around.house.nodes(arch_of(pod));
        let (seen, words) = match seen::pod(pod, &nodes, around.runs.past(run).is_some()) {
            Standing::Over(exit) => (Seen::Over(exit), Vec::new()),
            Standing::Open(words) => (Seen::Open, words),
        };
        let life = self.lives.entry(run).or_default();
        life.pod = Some(seen);
        life.placed |= pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        for word in words {
            self.say(run, word, listed, around);
        }
    }

    fn say(&mut self, run: RunName, word: Word, listed: bool, around: &mut Around<'_>) {
        let said = &mut self.lives.entry(run).or_default().said;
        let mut hasher = DefaultHasher::new();
        word.message.text.hash(&mut hasher);
        let (key, trouble) = (hasher.finish(), word.reason.is_some());
        let new = said.len() < SAID && !said.contains_key(&key);
        if new {
            if !trouble {
                said.retain(|_, trouble| !*trouble);
            }
            said.insert(key, trouble);
        }
        if new && (trouble || !listed) {
            self.tell(progress(run, word), around);
        }
    }

    /// Nothing is told before the resync.
    fn tell(&mut self, observation: Observation, around: &mut Around<'_>) {
        if self.is_synced() {
            around.out.push_back(observation);
        } else {
            self.held.push(observation);
        }
    }

    /// Everything is listed: says so, and whatever follows.
    fn sync(&mut self, around: &mut Around<'_>) {
        if !self.is_synced() {
            return;
        }
        // A pod lives on without its Job, for a while or until somebody ends it.
        let here = |life: &Life| {
            matches!(life.job, Some(Seen::Open | Seen::Over(_))) || matches!(life.pod, Some(Seen::Open))
        };
        let mut live: HashSet<RunName> =
            self.lives.iter().filter(|(_, life)| here(life)).map(|(run, _)| *run).collect();
        for life in self.lives.values_mut().filter(|life| here(life)) {
            // One whose end was told and which is still here could not be removed: it is told again.
            life.told = false;
        }
        // A launch under way may not have been listed yet.
        live.extend(around.runs.launching());
        around.out.push_back(Observation::Synced { live: live.into_iter().collect() });
        around.out.extend(self.held.drain(..));
        for (run, word) in std::mem::take(&mut self.listed) {
            let open = self.lives.get(&run).is_some_and(|life| !life.told);
            // What is lost with a node concerns a pod that runs there, all else one that has no place yet.
            let counts = self
                .lives
                .get(&run)
                .is_some_and(|life| life.placed == (word.reason == Some(Reason::NodeLost)));
            if open && counts {
                self.say(run, word, true, around);
            }
        }
        for run in self.lives.keys().copied().collect::<Vec<_>>() {
            self.settle(run, around);
        }
    }

    /// Tells the end of a run that is over, once, and forgets a run that has left nothing behind.
    fn settle(&mut self, run: RunName, around: &mut Around<'_>) {
        if !self.is_synced() {
            return;
        }
        let Some(life) = self.lives.get_mut(&run) else { return };
        if !life.told {
            match (&life.pod, &life.job) {
                (Some(pod), _) => {
                    if let Some(exit) = pod.exit().cloned() {
                        life.told = true;
                        // A word that comes late, of a run that nothing is left of.
                        if around.runs.is_removed(run) {
                            self.lives.remove(&run);
                            return;
                        }
                        around.runs.remember(run, Some(exit.clone()));
                        around.out.push_back(Observation::Gone { run, exit });
                    }
                }
                // The streams are not in step: the pod may be on its way.
                (None, Some(Seen::Over(_) | Seen::Deleted(_))) => self.doubts.push(run),
                (None, _) => {}
            }
        }
        let over = |seen: &Option<Seen>| matches!(seen, None | Some(Seen::Deleted(_)));
        if life.told && over(&life.job) && over(&life.pod) {
            self.lives.remove(&run);
            around.runs.removed(run);
        }
    }
}

fn seen_job(job: &Job) -> Seen {
    seen::job(job).map_or(Seen::Open, Seen::Over)
}

fn gone(text: &str) -> Exit {
    Exit { code: None, reason: None, message: text.into() }
}

fn progress(run: RunName, Word { reason, message }: Word) -> Observation {
    Observation::Progress { run, reason, message }
}

/// The architecture that a pod of ours asks for.
fn arch_of(pod: &Pod) -> &str {
    let selector = pod.spec.as_ref().and_then(|spec| spec.node_selector.as_ref());
    selector.and_then(|selector| selector.get(ARCH_LABEL)).map_or("", String::as_str)
}

#[cfg(test)]
mod tests;
