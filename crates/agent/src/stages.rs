//! The current stage of the run, and the time spent in each stage.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bakery_core::wire::run::Stage;
use tokio::sync::watch;
use tokio::time::Instant;

/// The stages of one run.
#[derive(Debug)]
pub struct Stages {
    current: watch::Sender<Stage>,
    times: Mutex<(Instant, BTreeMap<Stage, u64>)>,
}

impl Stages {
    /// The first stage began at `began`; every later stage is sent to `current`.
    pub fn new(began: Instant, current: watch::Sender<Stage>) -> Self {
        Self { current, times: Mutex::new((began, BTreeMap::new())) }
    }

    /// Enters a stage. Does nothing if that stage or a later one was entered already.
    pub fn enter(&self, stage: Stage) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *self.current.borrow();
        if stage > before {
            let now = Instant::now();
            let spent = u64::try_from((now - times.0).as_millis()).unwrap_or(u64::MAX);
            *times.1.entry(before).or_default() += spent;
            times.0 = now;
            self.current.send_replace(stage);
        }
    }

    /// The current stage.
    pub fn current(&self) -> Stage {
        *self.current.borrow()
    }

    /// Milliseconds spent in each stage that has ended.
    pub fn millis(&self) -> BTreeMap<Stage, u64> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}
