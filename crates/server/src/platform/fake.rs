//! A platform of plain data, for tests: it records its calls and behaves as scripted. The test kit compiles this file too.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bakery_core::message::Message;
use bakery_core::names::{Arch, RunName};
use bakery_core::reason::Reason;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::{mpsc, watch};

use super::{Availability, Exit, LaunchError, LaunchOrder, Launcher, Observation};

/// What a launch does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaunchScript {
    /// Starts the container and answers so; happens where nothing is scripted.
    Start,
    /// Starts nothing and answers with this error.
    Fail(LaunchError),
    /// Starts the container, but the answer is lost: the caller gets this error.
    LoseAnswer(LaunchError),
    /// Does not answer before [`FakePlatform::release`]; then it starts the container.
    Hang,
}

/// A launcher whose containers are entries of a map. Clones are handles to the same platform.
#[derive(Clone)]
pub struct FakePlatform {
    inner: Arc<FakeState>,
}

struct FakeState {
    archs: BTreeSet<Arch>,
    state: Mutex<State>,
    released: watch::Sender<u64>,
    launched: watch::Sender<usize>,
    stopped: watch::Sender<usize>,
    availability: watch::Sender<Availability>,
}

#[derive(Default)]
struct State {
    scripts: VecDeque<LaunchScript>,
    stop_failures: VecDeque<LaunchError>,
    /// How many of the next calls panic.
    stop_panics: usize,
    watch_panics: usize,
    launches: Vec<LaunchOrder>,
    stops: Vec<RunName>,
    /// Every container that was ever started; `Some` once it ended.
    containers: BTreeMap<RunName, Option<Exit>>,
    /// Starts of each run.
    starts: BTreeMap<RunName, usize>,
    /// Held by the platform: shown by `list` and `Synced`.
    held: BTreeSet<RunName>,
    watchers: Vec<mpsc::UnboundedSender<Observation>>,
}

impl State {
    fn report(&mut self, observation: &Observation) {
        self.watchers.retain(|watcher| watcher.send(observation.clone()).is_ok());
    }

    fn synced(&self) -> Observation {
        Observation::Synced { live: self.held.iter().copied().collect() }
    }

    fn end(&mut self, run: RunName, exit: &Exit) {
        if self.held.remove(&run) {
            self.containers.insert(run, Some(exit.clone()));
            self.report(&Observation::Gone { run, exit: exit.clone() });
        }
    }
}

impl FakePlatform {
    /// A platform that runs these architectures.
    pub fn new(archs: impl IntoIterator<Item = Arch>) -> Self {
        Self {
            inner: Arc::new(FakeState {
                archs: archs.into_iter().collect(),
                state: Mutex::default(),
                released: watch::Sender::new(0),
                launched: watch::Sender::new(0),
                stopped: watch::Sender::new(0),
                availability: watch::Sender::default(),
            }),
        }
    }

    /// What the next launch does that has no script yet; scripts are used up one by one.
    pub fn script(&self, script: LaunchScript) {
        self.state().scripts.push_back(script);
    }

    /// The next stop that has no script yet answers with this error and ends nothing.
    pub fn script_stop(&self, error: LaunchError) {
        self.state().stop_failures.push_back(error);
    }

    /// The next stop panics, before it is counted.
    pub fn panic_on_stop(&self) {
        self.state().stop_panics += 1;
    }

    /// The next watch panics.
    pub fn panic_on_watch(&self) {
        self.state().watch_panics += 1;
    }

    /// Lets every launch go on that hangs now.
    pub fn release(&self) {
        self.inner.released.send_modify(|count| *count += 1);
    }

    /// Every call of `launch`, repeated ones included, in order.
    pub fn launches(&self) -> Vec<LaunchOrder> {
        self.state().launches.clone()
    }

    /// Every call of `stop`, in order.
    pub fn stops(&self) -> Vec<RunName> {
        self.state().stops.clone()
    }

    /// How many containers were ever started.
    pub fn started(&self) -> usize {
        self.state().containers.len()
    }

    /// How often a container of this run was started.
    pub fn starts(&self, run: RunName) -> usize {
        self.state().starts.get(&run).copied().unwrap_or_default()
    }

    /// Makes the platform forget a run, so that the next launch starts a second container.
    pub fn forget(&self, run: RunName) {
        let mut state = self.state();
        state.containers.remove(&run);
        state.held.remove(&run);
    }

    /// The runs of the live containers.
    pub fn live(&self) -> Vec<RunName> {
        self.state().held.iter().copied().collect()
    }

    /// Waits until `launch` has been called `count` times, and returns the calls.
    pub async fn wait_launches(&self, count: usize) -> Vec<LaunchOrder> {
        // The sender lives as long as this platform, so the wait cannot fail.
        let _ = self.inner.launched.subscribe().wait_for(|calls| *calls >= count).await;
        self.launches()
    }

    /// Waits until `stop` has been called `count` times, and returns the calls.
    pub async fn wait_stops(&self, count: usize) -> Vec<RunName> {
        let _ = self.inner.stopped.subscribe().wait_for(|calls| *calls >= count).await;
        self.stops()
    }

    /// The container ends with this code, and the platform reports that.
    pub fn exit(&self, run: RunName, code: i32) {
        self.end(
            run,
            &Exit { code: Some(code), reason: None, message: format!("exited with {code}").into() },
        );
    }

    /// The container ends like this, and the platform reports that.
    pub fn end(&self, run: RunName, exit: &Exit) {
        self.state().end(run, exit);
    }

    /// The container vanishes without a report: only the next [`FakePlatform::reconnect`] shows it.
    pub fn lose(&self, run: RunName) {
        let mut state = self.state();
        state.held.remove(&run);
        state.containers.insert(run, Some(Exit { code: None, reason: None, message: "vanished".into() }));
    }

    /// Somebody else's leftover of this installation: a container that no launch of this test started.
    pub fn leave(&self, run: RunName) {
        let mut state = self.state();
        state.held.insert(run);
        state.containers.insert(run, None);
    }

    /// The platform reports progress of a run.
    pub fn progress(&self, run: RunName, reason: Option<Reason>, message: impl Into<Message>) {
        self.state().report(&Observation::Progress { run, reason, message: message.into() });
    }

    /// The watch reconnects: every watcher receives a resync.
    pub fn reconnect(&self) {
        let mut state = self.state();
        let synced = state.synced();
        state.report(&synced);
    }

    /// The platform answers from now on.
    pub fn available(&self) {
        self.inner.availability.send_replace(Availability::Available);
    }

    /// The platform does not answer from now on; the watch gives this message.
    pub fn unavailable(&self, message: impl Into<Message>) {
        self.inner.availability.send_replace(Availability::Unavailable(message.into()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, run: RunName) {
        let mut state = self.state();
        if let std::collections::btree_map::Entry::Vacant(new) = state.containers.entry(run) {
            new.insert(None);
            state.held.insert(run);
            *state.starts.entry(run).or_default() += 1;
        }
    }
}

#[async_trait]
impl Launcher for FakePlatform {
    fn can_run(&self, arch: Arch) -> Result<(), Reason> {
        if self.inner.archs.contains(&arch) { Ok(()) } else { Err(Reason::NoSuchArch) }
    }

    fn why_not(&self, arch: Arch) -> Option<Message> {
        let reason = self.can_run(arch).err()?;
        Some(Message::new(reason.text()).with_hint("set ALLOW_EMULATION=true on the server"))
    }

    /// As on an engine, a container has no disk of its own.
    fn fit(&self, _: u32, _: u32, disk_mib: Option<u32>) -> Result<Vec<String>, Message> {
        Ok(disk_mib.map(|_| "`disk` has no effect".to_owned()).into_iter().collect())
    }

    async fn launch(&self, order: &LaunchOrder) -> Result<(), LaunchError> {
        let mut released = self.inner.released.subscribe();
        let script = {
            let mut state = self.state();
            state.launches.push(order.clone());
            state.scripts.pop_front().unwrap_or(LaunchScript::Start)
        };
        self.inner.launched.send_modify(|count| *count += 1);
        match script {
            LaunchScript::Start => self.start(order.run),
            LaunchScript::Fail(error) => return Err(error),
            LaunchScript::LoseAnswer(error) => {
                self.start(order.run);
                return Err(error);
            }
            LaunchScript::Hang => {
                let _ = released.changed().await;
                self.start(order.run);
            }
        }
        Ok(())
    }

    async fn stop(&self, run: &RunName) -> Result<(), LaunchError> {
        panic_if_scripted(&mut self.state().stop_panics);
        let failure = {
            let mut state = self.state();
            state.stops.push(*run);
            let failure = state.stop_failures.pop_front();
            if failure.is_none() {
                state.end(*run, &Exit { code: Some(137), reason: None, message: "stopped".into() });
            }
            failure
        };
        self.inner.stopped.send_modify(|count| *count += 1);
        failure.map_or(Ok(()), Err)
    }

    fn availability(&self) -> watch::Receiver<Availability> {
        self.inner.availability.subscribe()
    }

    fn watch(&self) -> BoxStream<'static, Observation> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.state();
        panic_if_scripted(&mut state.watch_panics);
        // The receiver exists, so the send cannot fail.
        let _ = sender.send(state.synced());
        state.watchers.push(sender);
        stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver))).boxed()
    }

    async fn list(&self) -> Result<Vec<RunName>, LaunchError> {
        Ok(self.live())
    }
}

fn panic_if_scripted(left: &mut usize) {
    let panics = *left > 0;
    *left = left.saturating_sub(1);
    assert!(!panics, "the platform panics as scripted");
}
