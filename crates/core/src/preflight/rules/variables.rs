//! Secrets in ARG and ENV.

use super::Inspection;
use crate::dockerfile::{Argument, EvaluatedInstruction, Kind, Pair};
use crate::preflight::hidden::is_secret;
use crate::preflight::table::general::SECRET_VALUE;

impl Inspection<'_> {
    pub(super) fn env(&mut self, pairs: &[Pair], evaluated: &EvaluatedInstruction) {
        for Pair { name, value, .. } in pairs.iter().filter(|pair| is_secret(&pair.name.text)) {
            let value = evaluated.expansion(value.span).and_then(|it| it.known());
            if value.is_some_and(|value| !value.is_empty()) {
                self.found(&SECRET_VALUE, name.span, &name.text);
            }
        }
    }

    pub(super) fn global_arguments(&mut self) {
        for instruction in self.file.global() {
            if let Kind::Arg(arguments) = &instruction.kind {
                self.arguments(arguments, None);
            }
        }
    }

    /// Those of a stage, or those above the first stage, whose values are not known.
    pub(super) fn arguments(&mut self, arguments: &[Argument], evaluated: Option<&EvaluatedInstruction>) {
        for Argument { name, value } in arguments.iter().filter(|argument| is_secret(&argument.name.text)) {
            let Some(value) = value else { continue };
            let written = match evaluated {
                Some(evaluated) => evaluated.expansion(value.span).and_then(|it| it.known()),
                None => Some(value.text.trim_matches(['"', '\''])),
            };
            if written.is_some_and(|written| !written.is_empty()) {
                self.found(&SECRET_VALUE, name.span, &name.text);
            }
        }
    }
}
