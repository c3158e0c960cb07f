//! What each stage of a build is made from, what it uses, and whether the target needs it: all that can be said before the
//! variables of the stages are known.

use crate::dockerfile::expansion::{Environment, Expander, Expansion, ReadAs};
use crate::dockerfile::graph::{SourceStage, StageBase, StageGraph, StageNames, StageUse};
use crate::dockerfile::input::BuildInput;
use crate::dockerfile::platform::{is_platform, platform_arguments};
use crate::dockerfile::problems::Problems;
use crate::dockerfile::text::Span;
use crate::dockerfile::tree::{Argument, BuildStage, Instruction, Kind, Word};
use crate::dockerfile::{Dockerfile, read_trigger};
use crate::message::Message;
use crate::report::shown;

/// The stages of a build.
pub(super) struct Layout {
    /// The arguments before the first stage.
    pub(super) global: Environment,
    pub(super) stages: Vec<StageLayout>,
    pub(super) target: usize,
}

/// A stage of a build.
pub(super) struct StageLayout {
    pub(super) base: StageBase,
    pub(super) platform: Option<String>,
    pub(super) is_needed: bool,
    pub(super) triggers: Vec<TriggerLayout>,
    /// For each instruction after FROM what it uses.
    pub(super) uses: Vec<Vec<StageUse>>,
}

/// An instruction of ONBUILD that runs in a stage.
pub(super) struct TriggerLayout {
    /// The file that it is, if it is one of an image.
    pub(super) of_image: Option<Box<Dockerfile>>,
    /// Else the number of its ONBUILD.
    pub(super) number: usize,
    pub(super) uses: Vec<StageUse>,
}

/// Looks at all stages.
pub(super) fn layout<'t>(
    file: &'t Dockerfile,
    input: &BuildInput<'_>,
    expander: &mut Expander,
    problems: &mut Problems<'t>,
) -> Layout {
    let mut planner = Planner { file, input, expander, problems, names: StageNames::default() };
    let global = planner.global_arguments();
    let mut stages = Vec::new();
    for stage in &file.stages {
        let (base, platform) = planner.from(stage, &global);
        planner.names.add(stage.name.as_deref());
        stages.push(StageLayout { base, platform, is_needed: false, triggers: Vec::new(), uses: Vec::new() });
    }
    let mut of_triggers = Vec::new();
    for (number, stage) in stages.iter_mut().enumerate() {
        let own = file.instructions_of(&file.stages[number]);
        stage.uses = own.iter().skip(1).map(|instruction| planner.uses(instruction)).collect();
        // How serious a mistake in these is depends on whether the stage is needed.
        let found = std::mem::replace(planner.problems, Problems::new(&file.text));
        stage.triggers = planner.triggers(number, &stage.base);
        of_triggers.push(std::mem::replace(planner.problems, found));
    }
    let target = planner.target();
    let graph = graph(&stages);
    let needed = graph.needed(target);
    let name = |stage: usize| match file.stages.get(stage).and_then(|it| it.name.as_deref()) {
        Some(name) => format!("`{}`", shown(name)),
        None => stage.to_string(),
    };
    graph.check(&needed, &name, problems);
    for ((stage, is_needed), found) in stages.iter_mut().zip(needed).zip(of_triggers) {
        stage.is_needed = is_needed;
        problems.is_harmless = !is_needed;
        problems.absorb(found);
        problems.is_harmless = false;
    }
    Layout { global, stages, target }
}

fn graph(stages: &[StageLayout]) -> StageGraph {
    let base = |stage: &StageLayout| match stage.base {
        StageBase::Stage(base) => Some(base),
        _ => None,
    };
    StageGraph {
        bases: stages.iter().map(base).collect(),
        uses: stages.iter().map(|stage| used_stages(stage.uses.iter().flatten())).collect(),
        by_triggers: stages
            .iter()
            .map(|stage| used_stages(stage.triggers.iter().flat_map(|it| &it.uses)))
            .collect(),
    }
}

fn used_stages<'u>(uses: impl Iterator<Item = &'u StageUse>) -> Vec<(usize, Span)> {
    let stage = |it: &StageUse| match it.source {
        SourceStage::Stage(number) => Some((number, it.span)),
        _ => None,
    };
    uses.filter_map(stage).collect()
}

struct Planner<'p, 't> {
    file: &'p Dockerfile,
    input: &'p BuildInput<'p>,
    expander: &'p mut Expander,
    problems: &'p mut Problems<'t>,
    names: StageNames,
}

impl Planner<'_, '_> {
    fn target(&mut self) -> usize {
        self.names.target(self.input.target).unwrap_or_else(|message| {
            self.problems.mistake(0, "", message);
            self.names.target(None).unwrap_or(0)
        })
    }

    fn global_arguments(&mut self) -> Environment {
        let mut global = Environment::default();
        let name = self.input.target.filter(|name| !name.is_empty());
        let last = self.file.stages.last().and_then(|stage| stage.name.as_deref());
        let stage = name.or(last).unwrap_or("default");
        let BuildInput { args, build_platform, target_platform, .. } = self.input;
        for (name, value) in platform_arguments(build_platform, target_platform, stage) {
            let value = args.get(name).cloned().unwrap_or(value);
            global.set(name, &Expansion::Known(value));
        }
        for instruction in self.file.global() {
            let Kind::Arg(arguments) = &instruction.kind else { continue };
            for Argument { name, value } in arguments {
                let value = match (args.get(&name.text), value) {
                    (Some(given), _) => Some(Expansion::Known(given.clone())),
                    (None, Some(word)) => self.of_global(word, &global, "ARG"),
                    (None, None) => None,
                };
                if let Some(value) = value {
                    global.set(&name.text, &value);
                }
            }
        }
        global
    }

    fn of_global(&mut self, word: &Word, global: &Environment, path: &str) -> Option<Expansion> {
        let text = (word.text.as_str(), word.span);
        self.expander.expand(text, ReadAs::Word, global, path, self.problems)
    }

    /// What a stage is made from, which may be an earlier stage, and the value of its `--platform`.
    fn from(&mut self, stage: &BuildStage, global: &Environment) -> (StageBase, Option<String>) {
        let Some(Instruction { kind: Kind::From { base, .. }, flags, .. }) =
            self.file.instructions.get(stage.instructions.start)
        else {
            return (StageBase::Broken, None);
        };
        let name = self.of_global(base, global, "FROM");
        let base = match name.as_ref().and_then(Expansion::known) {
            None => StageBase::Broken,
            Some("") => {
                let text = format!("the base image `{}` is empty", shown(&base.text));
                let hint = "give the build argument, or a default: `ARG NAME=value` above the first FROM";
                self.problems.mistake(base.span.start, "FROM", Message::new(text).with_hint(hint));
                StageBase::Broken
            }
            Some(name) => match self.names.base(name) {
                Some(stage) => StageBase::Stage(stage),
                None if name == "scratch" => StageBase::Scratch,
                None => StageBase::Image(name.to_owned()),
            },
        };
        let platform = flags.iter().filter_map(|flag| flag.value.as_ref()).find(|word| !word.text.is_empty());
        (base, platform.and_then(|word| self.platform(word, global)))
    }

    fn platform(&mut self, word: &Word, global: &Environment) -> Option<String> {
        let expansion = self.of_global(word, global, "FROM")?;
        let text = expansion.known()?;
        if is_platform(text) {
            return Some(text.to_owned());
        }
        // As it is written: the value of a variable may be a secret.
        let text = format!("`{}` is not a platform", shown(&word.text));
        let message = Message::new(text).with_hint("write `linux/amd64` or `linux/arm64`");
        self.problems.mistake(word.span.start, "FROM", message);
        None
    }

    /// The ONBUILD instructions of what a stage is made from.
    fn triggers(&mut self, number: usize, base: &StageBase) -> Vec<TriggerLayout> {
        let file = self.file;
        let from = file.instructions_of(&file.stages[number]).first().map_or(0, |from| from.span.start);
        let mut found = Vec::new();
        match base {
            StageBase::Stage(base) => {
                for number in file.stages[*base].instructions.clone() {
                    let Some(Instruction { kind: Kind::Onbuild(trigger), .. }) =
                        file.instructions.get(number)
                    else {
                        continue;
                    };
                    if !self.expander.charge(from, "FROM", self.problems) {
                        break;
                    }
                    if trigger.kind == Kind::Broken {
                        let text = "this instruction has a mistake, and a stage of this file runs it";
                        self.problems.mistake(trigger.span.start, "ONBUILD", text);
                        continue;
                    }
                    let uses = self.uses(trigger);
                    found.push(TriggerLayout { of_image: None, number, uses });
                }
            }
            StageBase::Image(name) => {
                for text in self.input.images.get(name).into_iter().flat_map(|config| &config.onbuild) {
                    let trigger = read_trigger(text);
                    for mistake in &trigger.mistakes {
                        let text = format!("in an ONBUILD instruction of the base image: {}", mistake.text);
                        let message = Message { text, hint: mistake.hint.clone() };
                        self.problems.mistake(from, "FROM", message);
                    }
                    let uses = trigger.instructions.first().map_or_else(Vec::new, |it| self.uses(it));
                    found.push(TriggerLayout { of_image: Some(Box::new(trigger)), number: 0, uses });
                }
            }
            StageBase::Scratch | StageBase::Broken => {}
        }
        found
    }

    /// The stages and images whose files an instruction uses.
    fn uses(&mut self, instruction: &Instruction) -> Vec<StageUse> {
        match &instruction.kind {
            Kind::Copy(_) => {
                let word = instruction.flag_values("from").next().filter(|word| !word.text.is_empty());
                word.and_then(|word| self.use_of_copy(word)).into_iter().collect()
            }
            Kind::Run(run) => {
                let options = run.mounts.iter().filter_map(|mount| {
                    // The last one counts.
                    mount.options.iter().rev().find(|option| option.key == "from")?.value.as_ref()
                });
                let named = options.filter(|word| !word.text.is_empty());
                named.map(|word| use_of(word, self.names.of_mount(&word.text))).collect()
            }
            _ => Vec::new(),
        }
    }

    fn use_of_copy(&mut self, word: &Word) -> Option<StageUse> {
        let text = (word.text.as_str(), word.span);
        let nothing = Environment::default();
        let plain = self.expander.expand(text, ReadAs::Word, &nothing, "COPY", self.problems)?;
        let source = if plain.known() == Some(&word.text) {
            self.names.of_copy(&word.text)
        } else {
            let hint = "add a stage `FROM image:$TAG AS name`, and write `--from=name`";
            Err(Message::new("variables are not replaced in `--from`").with_hint(hint))
        };
        match source {
            Ok(source) => Some(use_of(word, source)),
            Err(message) => {
                self.problems.mistake(word.span.start, "COPY", message);
                None
            }
        }
    }
}

fn use_of(word: &Word, source: SourceStage) -> StageUse {
    StageUse { source, name: word.text.clone(), span: word.span }
}
