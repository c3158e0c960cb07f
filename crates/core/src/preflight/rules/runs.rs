//! RUN.

use super::{Inspection, StageState};
use crate::dockerfile::{EvaluatedInstruction, Heredoc, Instruction, MountKind, Run, RunMount};
use crate::preflight::table::run::{
    BIND, BIND_OF_STAGE, CACHED_HEREDOC, DEVICE, EXPANDED_HEREDOC, MISSING_SECRET, NETWORK, PIPED_HEREDOC,
    RELATIVE_BIND, REQUIRED_SECRET, SECURITY, SKIPPED_HEREDOC, SSH, TMPFS,
};

impl Inspection<'_> {
    pub(super) fn run(
        &mut self,
        run: &Run,
        instruction: &Instruction,
        evaluated: &EvaluatedInstruction,
        state: &StageState,
    ) {
        if let Some(heredoc) = instruction.heredocs.first() {
            if run.only_heredoc {
                self.script(heredoc, instruction, state);
            }
            if self.options.caches_runs {
                self.found(&CACHED_HEREDOC, heredoc.word, &heredoc.name);
            }
        }
        for flag in &instruction.flags {
            let value = flag.value.as_ref().map_or("", |value| value.text.as_str());
            match (flag.name.as_str(), value) {
                ("network", "none" | "host") => self.found(&NETWORK, flag.span, value),
                ("security", "insecure") => self.found(&SECURITY, flag.span, value),
                ("device", _) => self.found(&DEVICE, flag.span, value),
                _ => {}
            }
        }
        for mount in &evaluated.mounts {
            if is_kind_known(run, mount) {
                self.mount(mount);
            }
        }
    }

    /// A command that is one heredoc and nothing else. The executor gives it to `sh` if it is `<<NAME` letter for letter.
    fn script(&mut self, heredoc: &Heredoc, instruction: &Instruction, state: &StageState) {
        let body = heredoc.content(&self.file.text);
        let construct = if instruction.arguments.text.trim() != format!("<<{}", heredoc.name) {
            &SKIPPED_HEREDOC
        } else if state.has_shell || body.starts_with("#!") || body.contains(['$', '`', '\\']) {
            &EXPANDED_HEREDOC
        } else {
            &PIPED_HEREDOC
        };
        self.found(construct, heredoc.word, &heredoc.name);
    }

    fn mount(&mut self, mount: &RunMount) {
        match mount.kind {
            MountKind::Tmpfs => self.found(&TMPFS, mount.span, ""),
            MountKind::Ssh => self.found(&SSH, mount.span, ""),
            MountKind::Bind if !mount.from.is_empty() => {
                self.found(&BIND_OF_STAGE, mount.span, &mount.from);
            }
            MountKind::Bind if !mount.target.is_empty() && !mount.target.starts_with('/') => {
                self.found(&RELATIVE_BIND, mount.span, &mount.target);
            }
            MountKind::Bind if !self.options.mounts_binds => self.found(&BIND, mount.span, ""),
            MountKind::Secret => self.secret(mount),
            MountKind::Bind | MountKind::Cache => {}
        }
    }

    fn secret(&mut self, mount: &RunMount) {
        let named = [&mount.id, &mount.source].into_iter().find(|name| !name.is_empty());
        let of_target = || mount.target.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let id = named.map_or_else(of_target, String::as_str);
        if mount.unknown.is_empty() && !self.options.secrets.contains(id) {
            let construct = if mount.required { &REQUIRED_SECRET } else { &MISSING_SECRET };
            self.found(construct, mount.span, id);
        }
    }
}

/// Whether the type of a mount does not depend on a variable that nobody knows.
fn is_kind_known(run: &Run, mount: &RunMount) -> bool {
    let flag = run.mounts.iter().find(|flag| flag.span == mount.span);
    let kinds = flag.into_iter().flat_map(|flag| &flag.options).filter(|option| option.key == "type");
    let mut values = kinds.filter_map(|option| option.value.as_ref());
    mount.unknown.is_empty() || values.all(|value| !value.text.contains('$'))
}
