//! What the words of an instruction become, and which variables it sets.

use std::collections::BTreeMap;

use crate::dockerfile::expansion::{Environment, Expander, Expansion, ReadAs};
use crate::dockerfile::graph::StageUse;
use crate::dockerfile::lexer::Lookup;
use crate::dockerfile::problems::Problems;
use crate::dockerfile::run_mount::{RunMount, run_mount};
use crate::dockerfile::text::Span;
use crate::dockerfile::tree::{Argument, Instruction, Kind, Pair, Run, Transfer, TransferSource, Word};

/// Arguments that are no variables.
const NO_VARIABLES: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// What the words of an instruction become.
#[derive(Debug, Clone, Default)]
pub struct EvaluatedInstruction {
    /// In the order of their places.
    expansions: Vec<(usize, Expansion)>,
    /// The mounts of RUN, as far as they can be read.
    pub mounts: Vec<RunMount>,
    /// The stages and images whose files it uses.
    pub uses: Vec<StageUse>,
}

impl EvaluatedInstruction {
    /// What the part of the instruction that begins where `span` does becomes; `None` if Docker replaces no variables there,
    /// or if it cannot be read. A port of EXPOSE may become several, with blanks between them; at the name of an ARG is its
    /// value, wherever it comes from. The options of mounts are in `mounts`.
    pub fn expansion(&self, span: Span) -> Option<&Expansion> {
        let at = self.expansions.partition_point(|(start, _)| *start < span.start);
        self.expansions.get(at).filter(|(start, _)| *start == span.start).map(|(_, expansion)| expansion)
    }

    /// All of them, each with the byte at which its part of the instruction begins.
    pub fn expansions(&self) -> impl Iterator<Item = (usize, &Expansion)> {
        self.expansions.iter().map(|(start, expansion)| (*start, expansion))
    }
}

/// Reads instructions of one file one after the other, with the variables that the earlier ones have set.
pub(super) struct ValueReader<'r, 't> {
    /// The build arguments.
    pub(super) args: &'r BTreeMap<String, String>,
    /// The arguments before the first stage.
    pub(super) global: &'r Environment,
    pub(super) environment: &'r mut Environment,
    pub(super) expander: &'r mut Expander,
    pub(super) problems: &'r mut Problems<'t>,
}

/// An instruction while its words are read.
struct Words<'i> {
    evaluated: EvaluatedInstruction,
    instruction: &'i Instruction,
    name: String,
}

impl ValueReader<'_, '_> {
    /// Replaces the variables of an instruction whose `uses` are known, and sets those that it sets.
    pub(super) fn read(&mut self, instruction: &Instruction, uses: Vec<StageUse>) -> EvaluatedInstruction {
        let evaluated = EvaluatedInstruction { uses, ..EvaluatedInstruction::default() };
        let mut words = Words { evaluated, instruction, name: instruction.name() };
        match &instruction.kind {
            Kind::Env(pairs) => self.env(pairs, &mut words),
            Kind::Label(pairs) => {
                for Pair { name, value, .. } in pairs {
                    self.word(name, &mut words);
                    self.word(value, &mut words);
                }
            }
            Kind::Arg(arguments) => self.arguments(arguments, &mut words),
            Kind::Copy(transfer) | Kind::Add(transfer) => self.transfer(transfer, &mut words),
            Kind::Run(run) => self.mounts(run, &mut words),
            Kind::Expose(ports) => {
                for port in ports {
                    self.text((&port.text, port.span), ReadAs::Words, &mut words);
                }
            }
            Kind::Volume(paths) => {
                for path in paths {
                    self.word(path, &mut words);
                }
            }
            Kind::StopSignal(word) | Kind::User(word) | Kind::Workdir(word) => {
                self.word(word, &mut words);
            }
            _ => {}
        }
        words.evaluated.expansions.sort_by_key(|(start, _)| *start);
        words.evaluated
    }

    fn word(&mut self, word: &Word, words: &mut Words<'_>) -> Option<Expansion> {
        self.text((&word.text, word.span), ReadAs::Word, words)
    }

    fn text(&mut self, text: (&str, Span), reading: ReadAs, words: &mut Words<'_>) -> Option<Expansion> {
        let (start, path) = (text.1.start, words.name.as_str());
        if !self.expander.charge(start, path, self.problems) {
            return None;
        }
        let found = self.expander.expand(text, reading, self.environment, path, self.problems)?;
        words.evaluated.expansions.push((start, found.clone()));
        Some(found)
    }

    fn env(&mut self, pairs: &[Pair], words: &mut Words<'_>) {
        // All values are those of before the instruction.
        let mut set = Vec::new();
        for Pair { name, value, .. } in pairs {
            let (name, value) = (self.word(name, words), self.word(value, words));
            set.push((name, value));
        }
        for (name, value) in set {
            match (name, value) {
                (Some(Expansion::Known(name)), Some(value)) => self.environment.set(&name, &value),
                (Some(Expansion::Known(name)), None) => {
                    self.environment.set(&name, &Expansion::Unknown([name.clone()].into()));
                }
                // It may be any variable.
                _ => self.environment.forget(),
            }
        }
    }

    fn arguments(&mut self, arguments: &[Argument], words: &mut Words<'_>) {
        for Argument { name, value } in arguments {
            let given = self.args.get(&name.text).cloned().map(Expansion::Known);
            let value = match (given, value) {
                (Some(given), _) => Some(given),
                (None, Some(value)) => {
                    let unknown = || Expansion::Unknown([name.text.clone()].into());
                    Some(self.word(value, words).unwrap_or_else(unknown))
                }
                (None, None) => match self.global.lookup(&name.text) {
                    Lookup::Set(value) => Some(Expansion::Known(value.to_owned())),
                    _ => None,
                },
            };
            let Some(value) = value else { continue };
            if !NO_VARIABLES.contains(&name.text.as_str()) {
                self.environment.set_argument(&name.text, &value);
            }
            words.evaluated.expansions.push((name.span.start, value));
        }
    }

    fn transfer(&mut self, transfer: &Transfer, words: &mut Words<'_>) {
        let instruction = words.instruction;
        for flag in ["chown", "chmod", "checksum"] {
            if let Some(word) = instruction.flag_values(flag).next() {
                self.word(word, words);
            }
        }
        for source in &transfer.sources {
            if let TransferSource::Path(word) = source {
                self.word(word, words);
            }
        }
        self.word(&transfer.destination, words);
        for source in &transfer.sources {
            if let TransferSource::Inline { expand: true, heredoc: Some(at), .. } = source
                && let Some(heredoc) = instruction.heredocs.get(*at)
            {
                let content = heredoc.content(self.problems.text);
                self.text((&content, heredoc.body), ReadAs::Body, words);
            }
        }
    }

    fn mounts(&mut self, run: &Run, words: &mut Words<'_>) {
        let path = words.name.as_str();
        for flag in &run.mounts {
            let mount = run_mount(flag, |option| {
                let word = option.value.as_ref()?;
                let (text, reading) = ((word.text.as_str(), word.span), ReadAs::Word);
                self.expander.expand(text, reading, self.environment, path, self.problems)
            });
            match mount {
                Ok(mount) => words.evaluated.mounts.extend(mount),
                Err((at, message)) => self.problems.mistake(at, path, message),
            }
        }
    }
}
