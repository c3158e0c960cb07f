//! Flags of the executor.

use super::Inspection;
use crate::dockerfile::{Instruction, Kind};
use crate::preflight::table::flags::{COPY_LAYERS, IMMUTABLE_TAG, NEW_RUN, SINGLE_SNAPSHOT};

impl Inspection<'_> {
    pub(super) fn of_options(&mut self) {
        let options = self.options;
        for (is_on, construct, option) in [
            (options.new_run, &NEW_RUN, "kaniko.use-new-run"),
            (options.ignores_immutable_tags, &IMMUTABLE_TAG, "kaniko.extra-flags"),
            (options.caches_copies, &COPY_LAYERS, "kaniko.cache.copy-layers"),
        ] {
            if is_on {
                self.found_in(construct, option);
            }
        }
    }

    /// The last instruction of a stage.
    pub(super) fn last(&mut self, own: &[Instruction]) {
        if let Some(last) = own.last().filter(|it| matches!(it.kind, Kind::Maintainer(_)))
            && self.options.single_snapshot
        {
            self.found(&SINGLE_SNAPSHOT, last.keyword.span, "");
        }
    }
}
