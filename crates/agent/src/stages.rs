//! How far the run has come, and how long each part took.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bakery_core::wire::run::Stage;
use tokio::sync::watch;
use tokio::time::Instant;

/// The stages of one run.
#[derive(Debug)]
pub struct Stages {
    tell: watch::Sender<Stage>,
    times: Mutex<(Instant, BTreeMap<Stage, u64>)>,
}

impl Stages {
    /// The first stage has begun at `began`; `tell` hears of every other.
    pub fn new(began: Instant, tell: watch::Sender<Stage>) -> Self {
        Self { tell, times: Mutex::new((began, BTreeMap::new())) }
    }

    /// The next stage begins. What was entered already is not entered again.
    pub fn enter(&self, stage: Stage) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *self.tell.borrow();
        if stage > before {
            let now = Instant::now();
            let spent = u64::try_from((now - times.0).as_millis()).unwrap_or(u64::MAX);
            *times.1.entry(before).or_default() += spent;
            times.0 = now;
            self.tell.send_replace(stage);
        }
    }

    /// The stage now.
    pub fn current(&self) -> Stage {
        *self.tell.borrow()
    }

    /// Milliseconds of every stage that is over.
    pub fn millis(&self) -> BTreeMap<Stage, u64> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}
