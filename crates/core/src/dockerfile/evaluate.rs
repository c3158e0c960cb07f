//! A build of a Dockerfile: what its variables become, what its stages are made from, and which of them it needs.

use crate::dockerfile::Dockerfile;
use crate::dockerfile::expansion::{Environment, Expander, Expansion};
use crate::dockerfile::graph::StageBase;
use crate::dockerfile::input::BuildInput;
use crate::dockerfile::layout::{Layout, layout};
use crate::dockerfile::problems::Problems;
use crate::dockerfile::tree::{Instruction, Kind};
use crate::dockerfile::values::{EvaluatedInstruction, ValueReader};
use crate::message::Message;
use crate::report::{Mistake, Notice};

/// The variable that every image has.
const PATH: (&str, &str) = ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");

/// A Dockerfile as one build sees it.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// The stages, each for the [`BuildStage`] of its number.
    pub stages: Vec<EvaluatedStage>,
    /// The number of the stage that is built.
    pub target: usize,
    /// What is wrong, from top to bottom, without the mistakes of the Dockerfile itself.
    pub mistakes: Vec<Mistake>,
    /// What is worth mentioning, from top to bottom. What is wrong in stages that are not built is among it.
    pub notices: Vec<Notice>,
}

/// A stage as one build sees it.
#[derive(Debug, Clone)]
pub struct EvaluatedStage {
    /// What it is made from.
    pub base: StageBase,
    /// The value of `--platform`.
    pub platform: Option<String>,
    /// Whether the target cannot be built without it.
    pub is_needed: bool,
    /// What runs before its own instructions: those of ONBUILD of the stage or the image that it is made from.
    pub triggers: Vec<Trigger>,
    /// Its instructions after FROM, each for the [`Instruction`] of its number.
    pub instructions: Vec<EvaluatedInstruction>,
}

/// An instruction of ONBUILD in a stage that is made from what has it.
#[derive(Debug, Clone)]
pub enum Trigger {
    /// Of a stage of this file: the number of the ONBUILD among all instructions.
    OfStage(usize, EvaluatedInstruction),
    /// Of an image: the Dockerfile that it is alone.
    OfImage(Box<Dockerfile>, EvaluatedInstruction),
}

impl Trigger {
    /// The instruction.
    pub fn evaluated(&self) -> &EvaluatedInstruction {
        match self {
            Self::OfStage(_, it) | Self::OfImage(_, it) => it,
        }
    }
}

impl Dockerfile {
    /// Replaces the variables for one build. Each stage is looked at, also if the target does not need it.
    pub fn evaluate(&self, input: &BuildInput<'_>) -> Evaluation {
        let mut problems = Problems::new(&self.text);
        let mut expander = Expander::new(self.escape);
        let layout = layout(self, input, &mut expander, &mut problems);
        let target = layout.target;
        let mut walk =
            Walk { file: self, input, layout: &layout, expander, environment: Environment::default() };
        let stages = walk.all(&mut problems);
        walk.expander.report(&mut problems);
        let (mistakes, notices) = problems.into_findings();
        Evaluation { stages, target, mistakes, notices }
    }
}

/// Goes through the stages, each after the one that it is made from, whose variables it begins with.
struct Walk<'w> {
    file: &'w Dockerfile,
    input: &'w BuildInput<'w>,
    layout: &'w Layout,
    expander: Expander,
    environment: Environment,
}

impl Walk<'_> {
    fn all(&mut self, problems: &mut Problems<'_>) -> Vec<EvaluatedStage> {
        let stages = &self.layout.stages;
        let mut made_from: Vec<Vec<usize>> = vec![Vec::new(); stages.len()];
        let mut open = Vec::new();
        for (number, stage) in stages.iter().enumerate() {
            match stage.base {
                StageBase::Stage(base) => made_from[base].push(number),
                _ => open.push((number, None)),
            }
        }
        let mut found: Vec<Option<EvaluatedStage>> = vec![None; stages.len()];
        while let Some((number, mark)) = open.pop() {
            if let Some(mark) = mark {
                self.environment.back_to(mark);
                continue;
            }
            open.push((number, Some(self.environment.mark())));
            problems.is_harmless = !stages[number].is_needed;
            found[number] = Some(self.stage(number, problems));
            problems.is_harmless = false;
            open.extend(made_from[number].iter().map(|stage| (*stage, None)));
        }
        found.into_iter().flatten().collect()
    }

    fn stage(&mut self, number: usize, problems: &mut Problems<'_>) -> EvaluatedStage {
        let (file, layout) = (self.file, &self.layout.stages[number]);
        match &layout.base {
            StageBase::Scratch => self.environment.set(PATH.0, &Expansion::Known(PATH.1.to_owned())),
            StageBase::Image(name) => self.image(name),
            StageBase::Stage(_) => self.environment.begin_stage(),
            StageBase::Broken => self.environment.forget(),
        }
        let mut triggers = Vec::new();
        for trigger in &layout.triggers {
            triggers.push(match &trigger.of_image {
                None => {
                    let Some(Instruction { kind: Kind::Onbuild(instruction), .. }) =
                        file.instructions.get(trigger.number)
                    else {
                        continue;
                    };
                    let evaluated = self.reader(problems).read(instruction, trigger.uses.clone());
                    Trigger::OfStage(trigger.number, evaluated)
                }
                Some(of_image) => {
                    let Some(instruction) = of_image.instructions.first() else { continue };
                    let mut own = Problems::new(&of_image.text);
                    let evaluated = self.reader(&mut own).read(instruction, trigger.uses.clone());
                    let (found, _) = own.into_findings();
                    self.report_of_image(number, found, problems);
                    Trigger::OfImage(of_image.clone(), evaluated)
                }
            });
        }
        let own = file.instructions_of(&file.stages[number]).iter().skip(1).zip(&layout.uses);
        let instructions =
            own.map(|(instruction, uses)| self.reader(problems).read(instruction, uses.clone())).collect();
        EvaluatedStage {
            base: layout.base.clone(),
            platform: layout.platform.clone(),
            is_needed: layout.is_needed,
            triggers,
            instructions,
        }
    }

    fn reader<'r, 't>(&'r mut self, problems: &'r mut Problems<'t>) -> ValueReader<'r, 't> {
        ValueReader {
            args: self.input.args,
            global: &self.layout.global,
            environment: &mut self.environment,
            expander: &mut self.expander,
            problems,
        }
    }

    /// Begins with the variables of an image; without its config all of them are unknown.
    fn image(&mut self, name: &str) {
        let Some(config) = self.input.images.get(name) else { return self.environment.forget() };
        let has_path = config.env.iter().any(|(name, _)| name == PATH.0);
        let usual = (!has_path).then(|| (PATH.0.to_owned(), PATH.1.to_owned()));
        for (name, value) in usual.iter().chain(&config.env) {
            self.environment.set(name, &Expansion::Known(value.clone()));
        }
    }

    /// What is wrong in an instruction of an image is said of the stage that is made from it.
    fn report_of_image(&self, stage: usize, found: Vec<Mistake>, problems: &mut Problems<'_>) {
        let from = self.file.instructions_of(&self.file.stages[stage]).first();
        for Mistake { text, hint, .. } in found {
            let text = format!("in an ONBUILD instruction of the base image: {text}");
            problems.mistake(from.map_or(0, |from| from.span.start), "FROM", Message { text, hint });
        }
    }
}
