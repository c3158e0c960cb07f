//! Whether variables become what BuildKit makes of them, and stages are made from what it takes.

use std::collections::BTreeMap;

use bakery_core::dockerfile::{
    BaseConfig, BuildInput, Dockerfile, EvaluatedInstruction, Evaluation, Expansion, Instruction, Kind,
    RunMount, StageBase, TransferSource, Trigger, Word,
};

use serde_json::{Value, json};

use crate::oracle::{OracleAnswer, Question};

/// What BuildKit checks beyond what is read here, by a part of its messages.
const NOT_READ: &[&str] = &[
    "invalid reference format",
    "failed to parse stage name",
    "could not parse",
    "repository name must be",
    "invalid chmod",
    "chmod",
    "checksum",
    "invalid port",
    "invalid containerPort",
    "invalid hostPort",
    "invalid IP",
    "invalid range",
    "invalid proto",
    "invalid signal",
    "source can't be",
    "invalid mount target",
    "git",
    "no such host",
    "invalid SOURCE_DATE_EPOCH",
    "failed to parse check",
    "parse \"",
    "invalid argument",
    "device feature is only supported",
    "VOLUME specified can not be an empty string",
];

/// How a build was judged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BuildJudgement {
    Equal,
    EqualMistakes,
    /// BuildKit has a mistake of a kind that is not read here.
    NotRead,
    /// Bakery refuses it, for what it refuses in every file (`compare::STRICTER`).
    Stricter,
    Different(String),
}

/// The arguments of one build.
pub(crate) struct Given {
    pub(crate) args: BTreeMap<String, String>,
    pub(crate) target: String,
    pub(crate) env: Vec<String>,
    pub(crate) onbuild: Vec<String>,
}

pub(crate) const PLATFORM: &str = "linux/arm64";

impl Given {
    pub(crate) fn question(&self, text: &[u8]) -> Question {
        Question {
            text: text.to_vec(),
            build: true,
            args: self.args.clone(),
            target: self.target.clone(),
            platform: PLATFORM.to_owned(),
            env: self.env.clone(),
            onbuild: self.onbuild.clone(),
            ..Question::default()
        }
    }

    fn evaluate(&self, file: &Dockerfile, images: &BTreeMap<String, BaseConfig>) -> Evaluation {
        file.evaluate(&BuildInput {
            args: &self.args,
            target: Some(&self.target),
            target_platform: PLATFORM,
            build_platform: PLATFORM,
            images,
        })
    }

    /// The config of every image that the file is made from.
    fn images(&self, evaluation: &Evaluation) -> BTreeMap<String, BaseConfig> {
        let pair = |text: &String| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            (name.to_owned(), value.to_owned())
        };
        let config = BaseConfig { env: self.env.iter().map(pair).collect(), onbuild: self.onbuild.clone() };
        let images = evaluation.stages.iter().filter_map(|stage| match &stage.base {
            StageBase::Image(name) => Some(name.clone()),
            _ => None,
        });
        images.map(|name| (name, config.clone())).collect()
    }
}

/// Compares a build of a file without mistakes.
pub(crate) fn judge(file: &Dockerfile, given: &Given, answer: &OracleAnswer) -> BuildJudgement {
    let blind = given.evaluate(file, &BTreeMap::new());
    let seeing = given.evaluate(file, &given.images(&blind));
    let mut found = Vec::new();
    sound(&blind, &seeing, &mut found);
    if !found.is_empty() {
        return BuildJudgement::Different(found.join("\n"));
    }
    match (&answer.build_error, &answer.image) {
        (Some(error), _) => {
            // BuildKit reports what is wrong in an ONBUILD of a stage where the next one begins.
            let is_onbuild = |line: usize| {
                let mut all = file.instructions.iter();
                all.any(|it| matches!(it.kind, Kind::Onbuild(_)) && it.lines.0 <= line && line <= it.lines.1)
            };
            let is_from = file.instructions.iter().any(|it| it.name() == "FROM" && it.lines.0 == error.start);
            let is_ours = seeing.mistakes.iter().any(|mistake| {
                let line = mistake.location.line;
                let is_circle =
                    mistake.text.contains("uses itself") || mistake.text.contains("need each other");
                error.start == 0
                    || (error.start..=error.end).contains(&line)
                    || is_from && is_onbuild(line)
                    || is_circle && error.text.contains("circular dependency")
            });
            if is_ours {
                BuildJudgement::EqualMistakes
            } else if NOT_READ.iter().any(|known| error.text.contains(known)) {
                BuildJudgement::NotRead
            } else {
                BuildJudgement::Different(format!(
                    "only BuildKit finds a mistake: {error:?}\n{:?}",
                    seeing.mistakes
                ))
            }
        }
        (None, Some(image)) => {
            if let Some(mistake) = seeing.mistakes.first() {
                if file.notices.iter().any(|notice| notice.text.contains("is not ASCII")) {
                    return BuildJudgement::Stricter;
                }
                return BuildJudgement::Different(format!("only Bakery finds a mistake: {mistake}"));
            }
            let ours = history(file, &seeing);
            let theirs: Vec<&str> = image.history.iter().map(String::as_str).collect();
            let equal = ours.len() == theirs.len()
                && ours.iter().zip(&theirs).all(|(own, other)| match own {
                    Step::Exactly(text) => text == other,
                    Step::Beginning(text) => other.starts_with(text),
                });
            let mounts = mounts(file, &seeing, answer);
            if !mounts.is_empty() {
                BuildJudgement::Different(mounts.join("\n"))
            } else if equal {
                BuildJudgement::Equal
            } else {
                BuildJudgement::Different(format!("history: {ours:#?}\nBuildKit: {theirs:#?}"))
            }
        }
        (None, None) => BuildJudgement::Different("BuildKit says nothing".to_owned()),
    }
}

/// What is known without the config of the base image must not change with it.
fn sound(blind: &Evaluation, seeing: &Evaluation, found: &mut Vec<String>) {
    for (blind, seeing) in blind.stages.iter().zip(&seeing.stages) {
        for (blind, seeing) in blind.instructions.iter().zip(&seeing.instructions) {
            for (place, expansion) in blind.expansions() {
                let Expansion::Known(text) = expansion else { continue };
                let with_config = seeing.expansions().find(|(other, _)| *other == place).map(|(_, it)| it);
                if with_config.is_some_and(|it| it.known() != Some(text)) {
                    found.push(format!("known as {text:?} without the base image, with it {with_config:?}"));
                }
            }
        }
    }
}

/// Compares the mounts without variables, quotes and escape characters, for which the oracle has the values too.
fn mounts(file: &Dockerfile, evaluation: &Evaluation, answer: &OracleAnswer) -> Vec<String> {
    let mut found = Vec::new();
    for (stage, evaluated) in file.stages.iter().zip(&evaluation.stages) {
        let own = file.instructions_of(stage).iter().skip(1).zip(&evaluated.instructions);
        for (instruction, evaluated) in own {
            let Kind::Run(run) = &instruction.kind else { continue };
            let values =
                run.mounts.iter().flat_map(|mount| &mount.options).filter_map(|it| it.value.as_ref());
            if values.into_iter().any(|value| value.text.contains(['$', '\'', '"', '\\', '`', '<'])) {
                continue;
            }
            let theirs = answer.instructions.iter().find(|it| it.start == instruction.lines.0);
            let theirs = theirs.map_or(&Value::Null, |it| &it.detail["mounts"]);
            let ours: Value = evaluated.mounts.iter().map(of_mount).collect();
            if ours != *theirs {
                found.push(format!("mounts: {ours}, BuildKit: {theirs}"));
            }
        }
    }
    found
}

fn of_mount(mount: &RunMount) -> Value {
    json!({
        "type": mount.kind.as_str(), "from": mount.from, "source": mount.source, "target": mount.target,
        "readonly": mount.read_only, "size": mount.size, "id": mount.id, "sharing": mount.sharing,
        "required": mount.required, "env": mount.env, "mode": mount.mode, "uid": mount.uid, "gid": mount.gid,
    })
}

/// A line of the image's history.
#[derive(Debug)]
enum Step {
    Exactly(String),
    /// The rest is what the shell gets, or a path or a port in a normal form.
    Beginning(&'static str),
}

/// The history of the target.
fn history(file: &Dockerfile, evaluation: &Evaluation) -> Vec<Step> {
    let mut chain = vec![evaluation.target];
    while let Some(StageBase::Stage(base)) = chain.last().map(|stage| &evaluation.stages[*stage].base) {
        chain.push(*base);
    }
    let mut steps = Vec::new();
    for number in chain.into_iter().rev() {
        let (stage, own) = (&evaluation.stages[number], file.instructions_of(&file.stages[number]));
        for trigger in &stage.triggers {
            match trigger {
                Trigger::OfStage(at, evaluated) => {
                    let Kind::Onbuild(instruction) = &file.instructions[*at].kind else { continue };
                    steps.extend(step(instruction, evaluated));
                }
                Trigger::OfImage(file, evaluated) => steps.extend(step(&file.instructions[0], evaluated)),
            }
        }
        for (instruction, evaluated) in own.iter().skip(1).zip(&stage.instructions) {
            steps.extend(step(instruction, evaluated));
        }
    }
    steps
}

fn step(instruction: &Instruction, evaluated: &EvaluatedInstruction) -> Option<Step> {
    let text = |word: &Word| match evaluated.expansion(word.span) {
        Some(Expansion::Known(text)) => text.clone(),
        other => format!("{other:?}"),
    };
    let flag = |name: &str| {
        let word = instruction.flag_values(name).next()?;
        Some(text(word)).filter(|text| !text.is_empty()).map(|text| format!(" --{name}={text}"))
    };
    Some(Step::Exactly(match &instruction.kind {
        Kind::Env(pairs) | Kind::Label(pairs) => {
            let pairs = pairs.iter().map(|pair| format!(" {}={}", text(&pair.name), text(&pair.value)));
            format!("{}{}", instruction.name(), pairs.collect::<String>())
        }
        Kind::Copy(transfer) | Kind::Add(transfer) => {
            let mut line = instruction.name();
            if instruction.is_on("parents") {
                line += " --parents";
            }
            line += &flag("chown").unwrap_or_default();
            line += &flag("chmod").unwrap_or_default();
            for source in &transfer.sources {
                if let TransferSource::Path(word) = source {
                    line.extend([" ", &text(word)]);
                }
            }
            for source in &transfer.sources {
                if let TransferSource::Inline { name, .. } = source {
                    line.extend([" <<", name]);
                }
            }
            format!("{line} {} # buildkit", text(&transfer.destination))
        }
        Kind::User(word) => format!("USER {}", text(word)),
        Kind::StopSignal(word) => format!("STOPSIGNAL {}", text(word)),
        Kind::Volume(words) => {
            format!("VOLUME [{}]", words.iter().map(text).collect::<Vec<_>>().join(" "))
        }
        Kind::Maintainer(word) => format!("MAINTAINER {}", word.text),
        Kind::Arg(arguments) => {
            let arguments = arguments.iter().map(|argument| match evaluated.expansion(argument.name.span) {
                Some(_) => format!(" {}={}", argument.name.text, text(&argument.name)),
                None => format!(" {}", argument.name.text),
            });
            format!("ARG{}", arguments.collect::<String>())
        }
        Kind::Run(_) => return Some(Step::Beginning("RUN ")),
        Kind::Workdir(_) => return Some(Step::Beginning("WORKDIR /")),
        Kind::Expose(_) => return Some(Step::Beginning("EXPOSE [")),
        Kind::Cmd(_) => return Some(Step::Beginning("CMD [")),
        Kind::Entrypoint(_) => return Some(Step::Beginning("ENTRYPOINT [")),
        Kind::Healthcheck(_) => return Some(Step::Beginning("HEALTHCHECK ")),
        Kind::Shell(_) => return Some(Step::Beginning("SHELL [")),
        Kind::From { .. } | Kind::Onbuild(_) | Kind::Broken => return None,
    }))
}
