//! The corpus of Compose files: Bakery builds what Compose builds, or refuses it for a documented reason.

mod compare;
mod corpus;
mod programs;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context as _, Result, ensure};
use bakery_core::compose::SECTIONS;
use bakery_testkit::repository;
use serde_yaml::Value;

use crate::compare::differences;
use crate::corpus::{Case, Expected};
use crate::programs::{CaseFolder, ComposeAnswer, Plan, bakery, compose};

/// How many cases there are at least.
const LEAST: usize = 150;

#[test]
fn bakery_builds_what_compose_builds_or_refuses_it_for_a_documented_reason() -> Result<()> {
    let cases = corpus::all()?;
    let place = tempfile::tempdir()?;
    let place = place.path().canonicalize()?;
    let mut projects = Vec::new();
    for case in &cases {
        let folder = place.join(&case.name);
        fs::create_dir(&folder)?;
        case.write(&folder).with_context(|| case.source.clone())?;
        projects.push(CaseFolder { case, folder });
    }
    let page = repository::read("docs/reference/compose.md")?;
    let (mut outcomes, mut wrong) = (Vec::new(), Vec::new());
    for (project, answer) in projects.iter().zip(compose(&projects)?) {
        let case = project.case;
        let plan = bakery(project).with_context(|| case.source.clone())?;
        match judge(case, &answer, &plan, &page)? {
            Ok(outcome) => outcomes.push((case, outcome, answer.services.is_some(), plan.document.is_some())),
            Err(problem) => wrong.push(format!("{}: {}: {problem}", case.source, case.name)),
        }
    }
    ensure!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    summary(&outcomes);
    Ok(())
}

/// The kind of a case that is as expected; or what is wrong with it.
fn judge(
    case: &Case,
    answer: &ComposeAnswer,
    plan: &Plan,
    page: &str,
) -> Result<Result<&'static str, String>> {
    let cache = case.args.iter().any(|arg| arg == "--config");
    let refusal = plan.document.is_none().then_some(plan.messages.as_str());
    let difference = match (&answer.services, refusal) {
        (Some(services), None) => differences(services, plan, cache)?.join("; "),
        (Some(_), Some(messages)) => format!("only Bakery refuses it: {messages}"),
        (None, None) => format!("only Compose refuses it: {}", answer.error),
        (None, Some(_)) => String::new(),
    };
    let by_compose = answer.services.is_none();
    if let Expected::RefusedByBoth { compose, .. } | Expected::Accepted { compose, .. } = &case.expected
        && by_compose
        && !answer.error.contains(compose)
    {
        return Ok(Err(format!("Compose refuses it, but not with `{compose}`: {}", answer.error)));
    }
    Ok(match &case.expected {
        Expected::Equal => match (&answer.services, difference.as_str()) {
            (None, _) => Err(format!("Compose refuses it: {}", answer.error)),
            (Some(services), "") if services.is_empty() => Err("Compose builds nothing".to_owned()),
            (Some(_), "") => Ok("equal"),
            (Some(_), difference) => Err(difference.to_owned()),
        },
        Expected::Refused { message, page: documented } => match refusal {
            _ if by_compose => Err(format!("Compose refuses it too: {}", answer.error)),
            _ if !page.contains(documented) => {
                Err(format!("docs/reference/compose.md has no `{documented}`"))
            }
            Some(messages) if messages.contains(message) => Ok("refused and documented"),
            Some(messages) => Err(format!("refused, but not with `{message}`: {messages}")),
            None => Err(format!("Bakery does not refuse it. {difference}")),
        },
        Expected::RefusedByBoth { message, .. } => match refusal {
            _ if !by_compose => Err(format!("Compose accepts it. {difference}")),
            Some(messages) if messages.contains(message) => Ok("refused by both"),
            Some(messages) => Err(format!("refused, but not with `{message}`: {messages}")),
            None => Err(difference),
        },
        Expected::Accepted { .. } => match refusal {
            _ if !by_compose => Err(format!("Compose accepts it. {difference}")),
            Some(messages) => Err(format!("Bakery refuses it too: {messages}")),
            None => Ok("accepted where Compose refuses"),
        },
    })
}

/// Prints how many cases there are of each kind. Of each: whether Compose accepts it, and whether Bakery does.
fn summary(outcomes: &[(&Case, &str, bool, bool)]) {
    let mut kinds =
        BTreeMap::from(["equal", "refused and documented", "refused by both"].map(|kind| (kind, 0)));
    for (_, kind, ..) in outcomes {
        *kinds.entry(kind).or_default() += 1;
    }
    for (kind, count) in kinds {
        println!("{count:4} {kind}");
    }
    let by_compose = outcomes.iter().filter(|(_, _, compose, _)| *compose).count();
    let by_both = outcomes.iter().filter(|(_, _, compose, bakery)| *compose && *bakery).count();
    let percent = 100 * by_both / by_compose.max(1);
    let all = outcomes.len();
    println!("{all} cases; Compose accepts {by_compose}, of which Bakery accepts {by_both} ({percent} %)");
}

#[test]
fn the_corpus_is_large_and_every_name_is_used_once() -> Result<()> {
    let cases = corpus::all()?;
    ensure!(cases.len() >= LEAST, "{} cases", cases.len());
    let mut names = BTreeSet::new();
    for case in &cases {
        ensure!(names.insert(&case.name), "{}: there is another `{}`", case.source, case.name);
        let is_plain = case.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        ensure!(is_plain, "{}: `{}` is the name of a folder", case.source, case.name);
    }
    Ok(())
}

#[test]
fn the_corpus_has_every_attribute() -> Result<()> {
    let mut seen = BTreeSet::new();
    for (_, text) in corpus::all()?.iter().flat_map(|case| &case.files) {
        let Ok(file) = serde_yaml::from_str::<Value>(text) else { continue };
        let services = file.get("services").and_then(Value::as_mapping);
        for service in services.into_iter().flat_map(|services| services.values()) {
            let build = service.get("build");
            let bake = build.and_then(|build| build.get("x-bake"));
            for (path, section) in [("", Some(service)), ("build", build), ("build.x-bake", bake)] {
                let keys = section.and_then(Value::as_mapping).into_iter().flat_map(|section| section.keys());
                seen.extend(keys.filter_map(|key| Some((path, key.as_str()?.to_owned()))));
            }
        }
    }
    let all = SECTIONS
        .iter()
        .flat_map(|(path, attributes)| attributes.iter().map(|it| (*path, it.name.to_owned())));
    let missing: Vec<_> = all.filter(|attribute| !seen.contains(attribute)).collect();
    ensure!(missing.is_empty(), "no case has {missing:?}");
    Ok(())
}
