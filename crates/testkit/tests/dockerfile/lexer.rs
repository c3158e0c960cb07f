//! Whether words become what BuildKit's lexer makes of them: as one value (USER), as several (EXPOSE), and as the body of a
//! heredoc (COPY).

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use bakery_core::dockerfile::{
    self, BaseConfig, BuildInput, Dockerfile, EvaluatedInstruction, Expansion, Instruction, Kind,
};

use crate::oracle::{LexedValue, LexedWord, LexedWords, Question};

/// The variables.
const ENV: &[(&str, &str)] = &[
    ("A", "a"),
    ("B", ""),
    ("PATH", "/usr/bin:/bin"),
    ("v_1", "x y  z"),
    ("TARGETARCH", "$A \"q\" *?\\"),
    ("ü", "ü"),
];

/// A file with one word in three places.
pub(crate) struct Probe {
    file: Dockerfile,
    /// What the lexer is asked about, each with how it is read.
    texts: Vec<(String, Mode)>,
}

#[derive(Debug, Clone, Copy)]
enum Mode {
    Value,
    Words,
    Body,
}

impl Probe {
    /// `None` if the word cannot stand in all places.
    pub(crate) fn new(word: &str, escape: char) -> Option<Self> {
        let text = format!(
            "# escape={escape}\nFROM base\nUSER {word}\nEXPOSE {word}\nCOPY <<E_N_D /x\n{word}\nE_N_D\n"
        );
        let file = dockerfile::read("Dockerfile", text.as_bytes());
        let [_, user, expose, copy] = &file.instructions[..] else { return None };
        let mut texts = Vec::new();
        match (&user.kind, &expose.kind, &copy.kind) {
            (Kind::User(word), Kind::Expose(words), Kind::Copy(_)) if !copy.heredocs.is_empty() => {
                texts.push((word.text.clone(), Mode::Value));
                texts.extend(words.iter().map(|word| (word.text.clone(), Mode::Words)));
                texts.push((copy.heredocs[0].content(&file.text), Mode::Body));
            }
            _ => return None,
        }
        Some(Self { file, texts })
    }

    pub(crate) fn question(&self) -> Question {
        Question {
            words: self.texts.iter().map(|(text, _)| text.clone()).collect(),
            escape: self.file.escape.to_string(),
            env: ENV.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            ..Question::default()
        }
    }

    /// What is different.
    pub(crate) fn differences(&self, answers: &[LexedWord]) -> Result<Vec<String>> {
        let env = ENV.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let images = BTreeMap::from([("base".to_owned(), BaseConfig { env, onbuild: Vec::new() })]);
        let evaluation = self.file.evaluate(&BuildInput {
            args: &BTreeMap::new(),
            target: None,
            target_platform: "linux/amd64",
            build_platform: "linux/amd64",
            images: &images,
        });
        let ours = self.ours(&evaluation.stages.first().context("a stage")?.instructions);
        let mut found = Vec::new();
        for (((text, mode), answer), own) in self.texts.iter().zip(answers).zip(ours) {
            let (error, value) = match (mode, answer) {
                (Mode::Value, LexedWord { value: LexedValue { text, error }, .. })
                | (Mode::Body, LexedWord { body: LexedValue { text, error }, .. }) => (error, text.clone()),
                (Mode::Words, LexedWord { words: LexedWords { words, error }, .. }) => {
                    (error, words.join(" "))
                }
            };
            let theirs = error.is_empty().then_some(value);
            if own != theirs {
                found.push(format!("{text:?} {mode:?}: {own:?}, BuildKit: {theirs:?} {error}"));
            }
        }
        Ok(found)
    }

    fn ours(&self, evaluated: &[EvaluatedInstruction]) -> Vec<Option<String>> {
        let own = self.file.instructions.iter().skip(1).zip(evaluated);
        let value = |expansion: Option<&Expansion>| expansion.and_then(Expansion::known).map(str::to_owned);
        own.flat_map(|(Instruction { kind, heredocs, .. }, evaluated)| match kind {
            Kind::User(word) => vec![value(evaluated.expansion(word.span))],
            Kind::Expose(words) => words.iter().map(|word| value(evaluated.expansion(word.span))).collect(),
            _ => vec![value(evaluated.expansion(heredocs[0].body))],
        })
        .collect()
    }
}
