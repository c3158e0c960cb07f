//! `ps`: builds as a table.

use std::fmt::Write as _;

use bakery_core::wire::build::{BuildPhase, BuildView, TaskPhase};
use jiff::Timestamp;

use crate::exit;
use crate::render::{Colours, clean};

/// One line a build, newest first as the server sends them.
pub fn table(builds: &[BuildView], now: Timestamp) -> String {
    let mut rows = vec![["BUILD", "AGE", "STATE", "TASKS", "TARGETS"].map(str::to_owned)];
    rows.extend(builds.iter().map(|build| {
        let targets: Vec<_> = build.targets.iter().map(|target| target.name.as_str()).collect();
        let targets = clean(&targets.join(", "), Colours::Strip).into_owned();
        [build.id.to_string(), age(build.created, now), state(build), tasks(build), targets]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths = [0, 1, 2, 3].map(width);
    let mut text = String::new();
    for [id, age, state, tasks, targets] in rows {
        let [a, b, c, d] = widths;
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{id:a$}  {age:b$}  {state:c$}  {tasks:d$}  {targets}");
    }
    text
}

fn state(build: &BuildView) -> String {
    match (&build.outcome, build.phase) {
        (Some(outcome), _) => exit::verdict(outcome.verdict).trim_start_matches("was ").to_owned(),
        (None, BuildPhase::Queued) => "queued".to_owned(),
        (None, BuildPhase::Baking) => "baking".to_owned(),
        (None, BuildPhase::Publishing) => "publishing".to_owned(),
        (None, BuildPhase::Ended | BuildPhase::Unknown) => "?".to_owned(),
    }
}

/// Baked of all.
fn tasks(build: &BuildView) -> String {
    let all = || build.targets.iter().flat_map(|target| &target.tasks);
    format!("{}/{}", all().filter(|task| task.phase == TaskPhase::Baked).count(), all().count())
}

fn age(created: Timestamp, now: Timestamp) -> String {
    match now.as_second().saturating_sub(created.as_second()).max(0) {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..86_400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_reads_well() {
        let build = |phase: &str, outcome: serde_json::Value| -> BuildView {
            let task = |phase: &str| serde_json::json!({ "index": 0, "arch": "amd64", "platform": "k8s", "attempt": 1, "phase": phase });
            let target = |name: &str, tasks: Vec<_>| serde_json::json!({ "name": name, "tasks": tasks, "publish": null });
            serde_json::from_value(serde_json::json!({
                "id": "01jdb3v1q8z6p3k4m5n6p7q8r9", "phase": phase, "created": "2026-11-22T10:00:00Z", "ended": null,
                "targets": [target("shop", vec![task("baked"), task("running")]), target("worker", vec![task("planned")])],
                "outcome": outcome,
            }))
            .unwrap()
        };
        let builds = [
            build("baking", serde_json::Value::Null),
            build("ended", serde_json::json!({ "verdict": "cancelled" })),
            build("kneading", serde_json::Value::Null),
        ];
        insta::assert_snapshot!(table(&builds, "2026-11-22T10:02:03Z".parse().unwrap()), @r"
        BUILD                       AGE  STATE      TASKS  TARGETS
        01jdb3v1q8z6p3k4m5n6p7q8r9  2m   baking     1/3    shop, worker
        01jdb3v1q8z6p3k4m5n6p7q8r9  2m   cancelled  1/3    shop, worker
        01jdb3v1q8z6p3k4m5n6p7q8r9  2m   ?          1/3    shop, worker
        ");
        insta::assert_snapshot!(table(&[], Timestamp::UNIX_EPOCH), @"BUILD  AGE  STATE  TASKS  TARGETS");
    }
}
