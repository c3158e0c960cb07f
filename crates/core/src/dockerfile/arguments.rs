//! What follows the flags of an instruction.

use std::collections::BTreeMap;

use crate::dockerfile::duration::nanoseconds;
use crate::dockerfile::heredoc::heredoc_word;
use crate::dockerfile::lines::Slice;
use crate::dockerfile::mounts;
use crate::dockerfile::problems::{Problems, Wrong};
use crate::dockerfile::split::{JsonList, blank_words, first_word, json_list, quoted_words};
use crate::dockerfile::tree::{
    Argument, CommandLine, Healthcheck, Instruction, Kind, MountFlag, Pair, Run, Transfer, TransferSource,
    Word,
};
use crate::message::Message;
use crate::report::{did_you_mean, shown};

/// The networks of RUN.
const NETWORKS: [&str; 3] = ["default", "none", "host"];
/// The securities of RUN.
const SECURITIES: [&str; 2] = ["sandbox", "insecure"];

fn at(slice: Slice<'_>) -> usize {
    slice.span().start
}

/// What makes the arguments unreadable, whatever the rest of the instruction is.
pub(super) fn unreadable(name: &str, arguments: Slice<'_>, escape: char) -> Option<Wrong> {
    match name {
        "RUN" | "CMD" | "ENTRYPOINT" | "SHELL" | "COPY" | "ADD" | "VOLUME" => not_texts(arguments),
        "HEALTHCHECK" => not_texts(first_word(arguments).1?),
        "ENV" | "LABEL" => pairs(name, arguments, escape).err(),
        _ => None,
    }
}

fn not_texts(arguments: Slice<'_>) -> Option<Wrong> {
    let JsonList::Others(span) = json_list(arguments) else { return None };
    let hint = "quote each of them: `[\"sleep\", \"5\"]`";
    Some((span.start, Message::new("the JSON list has something else than texts").with_hint(hint)))
}

/// Reads the arguments; `None` if they have a mistake, which is reported.
pub(super) fn kind(
    name: &str,
    arguments: Slice<'_>,
    instruction: &Instruction,
    escape: char,
    problems: &mut Problems<'_>,
) -> Option<Kind> {
    let reader = Reader { name, arguments, instruction, escape };
    let result = match unreadable(name, arguments, escape) {
        Some(wrong) => Err(wrong),
        None => reader.kind(problems),
    };
    match result {
        Ok(kind) => Some(kind),
        Err((at, message)) => {
            problems.mistake(at, name, message);
            None
        }
    }
}

struct Reader<'r> {
    name: &'r str,
    arguments: Slice<'r>,
    instruction: &'r Instruction,
    escape: char,
}

impl Reader<'_> {
    fn kind(&self, problems: &mut Problems<'_>) -> Result<Kind, Wrong> {
        Ok(match self.name {
            "FROM" => self.from()?,
            "RUN" => Kind::Run(self.run(problems)?),
            "COPY" => Kind::Copy(self.transfer()?),
            "ADD" => Kind::Add(self.transfer()?),
            "ENV" => Kind::Env(self.pairs()?),
            "LABEL" => Kind::Label(self.pairs()?),
            "ARG" => Kind::Arg(self.build_arguments()?),
            "EXPOSE" => Kind::Expose(self.some(blank_words(self.arguments))?),
            "CMD" => Kind::Cmd(command(self.arguments)),
            "ENTRYPOINT" => Kind::Entrypoint(command(self.arguments)),
            "HEALTHCHECK" => Kind::Healthcheck(self.healthcheck()?),
            "SHELL" => self.shell()?,
            "STOPSIGNAL" => Kind::StopSignal(self.one()?),
            "USER" => Kind::User(self.one()?),
            "VOLUME" => self.volume()?,
            "WORKDIR" => Kind::Workdir(self.one()?),
            _ => Kind::Maintainer(self.one()?),
        })
    }

    fn missing<T>(&self, text: &str) -> Result<T, Wrong> {
        Err((self.instruction.span.start, Message::new(text)))
    }

    /// The rest of the line as one word.
    fn one(&self) -> Result<Word, Wrong> {
        if self.arguments.text().is_empty() {
            self.missing("a value is missing")
        } else {
            Ok(self.arguments.word())
        }
    }

    fn some(&self, words: Vec<Slice<'_>>) -> Result<Vec<Word>, Wrong> {
        if words.is_empty() {
            return self.missing("a value is missing");
        }
        Ok(words.into_iter().map(Slice::word).collect())
    }

    fn from(&self) -> Result<Kind, Wrong> {
        let words = blank_words(self.arguments);
        match words[..] {
            [base] => Ok(Kind::From { base: base.word(), name: None }),
            [base, keyword, name] if keyword.text().eq_ignore_ascii_case("as") => {
                let lower = name.text().to_lowercase();
                let is_right = lower.starts_with(|c: char| c.is_ascii_lowercase())
                    && lower.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_' | '.'));
                if !is_right {
                    let text = format!("`{}` is not a valid name of a stage", shown(name.text()));
                    let hint = "begin with a letter, and use letters, digits, `-`, `_` and `.`";
                    return Err((at(name), Message::new(text).with_hint(hint)));
                }
                Ok(Kind::From { base: base.word(), name: Some(name.word()) })
            }
            [] => self.missing("the base image is missing"),
            [_, second, ..] => {
                let text = "there is more than a base image and a name";
                Err((at(second), Message::new(text).with_hint("write `FROM image AS name`")))
            }
        }
    }

    fn run(&self, problems: &mut Problems<'_>) -> Result<Run, Wrong> {
        let command = command(self.arguments);
        let only_heredoc = match &command {
            CommandLine::Shell(word) => {
                !self.instruction.heredocs.is_empty() && heredoc_word(&word.text).is_some()
            }
            CommandLine::Exec(_) => false,
        };
        let (mut mounts, mut devices, mut wrong) = (Vec::new(), Vec::new(), None);
        for flag in &self.instruction.flags {
            let Some(value) = &flag.value else { continue };
            let result = match flag.name.as_str() {
                "mount" => {
                    mounts::options(value).map(|options| mounts.push(MountFlag { options, span: flag.span }))
                }
                "device" => mounts::device(value).map(|device| devices.push(device)),
                "network" => one_of("network", value, &NETWORKS),
                "security" => one_of("security", value, &SECURITIES),
                _ => Ok(()),
            };
            // The caller reports the last one.
            if let Some((at, message)) = result.err().and_then(|next| wrong.replace(next)) {
                problems.mistake(at, self.name, message);
            }
        }
        wrong.map_or(Ok(Run { command, only_heredoc, mounts, devices }), Err)
    }

    fn transfer(&self) -> Result<Transfer, Wrong> {
        let mut words = match json_list(self.arguments) {
            JsonList::Texts(words) => words,
            _ => blank_words(self.arguments).into_iter().map(Slice::word).collect(),
        };
        let Some(destination) = words.pop().filter(|_| !words.is_empty()) else {
            let text = "a source or the destination is missing";
            let hint = format!("write `{} SOURCE DESTINATION`", self.name);
            return Err((self.instruction.span.start, Message::new(text).with_hint(hint)));
        };
        if heredoc_word(&destination.text).is_some() {
            let message = Message::new("a heredoc cannot be the destination")
                .with_hint(format!("write `{} <<EOF DESTINATION`", self.name));
            return Err((destination.span.start, message));
        }
        // If two have the same name, the last one counts.
        let heredocs = self.instruction.heredocs.iter().enumerate();
        let heredocs: BTreeMap<&str, usize> = heredocs.map(|(at, it)| (it.name.as_str(), at)).collect();
        let source = |word: Word| match heredoc_word(&word.text) {
            None => TransferSource::Path(word),
            Some(begin) => TransferSource::Inline {
                word,
                heredoc: heredocs.get(begin.name.as_str()).copied(),
                name: begin.name,
                expand: begin.expand,
            },
        };
        Ok(Transfer { sources: words.into_iter().map(source).collect(), destination })
    }

    fn pairs(&self) -> Result<Vec<Pair>, Wrong> {
        let pairs = pairs(self.name, self.arguments, self.escape)?;
        if pairs.is_empty() {
            return self.missing("a name and a value are missing");
        }
        match pairs.iter().find(|pair| pair.name.text.is_empty()) {
            Some(pair) => {
                Err((pair.name.span.start, Message::new("a name is missing before the equals sign")))
            }
            None => Ok(pairs),
        }
    }

    fn build_arguments(&self) -> Result<Vec<Argument>, Wrong> {
        let words = quoted_words(self.arguments, self.escape);
        if words.is_empty() {
            return self.missing("a name is missing");
        }
        let argument = |word: Slice<'_>| match word.text().find('=') {
            Some(0) => Err((at(word), Message::new("a name is missing before the equals sign"))),
            Some(len) => {
                Ok(Argument { name: word.part(0, len).word(), value: Some(word.after(len + 1).word()) })
            }
            None => Ok(Argument { name: word.word(), value: None }),
        };
        words.into_iter().map(argument).collect()
    }

    fn shell(&self) -> Result<Kind, Wrong> {
        match json_list(self.arguments) {
            JsonList::Texts(words) if !words.is_empty() => Ok(Kind::Shell(words)),
            _ => {
                let hint = "write `SHELL [\"/bin/bash\", \"-c\"]`";
                let text = "a JSON list with the program is expected";
                Err((self.instruction.span.start, Message::new(text).with_hint(hint)))
            }
        }
    }

    fn volume(&self) -> Result<Kind, Wrong> {
        let words = match json_list(self.arguments) {
            JsonList::Texts(words) if words.is_empty() => self.missing("a path is missing")?,
            JsonList::Texts(words) => words,
            _ => self.some(blank_words(self.arguments))?,
        };
        if let Some(empty) = words.iter().find(|word| word.text.trim().is_empty()) {
            return Err((empty.span.start, Message::new("a path is empty")));
        }
        let trimmed = |word: Word| Word { text: word.text.trim().to_owned(), ..word };
        Ok(Kind::Volume(words.into_iter().map(trimmed).collect()))
    }

    fn healthcheck(&self) -> Result<Healthcheck, Wrong> {
        let (kind, rest) = first_word(self.arguments);
        match (kind.text().to_uppercase().as_str(), rest.map(command)) {
            ("", _) => self.missing("CMD or NONE is missing"),
            ("NONE", Some(CommandLine::Shell(word))) => {
                Err((word.span.start, Message::new("nothing may follow NONE")))
            }
            ("NONE", Some(CommandLine::Exec(words))) if !words.is_empty() => {
                Err((words[0].span.start, Message::new("nothing may follow NONE")))
            }
            ("NONE", _) => Ok(Healthcheck::default()),
            ("CMD", Some(command)) if command != CommandLine::Exec(Vec::new()) => Ok(Healthcheck {
                command: Some(command),
                interval: self.time("interval")?,
                timeout: self.time("timeout")?,
                start_period: self.time("start-period")?,
                start_interval: self.time("start-interval")?,
                retries: self.retries()?,
            }),
            ("CMD", _) => Err((at(kind), Message::new("the command after CMD is missing"))),
            _ => {
                let text = format!("`{}` is not CMD or NONE", shown(kind.text()));
                Err((at(kind), Message::new(text).with_hint("write `HEALTHCHECK CMD command`")))
            }
        }
    }

    fn time(&self, flag: &str) -> Result<i64, Wrong> {
        let Some(value) = self.instruction.flag_values(flag).next() else { return Ok(0) };
        if value.text.is_empty() {
            return Ok(0);
        }
        match nanoseconds(&value.text) {
            Some(nanos) if nanos == 0 || nanos >= 1_000_000 => Ok(nanos),
            Some(_) => {
                let text = format!("`--{flag}={}` is less than a millisecond", shown(&value.text));
                Err((value.span.start, Message::new(text)))
            }
            None => {
                let text = format!("`--{flag}={}` is not a duration", shown(&value.text));
                Err((value.span.start, Message::new(text).with_hint("write `30s` or `1m30s`")))
            }
        }
    }

    fn retries(&self) -> Result<i32, Wrong> {
        let Some(value) = self.instruction.flag_values("retries").next() else { return Ok(0) };
        let number = if value.text.is_empty() { Some(0) } else { value.text.parse().ok() };
        number.filter(|number| *number >= 0).ok_or_else(|| {
            let text = format!("`--retries={}` is not a number from 0", shown(&value.text));
            (value.span.start, Message::new(text))
        })
    }
}

fn one_of(flag: &str, value: &Word, known: &[&str]) -> Result<(), Wrong> {
    if known.contains(&value.text.as_str()) {
        return Ok(());
    }
    let text = format!("`--{flag}={}` is not valid", shown(&value.text));
    Err((value.span.start, Message::new(text).with_hint(did_you_mean(&value.text, known))))
}

/// A command, for a shell or as a list.
fn command(arguments: Slice<'_>) -> CommandLine {
    match json_list(arguments) {
        JsonList::Texts(words) => CommandLine::Exec(words),
        JsonList::Others(_) | JsonList::No => CommandLine::Shell(arguments.word()),
    }
}

/// Names and values: `name=value ...`, or the old form `name value`, which ends with the line.
fn pairs(instruction: &str, arguments: Slice<'_>, escape: char) -> Result<Vec<Pair>, Wrong> {
    let words = quoted_words(arguments, escape);
    let Some(first) = words.first() else { return Ok(Vec::new()) };
    if !first.text().contains('=') {
        let (name, value) = first_word(arguments);
        let Some(value) = value else {
            let text = format!("`{}` has no value", shown(name.text()));
            let hint = format!("write `{instruction} name=value`");
            return Err((at(name), Message::new(text).with_hint(hint)));
        };
        return Ok(vec![Pair { name: name.word(), value: value.word(), is_old: true }]);
    }
    let pair = |word: Slice<'_>| {
        if let Some(len) = word.text().find('=') {
            let (name, value) = (word.part(0, len).word(), word.after(len + 1).word());
            return Ok(Pair { name, value, is_old: false });
        }
        let text = format!("`{}` has no equals sign", shown(word.text()));
        let hint = "put a value with blanks in quotes: `name=\"a value\"`";
        Err((at(word), Message::new(text).with_hint(hint)))
    };
    words.into_iter().map(pair).collect()
}
