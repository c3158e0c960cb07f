//! Finds the constructs of a Dockerfile that the executor treats in its own way.

mod copies;
mod options;
mod runs;
mod stages;
mod variables;

use std::collections::BTreeSet;

use super::excerpt::excerpt;
use super::finding::DockerfileFinding;
use super::hidden;
use super::options::ExecutorOptions;
use super::table::Construct;
use super::table::general::{MISTAKE, REMARK};
use crate::dockerfile::{
    Dockerfile, EvaluatedInstruction, Evaluation, Instruction, Kind, Position, Span, StageBase, Trigger, Word,
};
use crate::limits;
use crate::mask::{Form, Mask};
use crate::message::Message;
use crate::report::{Finding, shown};
use crate::terminal::escaped;

/// Who owns what a stage copies.
#[derive(Debug, Clone, PartialEq, Eq)]
enum StageUser {
    Root,
    /// As it is written.
    Other(String),
    /// The base image may have set one.
    Unknown,
}

/// What the instructions of a stage have set.
#[derive(Debug, Clone)]
struct StageState {
    user: StageUser,
    /// Whether there was a SHELL.
    has_shell: bool,
}

/// A Dockerfile that is searched.
pub(super) struct Inspection<'i> {
    file: &'i Dockerfile,
    evaluation: &'i Evaluation,
    options: &'i ExecutorOptions,
    mask: &'i Mask,
    allowed: BTreeSet<&'static str>,
    hidden: Vec<Span>,
    found: Vec<DockerfileFinding>,
}

impl<'i> Inspection<'i> {
    pub(super) fn new(
        file: &'i Dockerfile,
        evaluation: &'i Evaluation,
        options: &'i ExecutorOptions,
        mask: &'i Mask,
        allowed: BTreeSet<&'static str>,
    ) -> Self {
        Self { file, evaluation, options, mask, allowed, hidden: hidden::values(file), found: Vec::new() }
    }

    pub(super) fn into_findings(self) -> Vec<DockerfileFinding> {
        self.found
    }

    pub(super) fn all(&mut self) {
        let (file, evaluation) = (self.file, self.evaluation);
        self.of_options();
        for (construct, found) in [
            (&MISTAKE, &file.mistakes),
            (&MISTAKE, &evaluation.mistakes),
            (&REMARK, &file.notices),
            (&REMARK, &evaluation.notices),
        ] {
            for finding in found {
                self.of_reader(construct, finding);
            }
        }
        self.global_arguments();
        let mut states: Vec<StageState> = Vec::new();
        for (stage, evaluated) in file.stages.iter().zip(&evaluation.stages) {
            let mut state = match &evaluated.base {
                StageBase::Stage(base) => states.get(*base).cloned(),
                StageBase::Scratch => Some(StageState { user: StageUser::Root, has_shell: false }),
                StageBase::Image(_) | StageBase::Broken => None,
            }
            .unwrap_or(StageState { user: StageUser::Unknown, has_shell: false });
            if evaluated.is_needed {
                let own = file.instructions_of(stage);
                if let Some(from) = own.first() {
                    self.from(from, evaluated);
                }
                for trigger in &evaluated.triggers {
                    self.trigger(trigger, &mut state);
                }
                for (instruction, evaluated) in own.iter().skip(1).zip(&evaluated.instructions) {
                    self.instruction(instruction, evaluated, &mut state);
                }
                self.last(own);
            }
            states.push(state);
        }
    }

    fn trigger(&mut self, trigger: &Trigger, state: &mut StageState) {
        let Trigger::OfStage(number, evaluated) = trigger else { return };
        let instruction = self.file.instructions.get(*number).map(|it| &it.kind);
        if let Some(Kind::Onbuild(instruction)) = instruction {
            self.instruction(instruction, evaluated, state);
        }
    }

    fn instruction(
        &mut self,
        instruction: &Instruction,
        evaluated: &EvaluatedInstruction,
        state: &mut StageState,
    ) {
        match &instruction.kind {
            Kind::Run(run) => self.run(run, instruction, evaluated, state),
            Kind::Copy(transfer) => self.copy(transfer, instruction, evaluated, state),
            Kind::Add(transfer) => self.add(transfer, instruction, evaluated, state),
            Kind::Env(pairs) => self.env(pairs, evaluated),
            Kind::Arg(arguments) => self.arguments(arguments, Some(evaluated)),
            Kind::Shell(_) => state.has_shell = true,
            Kind::User(word) => state.user = user(word, evaluated),
            _ => {}
        }
    }

    /// Adds a finding about a part of the file.
    fn found(&mut self, construct: &Construct, span: Span, about: &str) {
        self.found_with_hint(construct, span, about, construct.hint.to_owned());
    }

    /// The same with another hint.
    fn found_with_hint(&mut self, construct: &Construct, span: Span, about: &str, hint: String) {
        let Position { line, column } = self.file.text.position(span.start);
        let text = construct.text.replace("{}", &shown(about));
        self.push(construct, span, (line, column), Message { text, hint: Some(hint) });
    }

    /// Adds what the reader has found.
    fn of_reader(&mut self, construct: &Construct, finding: &Finding) {
        let Finding { location, text, hint } = finding;
        let line = self.file.text.line(location.line.max(1));
        let start = line.start + byte_of(self.file.text.bytes(line), location.col);
        let word = self.file.text.bytes(Span { start, end: line.end });
        let length = word.iter().position(u8::is_ascii_whitespace).unwrap_or(word.len());
        let text = if location.path.is_empty() { text.clone() } else { format!("{}: {text}", location.path) };
        let message = Message { text, hint: hint.clone() };
        self.push(construct, Span { start, end: start + length }, (location.line, location.col), message);
    }

    fn push(&mut self, construct: &Construct, span: Span, place: (usize, usize), message: Message) {
        let Some(code) = self.code_to_report(construct) else { return };
        let finding = DockerfileFinding {
            code,
            level: construct.severity(),
            file: self.file.text.name().to_owned(),
            line: place.0,
            column: place.1,
            // A misspelt keyword is in the text as it is written.
            text: escaped(&self.mask.text(&message.text, Form::Message)).into_owned(),
            hint: message.hint,
            excerpt: excerpt(self.file, span, &self.hidden, self.mask),
        };
        if !self.found.contains(&finding) {
            self.found.push(finding);
        }
    }

    /// The code of a construct, unless it is let pass, or a report has no room for more. Warnings take no room from errors.
    fn code_to_report(&self, construct: &Construct) -> Option<&'static str> {
        let level = construct.severity();
        let is_full = self.found.iter().filter(|it| it.level == level).count() >= limits::FINDINGS;
        construct.code.filter(|code| !is_full && !self.allowed.contains(code))
    }

    /// Adds a finding about an option.
    fn found_in(&mut self, construct: &Construct, option: &str) {
        let Some(code) = self.code_to_report(construct) else { return };
        self.found.push(DockerfileFinding {
            code,
            level: construct.severity(),
            file: option.to_owned(),
            line: 0,
            column: 0,
            text: construct.text.to_owned(),
            hint: Some(construct.hint.to_owned()),
            excerpt: None,
        });
    }
}

/// The user that a word names.
fn user(word: &Word, evaluated: &EvaluatedInstruction) -> StageUser {
    let Some(name) = evaluated.expansion(word.span).and_then(|it| it.known()) else {
        return StageUser::Unknown;
    };
    let (name, group) = name.split_once(':').unwrap_or((name, "0"));
    let is_root = |text: &str| matches!(text, "root" | "0");
    if is_root(name) && is_root(group) { StageUser::Root } else { StageUser::Other(word.text.clone()) }
}

/// Where a column begins. A byte that is not UTF-8 is one character.
fn byte_of(line: &[u8], column: usize) -> usize {
    let lengths = line
        .utf8_chunks()
        .flat_map(|chunk| chunk.valid().chars().map(char::len_utf8).chain(chunk.invalid().iter().map(|_| 1)));
    lengths.take(column.saturating_sub(1)).sum()
}
