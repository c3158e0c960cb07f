//! The tree of a Dockerfile. Every node has the part of the file that it comes from.

use std::ops::Range;

use crate::dockerfile::text::{DockerfileText, Span, lossy};

/// A part of an instruction: as BuildKit takes it before it replaces variables, so with quotes and escape characters where
/// they still have a meaning, and without continuations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Word {
    /// The text.
    pub text: String,
    /// Where it is written. The bytes there are the text, with continuations and, in flags and JSON, with quotes.
    pub span: Span,
}

/// A flag: `--name` or `--name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The name without the dashes.
    pub name: String,
    /// What follows the equals sign, if there is one; quotes and escape characters are taken away.
    pub value: Option<Word>,
    /// The whole flag.
    pub span: Span,
}

/// A heredoc of an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it, without quotes; for COPY and ADD the name of the file.
    pub name: String,
    /// The number before `<<`, or 0.
    pub descriptor: u64,
    /// Whether variables in it are replaced: no part of its name is quoted.
    pub expand: bool,
    /// `<<-`: tabs at the beginning of its lines are taken away.
    pub chomp: bool,
    /// The word in the instruction: `<<-"EOF"`.
    pub word: Span,
    /// Its lines, with their newlines.
    pub body: Span,
    /// The line that ends it, without its newline.
    pub terminator: Span,
}

impl Heredoc {
    /// The lines as they are written, tabs included.
    pub fn raw(&self, text: &DockerfileText) -> String {
        lossy(text.bytes(self.body))
    }

    /// The lines as they are used, before variables are replaced.
    pub fn content(&self, text: &DockerfileText) -> String {
        let raw = self.raw(text);
        if !self.chomp {
            return raw;
        }
        raw.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }
}

/// An instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// The keyword as it is written.
    pub keyword: Word,
    /// All of it, heredocs included, from the keyword to the end of its last line, without the newline.
    pub span: Span,
    /// The first and the last line, from 1.
    pub lines: (usize, usize),
    /// Its flags, known or not, in their order.
    pub flags: Vec<Flag>,
    /// Everything after the flags, without the heredocs' lines.
    pub arguments: Word,
    /// Its heredocs, in their order.
    pub heredocs: Vec<Heredoc>,
    /// What it is.
    pub kind: Kind,
}

impl Instruction {
    /// The keyword in upper case.
    pub fn name(&self) -> String {
        self.keyword.text.to_uppercase()
    }

    /// The last flag of this name.
    pub fn flag(&self, name: &str) -> Option<&Flag> {
        self.flags.iter().rev().find(|flag| flag.name == name)
    }

    /// The values of all flags of this name.
    pub fn flag_values(&self, name: &str) -> impl Iterator<Item = &Word> {
        self.flags.iter().filter(move |flag| flag.name == name).filter_map(|flag| flag.value.as_ref())
    }

    /// Whether a flag without a value, or with `true`, is there.
    pub fn is_on(&self, name: &str) -> bool {
        self.flag(name).is_some_and(|flag| {
            flag.value.as_ref().is_none_or(|value| value.text.eq_ignore_ascii_case("true"))
        })
    }
}

/// What an instruction is, with its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `FROM base [AS name]`.
    From {
        /// The base image or stage.
        base: Word,
        /// The name as it is written; stages are known by it in lower case.
        name: Option<Word>,
    },
    /// `RUN`.
    Run(Run),
    /// `COPY`.
    Copy(Transfer),
    /// `ADD`.
    Add(Transfer),
    /// `ENV`.
    Env(Vec<Pair>),
    /// `LABEL`.
    Label(Vec<Pair>),
    /// `ARG`.
    Arg(Vec<Argument>),
    /// `EXPOSE`.
    Expose(Vec<Word>),
    /// `CMD`.
    Cmd(CommandLine),
    /// `ENTRYPOINT`.
    Entrypoint(CommandLine),
    /// `HEALTHCHECK`.
    Healthcheck(Healthcheck),
    /// `SHELL`.
    Shell(Vec<Word>),
    /// `STOPSIGNAL`.
    StopSignal(Word),
    /// `USER`.
    User(Word),
    /// `VOLUME`.
    Volume(Vec<Word>),
    /// `WORKDIR`.
    Workdir(Word),
    /// `MAINTAINER`.
    Maintainer(Word),
    /// `ONBUILD`, with the instruction that a build on top of this image begins with.
    Onbuild(Box<Instruction>),
    /// An instruction with a mistake.
    Broken,
}

/// A command, which a shell reads or which is a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// A text for the shell; empty if there is none.
    Shell(Word),
    /// A JSON list.
    Exec(Vec<Word>),
}

/// What RUN has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The command. Variables in it are the shell's.
    pub command: CommandLine,
    /// Whether the command is one heredoc and nothing else: its body is run by SHELL, or as a file if it begins with `#!`.
    /// Other heredocs are for the shell to read.
    pub only_heredoc: bool,
    /// The mounts, `--mount`.
    pub mounts: Vec<MountFlag>,
    /// The devices, `--device`.
    pub devices: Vec<Device>,
}

/// A `--mount` before its variables are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountFlag {
    /// The options in their order.
    pub options: Vec<MountOption>,
    /// The whole flag.
    pub span: Span,
}

/// An option of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOption {
    /// The key in lower case.
    pub key: String,
    /// What follows the equals sign, if there is one.
    pub value: Option<Word>,
    /// The whole option; the flag's value if it has quotes.
    pub span: Span,
}

/// A `--device`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    /// The name.
    pub name: String,
    /// Whether the build fails without it.
    pub required: bool,
}

/// What COPY and ADD have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// What is copied.
    pub sources: Vec<TransferSource>,
    /// Where to.
    pub destination: Word,
}

/// What is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferSource {
    /// A path or a URL.
    Path(Word),
    /// A heredoc.
    Inline {
        /// The word: `<<EOF`.
        word: Word,
        /// The name of the file.
        name: String,
        /// Whether variables in it are replaced.
        expand: bool,
        /// Which heredoc of the instruction has the content; `None` for no content (in a JSON list).
        heredoc: Option<usize>,
    },
}

/// A name with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The name.
    pub name: Word,
    /// The value.
    pub value: Word,
    /// Whether it is the form without an equals sign, `ENV name value`.
    pub is_old: bool,
}

/// A build argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// The name.
    pub name: Word,
    /// The default.
    pub value: Option<Word>,
}

/// A health check. Times are in nanoseconds; 0 is the engine's default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Healthcheck {
    /// The command; `None` for `NONE`.
    pub command: Option<CommandLine>,
    /// `--interval`.
    pub interval: i64,
    /// `--timeout`.
    pub timeout: i64,
    /// `--start-period`.
    pub start_period: i64,
    /// `--start-interval`.
    pub start_interval: i64,
    /// `--retries`.
    pub retries: i32,
}

/// A stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildStage {
    /// Its name in lower case; `None` if it has none.
    pub name: Option<String>,
    /// Which instructions are its own, with its FROM as the first.
    pub instructions: Range<usize>,
}
