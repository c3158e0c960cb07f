//! The permissions on AWS are written three times: the policies that Terraform attaches, the tables of
//! docs/aws.md, and those of the README. They must agree.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::repository::read;
use serde_json::Value;

type Actions = BTreeSet<String>;

/// A row with this note lists a right for a later version, which no policy grants.
const UNUSED: &str = "not used by this version, in no policy file";

/// The actions of a policy: those of its extras, or the others.
fn policy(name: &str, extras: bool) -> Result<Actions> {
    let policy: Value =
        serde_json::from_str(&read(&format!("examples/server/terraform/policies/{name}.json"))?)?;
    let statements = policy["Statement"].as_array().context("statements")?;
    let wanted =
        |statement: &&Value| statement["Sid"].as_str().is_some_and(|sid| sid.starts_with("Extra")) == extras;
    let actions = |statement: &Value| match &statement["Action"] {
        Value::Array(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        one => one.as_str().map(str::to_owned).into_iter().collect::<Vec<_>>(),
    };
    Ok(statements.iter().filter(wanted).flat_map(actions).collect())
}

/// The actions at the start of the rows of a page's section.
fn table(page: &str, heading: &str) -> Result<Actions> {
    let (_, section) = page.split_once(&format!("\n{heading}\n")).with_context(|| format!("no {heading}"))?;
    let level = heading.split(' ').next().unwrap_or_default();
    let end = section.find(&format!("\n{level} ")).unwrap_or(section.len());
    let end = end.min(section.find("\n## ").unwrap_or(section.len()));
    let action = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    let rows = section[..end].lines().filter(|line| !line.contains(UNUSED));
    Ok(rows.filter_map(action).filter(|word| word.contains(':')).collect())
}

#[test]
fn every_page_lists_what_the_policies_grant() -> Result<()> {
    let page = read("docs/aws.md")?;
    for (heading, granted) in [
        ("### Server", policy("server", false)?),
        ("### Agent execution role", policy("execution-role", false)?),
        ("### Agent task role", policy("task-role", false)?),
        ("### Client", policy("client", false)?),
    ] {
        ensure!(table(&page, heading)? == granted, "{heading}: {:?} and {granted:?}", table(&page, heading)?);
    }
    let extras: Actions = policy("server-extras", true)?.union(&policy("client", true)?).cloned().collect();
    ensure!(table(&page, "### Extras")? == extras, "{:?} and {extras:?}", table(&page, "### Extras")?);
    let all: Actions = [
        policy("server", false)?,
        policy("execution-role", false)?,
        policy("task-role", false)?,
        policy("client", false)?,
    ]
    .into_iter()
    .flatten()
    .chain(extras)
    .collect();
    let readme = table(&read("README.md")?, "## AWS ECS")?;
    ensure!(readme == all, "README: {:?}", readme.symmetric_difference(&all));
    Ok(())
}
