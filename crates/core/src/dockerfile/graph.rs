//! Which stages need which others.

use std::collections::{BTreeSet, HashMap};

use crate::dockerfile::problems::Problems;
use crate::dockerfile::text::Span;
use crate::message::Message;
use crate::report::{nearest, shown};

/// What a stage is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageBase {
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image.
    Image(String),
    /// Its FROM has a mistake.
    Broken,
}

/// Where `COPY --from` and `RUN --mount=from=` take files from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceStage {
    /// A stage.
    Stage(usize),
    /// An image, or a named context.
    Image(String),
    /// Nothing: `scratch`.
    Scratch,
}

/// A use of the files of a stage or an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageUse {
    /// What is used.
    pub source: SourceStage,
    /// The name as it is written.
    pub name: String,
    /// Where the name is written.
    pub span: Span,
}

/// The names of stages.
#[derive(Debug, Default)]
pub(super) struct StageNames {
    by_name: HashMap<String, usize>,
    count: usize,
}

impl StageNames {
    /// Adds the next stage. If two have the same name, the later one counts.
    pub(super) fn add(&mut self, name: Option<&str>) {
        if let Some(name) = name {
            self.by_name.insert(name.to_owned(), self.count);
        }
        self.count += 1;
    }

    /// The stage of a FROM, whose name has to be written in lower case.
    pub(super) fn base(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The stage with this name, in any case.
    pub(super) fn get(&self, name: &str) -> Option<usize> {
        self.by_name.get(&name.to_lowercase()).copied()
    }

    /// What a mount names.
    pub(super) fn of_mount(&self, name: &str) -> SourceStage {
        match self.get(name) {
            Some(stage) => SourceStage::Stage(stage),
            None if name == "scratch" => SourceStage::Scratch,
            None => SourceStage::Image(name.to_owned()),
        }
    }

    /// What `COPY --from` names: also a number.
    pub(super) fn of_copy(&self, name: &str) -> Result<SourceStage, Message> {
        let Ok(number) = name.parse::<i64>() else { return Ok(self.of_mount(name)) };
        match usize::try_from(number) {
            Ok(stage) if stage < self.count => Ok(SourceStage::Stage(stage)),
            _ => {
                let text = format!("there is no stage {number}");
                Err(Message::new(text).with_hint(format!("stages are 0 to {}", self.count.saturating_sub(1))))
            }
        }
    }

    /// The stage that a build is for: the last one, one with this name, or one with this number.
    pub(super) fn target(&self, name: Option<&str>) -> Result<usize, Message> {
        let last = self.count.saturating_sub(1);
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(last) };
        let number = || name.parse().ok().filter(|stage| *stage < self.count);
        self.get(name).or_else(number).ok_or_else(|| {
            let known: Vec<&str> = self.by_name.keys().map(String::as_str).collect();
            let message = Message::new(format!("there is no stage `{}`", shown(name)));
            match nearest(name, &known) {
                Some(known) => message.with_hint(format!("did you mean `{known}`?")),
                None => message,
            }
        })
    }
}

/// Which stages a stage needs.
pub(super) struct StageGraph {
    /// The base of each stage.
    pub(super) bases: Vec<Option<usize>>,
    /// The stages whose files each uses, and where.
    pub(super) uses: Vec<Vec<(usize, Span)>>,
    /// The same for the ONBUILD instructions that run in it.
    pub(super) by_triggers: Vec<Vec<(usize, Span)>>,
}

impl StageGraph {
    /// The stages without which the target cannot be built, itself included.
    pub(super) fn needed(&self, target: usize) -> Vec<bool> {
        let mut needed = vec![false; self.bases.len()];
        let mut open = vec![target];
        while let Some(stage) = open.pop() {
            if needed.get(stage).is_none_or(|known| *known) {
                continue;
            }
            needed[stage] = true;
            open.extend(self.bases[stage]);
            open.extend(self.uses[stage].iter().chain(&self.by_triggers[stage]).map(|(used, _)| *used));
        }
        needed
    }

    /// Reports uses that wait for each other, and stages that are used before they are there.
    pub(super) fn check(
        &self,
        needed: &[bool],
        names: &dyn Fn(usize) -> String,
        problems: &mut Problems<'_>,
    ) {
        let component = self.components();
        let mut circles = BTreeSet::new();
        for (stage, uses) in self.uses.iter().enumerate() {
            for (used, span) in uses.iter().filter(|(used, _)| *used >= stage) {
                if component[stage] != component[*used] {
                    problems.is_harmless = !needed[stage];
                    problems.mistake(span.start, "", not_there(&names(*used)));
                    problems.is_harmless = false;
                } else if *used == stage {
                    problems.mistake(span.start, "", format!("the stage {} uses itself", names(stage)));
                } else if circles.insert(component[stage]) {
                    let text = format!("the stages {} and {} need each other", names(stage), names(*used));
                    problems.mistake(span.start, "", text);
                }
            }
        }
        // What a stage has so far, an ONBUILD instruction in it may use.
        for (stage, uses) in self.by_triggers.iter().enumerate() {
            for (used, span) in uses.iter().filter(|(used, _)| *used > stage) {
                problems.is_harmless = !needed[stage];
                problems.mistake(span.start, "ONBUILD", not_there(&names(*used)));
                problems.is_harmless = false;
            }
        }
    }

    /// For each stage, a number that it has in common with those that it needs and that need it, by uses alone (Tarjan's
    /// algorithm, without recursion).
    fn components(&self) -> Vec<usize> {
        const NEW: usize = usize::MAX;
        let count = self.uses.len();
        let (mut index, mut low, mut component) = (vec![NEW; count], vec![0; count], vec![NEW; count]);
        let (mut next, mut open, mut calls) = (0, Vec::new(), Vec::new());
        for root in 0..count {
            if index[root] != NEW {
                continue;
            }
            calls.push((root, 0));
            while let Some((stage, at)) = calls.pop() {
                if at == 0 && index[stage] == NEW {
                    (index[stage], low[stage]) = (next, next);
                    next += 1;
                    open.push(stage);
                }
                if let Some((used, _)) = self.uses[stage].get(at) {
                    calls.push((stage, at + 1));
                    if index[*used] == NEW {
                        calls.push((*used, 0));
                    } else if component[*used] == NEW {
                        low[stage] = low[stage].min(index[*used]);
                    }
                    continue;
                }
                if low[stage] == index[stage] {
                    while let Some(member) = open.pop() {
                        component[member] = stage;
                        if member == stage {
                            break;
                        }
                    }
                }
                if let Some((caller, _)) = calls.last() {
                    low[*caller] = low[*caller].min(low[stage]);
                }
            }
        }
        component
    }
}

fn not_there(stage: &str) -> Message {
    Message::new(format!("the stage {stage} is used before it is there"))
        .with_hint("move that stage up, above this one")
}
