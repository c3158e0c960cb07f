//! FROM.

use super::Inspection;
use crate::dockerfile::{EvaluatedStage, Instruction, Kind, StageBase};
use crate::preflight::table::general::{CUT_ARGUMENT, PLATFORM};

impl Inspection<'_> {
    pub(super) fn from(&mut self, from: &Instruction, evaluated: &EvaluatedStage) {
        if !matches!(evaluated.base, StageBase::Image(_) | StageBase::Scratch) {
            return;
        }
        if let (Some(platform), Some(flag)) = (&evaluated.platform, from.flag("platform"))
            && !is_same(platform, &self.options.target_platform, &self.options.build_platform)
        {
            self.found(&PLATFORM, flag.span, platform);
        }
        let Kind::From { base, .. } = &from.kind else { return };
        // The executor takes the value of the command line apart at each equals sign.
        let cut = self.options.build_args.iter().filter(|(_, value)| value.contains('='));
        let cut: Vec<&String> = cut.map(|(name, _)| name).filter(|name| is_used(name, &base.text)).collect();
        for name in cut {
            if self.is_global(name) {
                self.found(&CUT_ARGUMENT, base.span, name);
            }
        }
    }

    /// Whether there is an ARG above the first stage.
    fn is_global(&self, name: &str) -> bool {
        self.file.global().iter().any(|instruction| match &instruction.kind {
            Kind::Arg(arguments) => arguments.iter().any(|argument| argument.name.text == name),
            _ => false,
        })
    }
}

/// Whether a text has `$NAME` or `${NAME`.
fn is_used(name: &str, text: &str) -> bool {
    text.match_indices('$').any(|(at, _)| {
        let rest = &text[at + 1..];
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        rest.strip_prefix(name)
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
    })
}

/// Whether two platforms have the same images: a variant of the processor is not compared.
fn is_same(wanted: &str, task: &str, machine: &str) -> bool {
    let lower = wanted.to_ascii_lowercase();
    let (of_task, of_machine) = (parts(task), parts(machine));
    match lower.split_once('/') {
        Some(_) => parts(&lower) == of_task,
        // Alone it is one of both; the other is the machine's.
        None if lower == "linux" => of_machine == of_task,
        None => parts(&format!("linux/{lower}")) == of_task,
    }
}

/// System and architecture, which have several names.
fn parts(platform: &str) -> (&str, &str) {
    let mut parts = platform.split('/');
    let system = parts.next().unwrap_or_default();
    let architecture = match parts.next().unwrap_or_default() {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    (system, architecture)
}
