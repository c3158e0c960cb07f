//! What BuildKit reads in a Dockerfile (scripts/dockerfile/main.go).

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::vars;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// A Dockerfile with what its build is given, or words for the lexer.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Question {
    #[serde(serialize_with = "base64")]
    pub(crate) text: Vec<u8>,
    /// Whether the image is asked for too.
    pub(crate) build: bool,
    pub(crate) args: BTreeMap<String, String>,
    pub(crate) target: String,
    pub(crate) platform: String,
    /// What every base image sets.
    pub(crate) env: Vec<String>,
    pub(crate) onbuild: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) words: Vec<String>,
    pub(crate) escape: String,
}

fn base64<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

/// What BuildKit says.
#[derive(Debug, Deserialize)]
pub(crate) struct OracleAnswer {
    #[serde(deserialize_with = "or_default")]
    pub(crate) directives: Vec<OracleDirective>,
    pub(crate) syntax: Option<OracleDirective>,
    pub(crate) escape: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) mistakes: Vec<OracleMistake>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) instructions: Vec<OracleInstruction>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) stages: Vec<Value>,
    pub(crate) image: Option<Image>,
    pub(crate) build_error: Option<OracleMistake>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) words: Vec<LexedWord>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct OracleDirective {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) line: usize,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct OracleMistake {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) text: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct OracleInstruction {
    pub(crate) keyword: String,
    pub(crate) start: usize,
    pub(crate) end: usize,
    #[serde(deserialize_with = "or_default")]
    pub(crate) flags: Vec<String>,
    pub(crate) heredocs: Value,
    pub(crate) detail: Value,
}

/// The image of a build.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Image {
    #[serde(deserialize_with = "or_default")]
    pub(crate) history: Vec<String>,
}

/// What the lexer makes of a word: as one value, as words, and as the body of a heredoc.
#[derive(Debug, Deserialize)]
pub(crate) struct LexedWord {
    pub(crate) value: LexedValue,
    pub(crate) words: LexedWords,
    pub(crate) body: LexedValue,
}

#[derive(Debug, Deserialize)]
pub(crate) struct LexedValue {
    pub(crate) text: String,
    pub(crate) error: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct LexedWords {
    #[serde(deserialize_with = "or_default")]
    pub(crate) words: Vec<String>,
    pub(crate) error: String,
}

/// Go writes an empty list as `null`.
fn or_default<'d, D: Deserializer<'d>, T: Deserialize<'d> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Asks about all of them.
pub(crate) fn ask(questions: &[Question]) -> Result<Vec<OracleAnswer>> {
    let mut input = Vec::new();
    for question in questions {
        serde_json::to_writer(&mut input, question)?;
        input.push(b'\n');
    }
    let mut child = Command::new(vars::DOCKERFILE.required())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("BuildKit's parser")?;
    let mut stdin = child.stdin.take().context("standard input")?;
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "BuildKit's parser: {}", output.status);
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    let answers = serde_json::Deserializer::from_slice(&output.stdout)
        .into_iter()
        .collect::<Result<Vec<OracleAnswer>, _>>()?;
    ensure!(answers.len() == questions.len(), "{} answers for {} questions", answers.len(), questions.len());
    Ok(answers)
}
