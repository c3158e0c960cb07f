//! Ignore files: Bakery sends what BuildKit sends.

mod cases;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use bakery_context::{ContextFolder, Listed, SourceTree, UnpackLimits, apply_ignore, list, pack, unpack};
use bakery_testkit::vars;
use serde::{Deserialize, Serialize};

use crate::cases::IgnoreCase;

/// The file that Bakery reads the rules from. It always keeps it, so it is compared with nothing.
const FILE: &str = ".dockerignore";

/// A folder, and the text of its ignore file, as scripts/ignore/main.go reads them.
#[derive(Serialize)]
struct WalkQuestion<'a> {
    folder: &'a Path,
    ignore: &'a str,
}

/// What BuildKit's walk sends.
#[derive(Debug, Deserialize)]
struct WalkAnswer {
    #[serde(default)]
    error: String,
    sent: Option<BTreeSet<String>>,
}

#[test]
fn bakery_sends_what_buildkits_walk_sends() -> Result<()> {
    let program = vars::IGNORE.required();
    let (written, paired, generated) = (cases::written()?, cases::paired(), cases::generated()?);
    println!("{} written, {} paired, {} generated", written.len(), paired.len(), generated.len());
    let cases: Vec<IgnoreCase> = [written, paired, generated].concat();
    let place = tempfile::tempdir()?;
    let place = place.path().canonicalize()?;
    let mut folders = Vec::new();
    for (nth, case) in cases.iter().enumerate() {
        let folder = place.join(nth.to_string());
        fs::create_dir(&folder)?;
        case.write(&folder)?;
        folders.push(folder);
    }
    let (mut wrong, mut refused) = (Vec::new(), 0);
    for ((case, folder), answer) in cases.iter().zip(&folders).zip(answers(&program, &cases, &folders)?) {
        refused += usize::from(answer.sent.is_none());
        if let Err(problem) = judge(case, folder, &answer) {
            wrong.push(format!("{:?} in {:?}: {problem:#}", case.ignore, case.paths));
        }
    }
    ensure!(wrong.is_empty(), "{} of {} folders:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    println!("{} folders, {refused} of them with rules that are refused: all equal", cases.len());
    Ok(())
}

/// Asks BuildKit's walk about all folders.
fn answers(program: &str, cases: &[IgnoreCase], folders: &[PathBuf]) -> Result<Vec<WalkAnswer>> {
    let mut questions = Vec::new();
    for (case, folder) in cases.iter().zip(folders) {
        serde_json::to_writer(&mut questions, &WalkQuestion { folder, ignore: &case.ignore })?;
    }
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("BuildKit's walk")?;
    let mut input = child.stdin.take().context("standard input")?;
    // It answers while it reads.
    let asking = thread::spawn(move || input.write_all(&questions));
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "BuildKit's walk: {}", output.status);
    asking.join().map_err(|_| anyhow::anyhow!("the thread that asks panicked"))??;
    let answers = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    let answers = answers.collect::<Result<Vec<WalkAnswer>, _>>()?;
    ensure!(answers.len() == cases.len(), "{} answers for {} folders", answers.len(), cases.len());
    Ok(answers)
}

/// Compares what the client packs, and what an agent leaves of a folder, with an answer.
fn judge(case: &IgnoreCase, folder: &Path, answer: &WalkAnswer) -> Result<()> {
    fs::write(folder.join(FILE), &case.ignore)?;
    let context = ContextFolder { path: ".".to_owned(), dockerfile: None };
    let source = SourceTree { git: true, ..SourceTree::new(folder, std::slice::from_ref(&context)) };
    let mut listed = BTreeSet::new();
    let walked = list(&source, &mut |entry| {
        if let Listed::Folder { path } | Listed::File { path, .. } = entry {
            listed.insert(path);
        }
        Ok(())
    });
    let Some(sent) = &answer.sent else {
        ensure!(walked.is_err(), "only BuildKit refuses it: {}", answer.error);
        ensure!(
            case.expected.as_ref().is_none_or(|expected| expected == &["ERROR"]),
            "the table has no ERROR"
        );
        return Ok(());
    };
    walked?;
    let same = |what: &str, mut paths: BTreeSet<String>| {
        paths.remove(FILE);
        ensure!(&paths == sent, "BuildKit sends {sent:?}, {what} {paths:?}");
        Ok(())
    };
    same("the client lists", listed)?;
    if let Some(expected) = &case.expected {
        let excluded: Vec<_> = case.paths.iter().filter(|path| !sent.contains(*path)).collect();
        ensure!(excluded.iter().eq(&expected.iter().collect::<Vec<_>>()), "BuildKit leaves out {excluded:?}");
        let (mut blob, unpacked) = (Vec::new(), tempfile::tempdir()?);
        pack(&source, &mut blob, 1)?;
        unpack(blob.as_slice(), unpacked.path(), &UnpackLimits::default())?;
        same("the client packs", tree(unpacked.path())?)?;
    }
    apply_ignore(folder, &context)?;
    same("the agent leaves", tree(folder)?)
}

/// All paths below a folder; folders end in a slash.
fn tree(root: &Path) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    let mut folders = vec![String::new()];
    while let Some(below) = folders.pop() {
        for entry in fs::read_dir(root.join(&below))? {
            let entry = entry?;
            let name = entry.file_name().into_string().ok().context("a name that is not UTF-8")?;
            let mut path = format!("{below}{name}");
            if entry.file_type()?.is_dir() {
                path.push('/');
                folders.push(path.clone());
            }
            all.insert(path);
        }
    }
    Ok(all)
}
