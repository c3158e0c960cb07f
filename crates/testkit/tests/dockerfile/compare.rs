//! Whether Bakery reads what BuildKit reads.

use bakery_core::dockerfile::{self, Dockerfile, Instruction, Kind};
use serde_json::{Value, json};

use crate::dump;
use crate::oracle::{OracleAnswer, OracleDirective, OracleInstruction};

/// What Bakery refuses although BuildKit reads it, by a part of its message, with the reason.
pub(crate) const STRICTER: &[(&str, &str)] = &[
    ("is a NUL byte", "a program cannot be given one"),
    (
        "is not ASCII",
        "BuildKit takes each byte of a flag for a character: what it reads is not what was written",
    ),
    ("nested deeper than", "BuildKit has no limit"),
    ("the file has more than", "BuildKit has no limit"),
    ("the file is UTF-16", "BuildKit finds an unknown instruction"),
];

/// The mistake that is not about an instruction.
const NO_STAGE: &str = "there is no FROM";

/// How a file was judged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Both read the same.
    Equal { with_mistakes: bool },
    /// Bakery refuses it for a documented reason.
    Stricter(&'static str),
    /// What is different.
    Different(String),
}

/// Whether one of these bytes is not part of a character.
fn has_blank_byte(bytes: &[u8]) -> bool {
    bytes.utf8_chunks().any(|chunk| chunk.invalid().iter().any(|byte| matches!(byte, 0x85 | 0xA0)))
}

/// Compares the tree and the mistakes.
pub(crate) fn judge(file: &Dockerfile, answer: &OracleAnswer) -> Judgement {
    if has_blank_byte(file.text.as_bytes()) {
        return Judgement::Stricter("BuildKit takes the bytes 85 and A0 for blanks before arguments");
    }
    for mistake in &file.mistakes {
        if let Some((_, reason)) = STRICTER.iter().find(|(text, _)| mistake.text.contains(text)) {
            return Judgement::Stricter(reason);
        }
    }
    let found = differences(file, answer);
    if found.is_empty() {
        Judgement::Equal { with_mistakes: !file.mistakes.is_empty() }
    } else {
        Judgement::Different(found.join("\n"))
    }
}

fn differences(file: &Dockerfile, answer: &OracleAnswer) -> Vec<String> {
    let mut found = Vec::new();
    let wrong_directive = file.mistakes.iter().any(|it| {
        it.text.starts_with("the directive") || it.text.ends_with("is not a valid escape character")
    });
    mistakes(file, answer, wrong_directive, &mut found);
    if wrong_directive || has_misspelt_stage(file) {
        return found;
    }
    let directives: Vec<_> = file.directives.iter().map(|it| directive(file, it)).collect();
    if directives != answer.directives {
        found.push(format!("directives: {directives:?}, BuildKit: {:?}", answer.directives));
    }
    let syntax = file.syntax.as_ref().map(|it| directive(file, it));
    // BuildKit also reads it from a file that is one JSON object.
    if syntax != answer.syntax && !file.text.as_bytes().trim_ascii_start().starts_with(b"{") {
        found.push(format!("syntax: {syntax:?}, BuildKit: {:?}", answer.syntax));
    }
    if !answer.escape.is_empty() && answer.escape != file.escape.to_string() {
        found.push(format!("escape: {}, BuildKit: {}", file.escape, answer.escape));
    }
    let last = last_compared(file);
    let is_right = |it: &&Instruction| {
        let lines = it.lines.0..=it.lines.1;
        it.lines.0 <= last
            && !file
                .mistakes
                .iter()
                .any(|mistake| lines.contains(&mistake.location.line) && mistake.text != NO_STAGE)
    };
    let ours = file.instructions.iter().filter(is_right).map(|it| dump::instruction(file, it));
    let ours: Vec<OracleInstruction> = ours.collect();
    // A FROM with a mistake is another FROM for the oracle.
    let is_put_there = |line: usize| answer.mistakes.iter().any(|it| it.start == line);
    let theirs: Vec<OracleInstruction> = answer
        .instructions
        .iter()
        .filter(|it| it.start <= last && !is_put_there(it.start))
        .cloned()
        .map(|mut it| {
            if let Value::Object(fields) = &mut it.detail {
                fields.remove("mounts");
                if let Some(Value::Object(fields)) = fields.get_mut("detail") {
                    fields.remove("mounts");
                }
                if fields.get("flags").is_some_and(Value::is_null) {
                    fields.insert("flags".to_owned(), json!([]));
                }
            }
            it
        })
        .collect();
    if ours.len() != theirs.len() {
        found.push(format!("{} instructions, BuildKit: {}", ours.len(), theirs.len()));
    }
    for (own, other) in ours.iter().zip(&theirs).filter(|(own, other)| own != other) {
        found.push(format!("instruction:\n  {own:?}\n  BuildKit: {other:?}"));
    }
    if file.mistakes.is_empty() {
        let stages: Vec<Value> = file.stages.iter().map(|stage| of_stage(file, stage)).collect();
        if stages != answer.stages {
            found.push(format!("stages: {stages:?}, BuildKit: {:?}", answer.stages));
        }
    }
    found
}

fn directive(file: &Dockerfile, it: &dockerfile::Directive) -> OracleDirective {
    let line = file.text.position(it.span.start).line;
    OracleDirective { name: it.name.clone(), value: it.value.clone(), line }
}

fn of_stage(file: &Dockerfile, stage: &dockerfile::BuildStage) -> Value {
    let from = &file.instructions_of(stage)[0];
    let base = match &from.kind {
        Kind::From { base, .. } => base.text.as_str(),
        _ => "",
    };
    let platform = from.flag_values("platform").next().map(|word| word.text.as_str());
    json!({
        "name": stage.name.as_deref().unwrap_or_default(), "base": base, "platform": platform.unwrap_or_default(),
        "line": from.lines.0,
    })
}

/// The line of a misspelt instruction whose heredocs Bakery leaves out, where BuildKit reads instructions: what follows
/// is not compared.
fn last_compared(file: &Dockerfile) -> usize {
    let skipping = file.instructions.iter().find(|it| {
        let is_unknown = file.mistakes.iter().any(|mistake| {
            mistake.location.line == it.lines.0 && mistake.text.ends_with("is not an instruction")
        });
        is_unknown && it.lines.1 > it.lines.0
    });
    skipping.map_or(usize::MAX, |it| it.lines.0)
}

/// Whether an unknown instruction stands before the first stage. Bakery may take it for that stage.
fn has_misspelt_stage(file: &Dockerfile) -> bool {
    let first =
        file.instructions.iter().position(|it| it.name() == "FROM").unwrap_or(file.instructions.len());
    let before = &file.instructions[..first];
    file.mistakes.iter().any(|mistake| {
        mistake.text.ends_with("is not an instruction")
            && before.iter().any(|it| (it.lines.0..=it.lines.1).contains(&mistake.location.line))
    })
}

/// Mistakes that follow from another one.
fn is_about_stages(text: &str) -> bool {
    [
        "there is no stage",
        NO_STAGE,
        "no build stage in current context",
        "file with no instructions",
        "no stages",
    ]
    .iter()
    .any(|known| text.contains(known))
}

/// Each mistake of one must be one of the other, on the same lines.
fn mistakes(file: &Dockerfile, answer: &OracleAnswer, first_only: bool, found: &mut Vec<String>) {
    let misspelt = has_misspelt_stage(file);
    let last = last_compared(file);
    for mistake in file.mistakes.iter().filter(|mistake| mistake.location.line <= last) {
        let line = mistake.location.line;
        let is_theirs = answer
            .mistakes
            .iter()
            .any(|it| (it.start..=it.end).contains(&line) || (it.start == 0 && mistake.text == NO_STAGE));
        let is_known = is_theirs || misspelt && is_about_stages(&mistake.text);
        if !is_known {
            found.push(format!("only Bakery finds a mistake: {mistake}"));
        }
        if first_only {
            break;
        }
    }
    for it in answer.mistakes.iter().filter(|it| it.start <= last) {
        let is_ours = file.mistakes.iter().any(|mistake| {
            (it.start..=it.end).contains(&mistake.location.line)
                || (it.start == 0 && mistake.text == NO_STAGE)
        });
        let is_known = is_ours || misspelt && is_about_stages(&it.text);
        if !is_known {
            found.push(format!("only BuildKit finds a mistake: {it:?}"));
        }
        if first_only {
            break;
        }
    }
}
