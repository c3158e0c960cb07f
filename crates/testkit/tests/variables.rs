//! The variables of the ladder: the scripts set what `bakery_testkit::vars` declares, and no test reads any other.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Result, ensure};
use bakery_testkit::repository::{files, read, shown};
use bakery_testkit::vars::ALL;

/// What the names of these variables begin with. Put together here so that this file names none.
const PREFIX: &str = concat!("BAKERY", "_TEST_");

/// The names of such variables in a text, each with what follows it.
fn named(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.match_indices(PREFIX).map(|(at, _)| {
        let rest = &text[at..];
        let end = rest.find(|it: char| !it.is_ascii_uppercase() && !it.is_ascii_digit() && it != '_');
        rest.split_at(end.unwrap_or(rest.len()))
    })
}

fn declared() -> BTreeSet<&'static str> {
    ALL.iter().map(|variable| variable.name).collect()
}

#[test]
fn the_scripts_set_exactly_the_declared_variables() -> Result<()> {
    let declared = declared();
    let (mut set, mut unknown) = (BTreeSet::new(), Vec::new());
    for file in files("scripts")? {
        let text = fs::read_to_string(&file)?;
        for (name, rest) in named(&text) {
            if !declared.contains(name) {
                unknown.push(format!("{}: {name}", shown(&file)));
            }
            if rest.starts_with('=') {
                set.insert(name.to_owned());
            }
        }
    }
    ensure!(unknown.is_empty(), "crates/testkit/src/vars.rs does not declare:\n{}", unknown.join("\n"));
    let unset: Vec<_> = declared.iter().filter(|name| !set.contains(**name)).collect();
    ensure!(unset.is_empty(), "no script sets {unset:?}");
    Ok(())
}

#[test]
fn tests_read_a_variable_by_its_declaration_alone() -> Result<()> {
    let mut wrong = Vec::new();
    let mut sources = String::new();
    for folder in ["src", "tests", "benches"] {
        for file in files(&format!("crates/testkit/{folder}"))? {
            if file.ends_with("src/vars.rs") {
                continue;
            }
            let text = fs::read_to_string(&file)?;
            wrong.extend(named(&text).map(|(name, _)| format!("{}: {name}", shown(&file))));
            sources += &text;
        }
    }
    ensure!(wrong.is_empty(), "use the constants of bakery_testkit::vars:\n{}", wrong.join("\n"));
    let uses = sources.split("vars::").skip(1);
    let read: BTreeSet<_> = uses
        .filter_map(|text| text.split(|it: char| !it.is_ascii_alphanumeric() && it != '_').next())
        .collect();
    let unread: Vec<_> =
        declared().into_iter().filter(|name| !read.contains(name.trim_start_matches(PREFIX))).collect();
    ensure!(unread.is_empty(), "no test reads {unread:?}");
    Ok(())
}

#[test]
fn every_rung_of_a_variable_is_one_of_the_ladders() -> Result<()> {
    let script = read("scripts/test")?;
    let rungs: BTreeSet<&str> = script
        .lines()
        .filter_map(|line| line.strip_prefix("rung_")?.split_once("()"))
        .map(|it| it.0)
        .collect();
    ensure!(rungs.contains("e2e"), "no rungs found in scripts/test: {rungs:?}");
    for variable in ALL {
        let wrong: Vec<_> =
            variable.rungs.iter().filter(|rung| **rung != "bench" && !rungs.contains(**rung)).collect();
        ensure!(wrong.is_empty(), "{}: {wrong:?}", variable.name);
        ensure!(!variable.rungs.is_empty() && !variable.meaning.is_empty(), "{}", variable.name);
    }
    Ok(())
}
