//! Dockerfiles, read by BuildKit's rules: the tree with the place of each part, and all mistakes at once.
//!
//! [`read`] never stops at a mistake: an instruction that has one is [`Kind::Broken`], and the rest is read.
//! [`Dockerfile::evaluate`] is what one build makes of it. Both are bounded: [`limits::DOCKERFILE_FILE_BYTES`],
//! [`limits::DOCKERFILE_INSTRUCTIONS`], [`limits::INTERPOLATED_BYTES`], and the depth of variables.
//!
//! ```
//! use std::collections::BTreeMap;
//! use bakery_core::dockerfile::{self, BuildInput, Kind, SourceStage};
//!
//! let text = "FROM golang AS build\nRUN go build -o /app\nFROM scratch\nARG DIR=/bin\nCOPY --from=build /app $DIR/\n";
//! let file = dockerfile::read("Dockerfile", text.as_bytes());
//! assert!(file.mistakes.is_empty());
//! let evaluation = file.evaluate(&BuildInput {
//!     args: &BTreeMap::from([("DIR".to_owned(), "/usr/bin".to_owned())]),
//!     target: None,
//!     target_platform: "linux/arm64",
//!     build_platform: "linux/arm64",
//!     images: &BTreeMap::new(), // nothing is known of `golang`
//! });
//! let copy = &file.instructions[4];
//! let evaluated = &evaluation.stages[1].instructions[1];
//! assert_eq!(evaluated.uses[0].source, SourceStage::Stage(0));
//! let Kind::Copy(transfer) = &copy.kind else { panic!() };
//! let destination = evaluated.expansion(transfer.destination.span);
//! assert_eq!(destination.and_then(|it| it.known()), Some("/usr/bin/"));
//! // Each part can be replaced where it is written.
//! assert_eq!(file.text.bytes(copy.span), b"COPY --from=build /app $DIR/");
//! assert_eq!(file.text.position(transfer.destination.span.start).column, 24);
//! ```
//!
//! What is refused although BuildKit reads it: a NUL byte, a flag that is not ASCII (its bytes would be taken for
//! characters), and what is beyond the bounds. After a misspelt RUN, COPY or ADD its heredocs are left out, and a misspelt
//! FROM begins a stage: otherwise each of their lines would be one more mistake. A frontend that a file asks for as JSON is
//! not found.

use crate::dockerfile::directives::{DirectiveReader, outdented};
use crate::dockerfile::lines::LineReader;
use crate::dockerfile::problems::Problems;
use crate::limits;
use crate::message::Message;
use crate::report::{Mistake, Notice, shown};

mod arguments;
mod directives;
mod duration;
mod evaluate;
mod expansion;
mod flags;
mod graph;
mod heredoc;
mod input;
mod layout;
mod lexer;
mod lines;
mod mounts;
mod parse;
mod pattern;
mod platform;
mod problems;
mod run_mount;
mod split;
mod text;
mod tree;
mod values;

pub use directives::Directive;
pub use evaluate::{EvaluatedStage, Evaluation, Trigger};
pub use expansion::Expansion;
pub use graph::{SourceStage, StageBase, StageUse};
pub use input::{BaseConfig, BuildInput};
pub use run_mount::{MountKind, RunMount};
pub use text::{DockerfileText, Position, Span};
pub use tree::{
    Argument, BuildStage, CommandLine, Device, Flag, Healthcheck, Heredoc, Instruction, Kind, MountFlag,
    MountOption, Pair, Run, Transfer, TransferSource, Word,
};
pub use values::EvaluatedInstruction;

/// A Dockerfile.
#[derive(Debug, Clone)]
pub struct Dockerfile {
    /// What was read.
    pub text: DockerfileText,
    /// The parser directives in their order.
    pub directives: Vec<Directive>,
    /// The frontend that the file asks for, where Docker looks for it.
    pub syntax: Option<Directive>,
    /// The escape character, a backslash or a backtick.
    pub escape: char,
    /// The lines with comments between instructions, without newlines. Directives are comments too.
    pub comments: Vec<Span>,
    /// All instructions in their order.
    pub instructions: Vec<Instruction>,
    /// The stages in their order. What stands before the first are global build arguments.
    pub stages: Vec<BuildStage>,
    /// What is wrong, from top to bottom.
    pub mistakes: Vec<Mistake>,
    /// What is worth mentioning, from top to bottom.
    pub notices: Vec<Notice>,
}

impl Dockerfile {
    /// The instructions of a stage, FROM included.
    pub fn instructions_of(&self, stage: &BuildStage) -> &[Instruction] {
        self.instructions.get(stage.instructions.clone()).unwrap_or_default()
    }

    /// The instructions before the first stage.
    pub fn global(&self) -> &[Instruction] {
        let end = self.stages.first().map_or(self.instructions.len(), |stage| stage.instructions.start);
        self.instructions.get(..end).unwrap_or_default()
    }
}

/// Reads a Dockerfile; `name` is how messages name it.
pub fn read(name: &str, bytes: &[u8]) -> Dockerfile {
    let is_small = bytes.len() <= limits::DOCKERFILE_FILE_BYTES;
    let text = DockerfileText::new(name, if is_small { bytes } else { b"" });
    let mut reading = DockerfileReader::new(&text);
    if !is_small {
        let text = format!("the file has more than {} bytes", limits::DOCKERFILE_FILE_BYTES);
        let hint = "copy large contents from files instead of writing them into the Dockerfile";
        reading.problems.mistake(0, "", Message::new(text).with_hint(hint));
    } else if let [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] = bytes {
        let message = Message::new("the file is UTF-16").with_hint("save it as UTF-8");
        reading.problems.mistake(0, "", message);
    } else {
        reading.all();
        reading.check_stages();
    }
    reading.into_dockerfile()
}

/// Reads an ONBUILD instruction of an image: a Dockerfile without a stage.
fn read_trigger(text: &str) -> Dockerfile {
    let text = DockerfileText::new("", text.as_bytes());
    let mut reading = DockerfileReader::new(&text);
    reading.is_trigger = true;
    reading.all();
    reading.into_dockerfile()
}

/// A file that is being read.
struct DockerfileReader<'t> {
    problems: Problems<'t>,
    escape: char,
    directives: Vec<Directive>,
    comments: Vec<Span>,
    instructions: Vec<Instruction>,
    stages: Vec<BuildStage>,
    is_trigger: bool,
}

impl<'t> DockerfileReader<'t> {
    fn new(text: &'t DockerfileText) -> Self {
        Self {
            problems: Problems::new(text),
            escape: '\\',
            directives: Vec::new(),
            comments: Vec::new(),
            instructions: Vec::new(),
            stages: Vec::new(),
            is_trigger: false,
        }
    }

    fn into_dockerfile(self) -> Dockerfile {
        let text = self.problems.text.clone();
        let (mistakes, notices) = self.problems.into_findings();
        let Self { escape, directives, comments, instructions, stages, .. } = self;
        let syntax = directives::syntax(&text);
        Dockerfile { text, directives, syntax, escape, comments, instructions, stages, mistakes, notices }
    }

    fn all(&mut self) {
        let text = self.problems.text;
        let mut lines = LineReader::new(text);
        let mut reader = DirectiveReader::new("#");
        while let Some((number, span)) = lines.line() {
            let line = outdented(text, text.without_newline(span));
            match reader.line(text, line) {
                Ok(Some(directive)) => self.directive(directive),
                Ok(None) => {}
                Err(directive) => {
                    let message = format!("the directive `{}` is there twice", directive.name);
                    self.problems.mistake(directive.span.start, "", message);
                }
            }
            if text.bytes(line).starts_with(b"#") {
                self.comments.push(line);
            } else if line.start < line.end {
                if self.instructions.len() == limits::DOCKERFILE_INSTRUCTIONS {
                    let message =
                        format!("there are more than {} instructions", limits::DOCKERFILE_INSTRUCTIONS);
                    self.problems.mistake(line.start, "", message);
                    break;
                }
                let next = parse::instruction(&mut lines, (number, span), self.escape, &mut self.problems);
                self.add(next);
            }
        }
    }

    fn directive(&mut self, directive: Directive) {
        if directive.name == "escape" {
            match directive.value.as_str() {
                "\\" => self.escape = '\\',
                "`" => self.escape = '`',
                other => {
                    let text = format!("`{}` is not a valid escape character", shown(other));
                    let message = Message::new(text).with_hint("a backslash or a backtick");
                    self.problems.mistake(directive.span.start, "escape", message);
                }
            }
        }
        self.directives.push(directive);
    }

    fn add(&mut self, instruction: Instruction) {
        let (at, name) = (self.instructions.len(), instruction.name());
        let stage = match &instruction.kind {
            Kind::From { name, .. } => name.as_ref().map(|name| name.text.to_lowercase()),
            _ => None,
        };
        // A misspelt FROM is one mistake, and not one more for each instruction of its stage.
        if name == "FROM" || parse::meant(&name) == Some("FROM") {
            self.stages.push(BuildStage { name: stage, instructions: at..at + 1 });
        } else if let Some(stage) = self.stages.last_mut() {
            stage.instructions.end = at + 1;
        } else if !self.is_trigger && !matches!(instruction.kind, Kind::Arg(_) | Kind::Broken) {
            let message = Message::new("there is no stage before this instruction");
            let hint = "begin with FROM; only ARG may stand before it";
            self.problems.mistake(instruction.span.start, &name, message.with_hint(hint));
        }
        self.instructions.push(instruction);
    }

    fn check_stages(&mut self) {
        if self.stages.is_empty() {
            let hint = "begin with `FROM image`";
            self.problems.mistake(0, "", Message::new("there is no FROM").with_hint(hint));
        }
    }
}

#[cfg(test)]
mod tests;
