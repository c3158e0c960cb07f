//! COPY and ADD.

use super::{Inspection, StageState, StageUser};
use crate::dockerfile::{
    EvaluatedInstruction, Expansion, Instruction, SourceStage, Transfer, TransferSource, Word,
};
use crate::preflight::table::files::{
    ADD_AFTER_USER, CHECKSUM, COPY_AFTER_USER, EXCLUDE, HEREDOC_VARIABLE, KEEP_GIT, PARENTS, UNPACK,
};
use crate::preflight::table::general::NEARLY_A_STAGE;
use crate::report::nearest;

/// What the name of an archive ends with that ADD unpacks. Its files keep their owners.
const ARCHIVES: [&str; 8] = [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst"];

impl Inspection<'_> {
    pub(super) fn copy(
        &mut self,
        transfer: &Transfer,
        instruction: &Instruction,
        evaluated: &EvaluatedInstruction,
        state: &StageState,
    ) {
        self.of_both(transfer, instruction, evaluated);
        let is_of_context = instruction.flag("from").is_none();
        if let StageUser::Other(user) = &state.user
            && instruction.flag("chown").is_none()
            && is_of_context
            && !self.options.copies_as_root
        {
            self.found(&COPY_AFTER_USER, instruction.keyword.span, user);
        }
        for used in &evaluated.uses {
            if let SourceStage::Image(image) = &used.source {
                let names: Vec<&str> =
                    self.file.stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
                let is_bare = !image.contains(['/', ':', '@', '.']);
                if let Some(name) = nearest(image, &names).filter(|_| is_bare) {
                    let hint =
                        format!("did you mean `{name}`? an image that is meant is written with its tag");
                    self.found_with_hint(&NEARLY_A_STAGE, used.span, image, hint);
                }
            }
        }
    }

    pub(super) fn add(
        &mut self,
        transfer: &Transfer,
        instruction: &Instruction,
        evaluated: &EvaluatedInstruction,
        state: &StageState,
    ) {
        self.of_both(transfer, instruction, evaluated);
        if let Some(flag) = instruction.flag("checksum") {
            self.found(&CHECKSUM, flag.span, "");
        }
        if let Some(flag) = instruction.flag("keep-git-dir").filter(|_| instruction.is_on("keep-git-dir")) {
            self.found(&KEEP_GIT, flag.span, "");
        }
        if let Some(flag) = instruction.flag("unpack") {
            self.found(&UNPACK, flag.span, "");
        }
        if let StageUser::Other(user) = &state.user
            && instruction.flag("chown").is_none()
            && transfer.sources.iter().any(|source| self.is_given_to_user(source, evaluated))
        {
            self.found(&ADD_AFTER_USER, instruction.keyword.span, user);
        }
    }

    fn of_both(&mut self, transfer: &Transfer, instruction: &Instruction, evaluated: &EvaluatedInstruction) {
        if let Some(flag) = instruction.flag("exclude") {
            self.found(&EXCLUDE, flag.span, "");
        }
        if let Some(flag) = instruction.flag("parents").filter(|_| instruction.is_on("parents")) {
            self.found(&PARENTS, flag.span, "");
        }
        for source in &transfer.sources {
            if let TransferSource::Inline { word, name, expand: true, heredoc: Some(at) } = source
                && let Some(heredoc) = instruction.heredocs.get(*at)
            {
                let is_as_written = match evaluated.expansion(heredoc.body) {
                    Some(Expansion::Known(text)) => *text == heredoc.content(&self.file.text),
                    Some(Expansion::Unknown(_)) => false,
                    None => true,
                };
                if !is_as_written {
                    self.found(&HEREDOC_VARIABLE, word.span, name);
                }
            }
        }
    }

    /// Whether ADD gives a source to the USER; what is not known is not guessed.
    fn is_given_to_user(&self, source: &TransferSource, evaluated: &EvaluatedInstruction) -> bool {
        let known = |word: &Word| evaluated.expansion(word.span).and_then(|it| it.known()).map(str::to_owned);
        match source {
            TransferSource::Inline { .. } => !self.options.copies_as_root,
            TransferSource::Path(word) => known(word).is_some_and(|path| {
                let is_url = path.starts_with("http://") || path.starts_with("https://");
                let is_archive = ARCHIVES.iter().any(|ending| path.ends_with(ending));
                is_url || !is_archive && !self.options.copies_as_root
            }),
        }
    }
}
