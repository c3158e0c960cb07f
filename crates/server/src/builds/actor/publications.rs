//! The publishings of one build that are under way.

use std::collections::HashMap;
use std::sync::Arc;

use bakery_core::lifecycle::Cause;
use bakery_core::reason::Reason;
use bakery_core::spec::TaskSpec;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::side_work::SideWork;
use crate::builds::events::BuildEvent;
use crate::builds::publish::PublishJob;
use crate::builds::settings::Publisher;
use crate::builds::state::BuildState;

/// What an actor does with registries.
pub(super) struct Publications {
    pub(super) publisher: Arc<dyn Publisher>,
    pub(super) side_work: SideWork,
    /// By target; dropping one withdraws it.
    pub(super) under_way: HashMap<usize, DropGuard>,
}

impl Publications {
    /// Publishes the target.
    pub(super) fn publish(&mut self, target: usize, state: &BuildState, specs: &[TaskSpec]) {
        let cancel = CancellationToken::new();
        self.under_way.insert(target, cancel.clone().drop_guard());
        let job = PublishJob::of(state, target, specs);
        let publisher = Arc::clone(&self.publisher);
        let failed = |text| {
            let result = Err(Cause::new(Reason::Internal, text));
            BuildEvent::Published { target, result, messages: Vec::new() }
        };
        let on_panic = failed("the server failed while it published the images");
        // The ledger would have to contradict itself.
        let impossible = failed("the images of the target are not all known");
        self.side_work.start("publish", on_panic, async move {
            match job {
                Some(job) => {
                    let (result, messages) = job.run(&*publisher, &cancel).await;
                    BuildEvent::Published { target, result, messages }
                }
                None => impossible,
            }
        });
    }

    /// Publishes it no more, unless the index is pushed already.
    pub(super) fn withdraw(&mut self, target: usize) {
        drop(self.under_way.remove(&target));
    }
}
