//! `ps`: builds as a table or as a JSON document.

use std::fmt::Write as _;

use bakery_core::image::Digest;
use bakery_core::names::{Arch, BuildId, Platform};
use bakery_core::reason::Reason;
use bakery_core::wire::build::{
    BuildPhase, BuildView, PublishState, PublishedImage, TaskPhase, TaskView, Verdict,
};
use jiff::Timestamp;
use serde::Serialize;

use crate::render::{Colours, clean};

/// The document of `ps --json`. Keys may be added, but are never changed.
#[derive(Debug, Serialize)]
struct BuildListDocument<'a> {
    builds: Vec<ListedBuild<'a>>,
}

#[derive(Debug, Serialize)]
struct ListedBuild<'a> {
    id: BuildId,
    /// As in the table.
    state: &'static str,
    created: Timestamp,
    /// Null while the build runs.
    ended: Option<Timestamp>,
    /// Why it failed: the reason code, the text and what to do about it.
    reason: Option<Reason>,
    text: Option<&'a str>,
    hint: Option<&'a str>,
    targets: Vec<ListedTarget<'a>>,
    /// The published images.
    images: &'a [PublishedImage],
}

#[derive(Debug, Serialize)]
struct ListedTarget<'a> {
    name: &'a str,
    /// Null with `no-push`.
    destination: Option<String>,
    /// Null until it is published.
    digest: Option<&'a str>,
    tasks: Vec<ListedTask<'a>>,
}

#[derive(Debug, Serialize)]
struct ListedTask<'a> {
    index: u16,
    arch: Arch,
    platform: Platform,
    attempt: u8,
    state: TaskPhase,
    reason: Option<Reason>,
    text: Option<&'a str>,
    hint: Option<&'a str>,
    digest: Option<&'a str>,
}

/// The builds as one JSON document, in the order of the server: newest first.
pub fn document(builds: &[BuildView]) -> String {
    let builds = builds.iter().map(|build| ListedBuild {
        id: build.id,
        state: state(build),
        created: build.created,
        ended: build.ended,
        reason: build.outcome.as_ref().and_then(|outcome| outcome.reason),
        text: build.outcome.as_ref().and_then(|outcome| outcome.text.as_deref()),
        hint: build.outcome.as_ref().and_then(|outcome| hint(outcome.hint.as_deref(), outcome.reason)),
        targets: build
            .targets
            .iter()
            .map(|target| ListedTarget {
                name: &target.name,
                destination: target.publish.as_ref().map(|publish| publish.destination.to_string()),
                digest: match target.publish.as_ref().map(|publish| &publish.state) {
                    Some(PublishState::Done { digest }) => Some(digest.as_str()),
                    _ => None,
                },
                tasks: target.tasks.iter().map(listed_task).collect(),
            })
            .collect(),
        images: build.outcome.as_ref().map(|outcome| outcome.images.as_slice()).unwrap_or_default(),
    });
    // Serializing plain values cannot fail.
    let mut text =
        serde_json::to_string_pretty(&BuildListDocument { builds: builds.collect() }).unwrap_or_default();
    text.push('\n');
    text
}

/// The hint of a failure, else that of its reason, as at the end of a log.
fn hint(own: Option<&str>, reason: Option<Reason>) -> Option<&str> {
    own.or_else(|| reason.map(Reason::hint))
}

fn listed_task(task: &TaskView) -> ListedTask<'_> {
    ListedTask {
        index: task.index,
        arch: task.arch,
        platform: task.platform,
        attempt: task.attempt,
        state: task.phase,
        reason: task.reason,
        text: task.text.as_deref(),
        hint: hint(task.hint.as_deref(), task.reason),
        digest: task.digest.as_ref().map(Digest::as_str),
    }
}

/// One line per build, in the order of the server: newest first.
pub fn table(builds: &[BuildView], now: Timestamp) -> String {
    let mut rows = vec![["BUILD", "AGE", "STATE", "TASKS", "TARGETS"].map(str::to_owned)];
    rows.extend(builds.iter().map(|build| {
        let targets: Vec<_> = build.targets.iter().map(|target| target.name.as_str()).collect();
        let targets = clean(&targets.join(", "), Colours::Strip).into_owned();
        [build.id.to_string(), age(build.created, now), state(build).to_owned(), tasks(build), targets]
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

/// The state of a build in one word: its phase, or how it ended.
pub fn state(build: &BuildView) -> &'static str {
    match (build.outcome.as_ref().map(|outcome| outcome.verdict), build.phase) {
        (Some(Verdict::Baked), _) => "baked",
        (Some(Verdict::Failed), _) => "failed",
        (Some(Verdict::Lost), _) => "lost",
        (Some(Verdict::Cancelled), _) => "cancelled",
        (None, BuildPhase::Queued) => "queued",
        (None, BuildPhase::Baking) => "baking",
        (None, BuildPhase::Publishing) => "publishing",
        (Some(Verdict::Unknown), _) | (None, BuildPhase::Ended | BuildPhase::Unknown) => "unknown",
    }
}

/// The number of baked tasks and of all tasks.
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

    fn builds() -> Vec<BuildView> {
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
        vec![
            build("baking", serde_json::Value::Null),
            build("ended", serde_json::json!({ "verdict": "cancelled" })),
            build("kneading", serde_json::Value::Null),
        ]
    }

    #[test]
    fn a_document_has_a_stable_shape() {
        let mut builds = builds();
        let digest = Digest::of(b"index");
        let outcome = serde_json::json!({ "verdict": "failed", "text": "full", "hint": "write less" });
        builds[2].outcome = serde_json::from_value(outcome).unwrap();
        builds[2].targets[0].tasks[0].hint = Some("of the task".to_owned());
        let published = serde_json::json!({ "destination": "r.test/shop:1", "state": { "kind": "done", "digest": digest } });
        builds[1].targets[0].publish = serde_json::from_value(published).unwrap();
        let value: serde_json::Value = serde_json::from_str(&document(&builds)).unwrap();
        let keys = |value: &serde_json::Value| {
            value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
        };
        let build = &value["builds"][1];
        insta::assert_snapshot!(keys(&value), @"builds");
        insta::assert_snapshot!(keys(build), @"created ended hint id images reason state targets text");
        insta::assert_snapshot!(keys(&build["targets"][0]), @"destination digest name tasks");
        insta::assert_snapshot!(keys(&build["targets"][0]["tasks"][0]), @"arch attempt digest hint index platform reason state text");
        let states: Vec<_> = (0..3).map(|nth| &value["builds"][nth]["state"]).collect();
        assert_eq!(states, ["baking", "cancelled", "failed"]);
        let failed = &value["builds"][2];
        assert_eq!((&failed["text"], &failed["hint"]), (&"full".into(), &"write less".into()));
        assert_eq!(failed["targets"][0]["tasks"][0]["hint"], "of the task");
        assert!(build["hint"].is_null() && build["targets"][0]["tasks"][0]["hint"].is_null());
        let target = &build["targets"][0];
        assert_eq!(
            (&target["destination"], &target["digest"]),
            (&"r.test/shop:1".into(), &digest.as_str().into())
        );
        assert!(build["targets"][1]["destination"].is_null() && build["images"] == serde_json::json!([]));
    }

    #[test]
    fn a_table_has_aligned_columns() {
        insta::assert_snapshot!(table(&builds(), "2026-11-22T10:02:03Z".parse().unwrap()), @r"
        BUILD                       AGE  STATE      TASKS  TARGETS
        01jdb3v1q8z6p3k4m5n6p7q8r9  2m   baking     1/3    shop, worker
        01jdb3v1q8z6p3k4m5n6p7q8r9  2m   cancelled  1/3    shop, worker
        01jdb3v1q8z6p3k4m5n6p7q8r9  2m   unknown    1/3    shop, worker
        ");
        insta::assert_snapshot!(table(&[], Timestamp::UNIX_EPOCH), @"BUILD  AGE  STATE  TASKS  TARGETS");
    }
}
