//! Messages with hints, read by the types of the version before hints. The types here are copies of that version's and
//! stay as they are.

use bakery_core::message::Message;
use bakery_core::reason::Reason;
use bakery_core::wire::build::{BuildOutcome, BuildView, Submitted, TaskPhase, Verdict};
use bakery_core::wire::log::{Cursor, Frame, Level, LogLine, Source};
use bakery_core::wire::problem::Problem;
use serde::Deserialize;
use serde_json::json;

use crate::fake_server::{BUILD, id};

#[derive(Deserialize)]
struct PreviousView {
    targets: Vec<PreviousTarget>,
    outcome: Option<PreviousOutcome>,
}

#[derive(Deserialize)]
struct PreviousTarget {
    tasks: Vec<PreviousTask>,
}

#[derive(Deserialize)]
struct PreviousTask {
    phase: TaskPhase,
    #[serde(default)]
    text: Option<String>,
}

#[derive(Deserialize)]
struct PreviousOutcome {
    verdict: Verdict,
    #[serde(default)]
    reason: Option<Reason>,
    #[serde(default)]
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum PreviousFrame {
    State {
        #[serde(default)]
        text: Option<String>,
    },
    End {
        outcome: PreviousOutcome,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
struct PreviousSubmitted {
    notices: Vec<String>,
}

#[derive(Deserialize)]
struct PreviousLine {
    msg: String,
}

fn read<T: serde::de::DeserializeOwned>(message: &impl serde::Serialize) -> T {
    let text = serde_json::to_string(message).unwrap();
    assert!(text.contains("\"hint\":\"write less\""), "{text}");
    serde_json::from_str(&text).unwrap()
}

fn outcome() -> BuildOutcome {
    let (text, hint) = (Some("full".to_owned()), Some("write less".to_owned()));
    BuildOutcome { verdict: Verdict::Failed, reason: Some(Reason::DiskFull), text, hint, images: Vec::new() }
}

#[test]
fn a_view_with_hints_is_read_without_them() {
    let task = json!({
        "index": 0, "arch": "amd64", "platform": "docker", "attempt": 1, "phase": "failed", "text": "full", "hint": "write less",
    });
    let mut view: BuildView = serde_json::from_value(json!({
        "id": BUILD, "phase": "ended", "created": "2026-11-22T10:00:00Z", "ended": null, "outcome": null,
        "targets": [{ "name": "shop", "tasks": [task], "publish": null }],
    }))
    .unwrap();
    view.outcome = Some(outcome());
    let previous: PreviousView = read(&view);
    let task = &previous.targets[0].tasks[0];
    assert_eq!((task.phase, task.text.as_deref()), (TaskPhase::Failed, Some("full")));
    let outcome = previous.outcome.unwrap();
    assert_eq!((outcome.verdict, outcome.reason), (Verdict::Failed, Some(Reason::DiskFull)));
    assert_eq!(outcome.text.as_deref(), Some("full"));
}

#[test]
fn frames_and_lines_with_hints_are_read_without_them() {
    let run = bakery_core::names::RunName {
        task: bakery_core::names::TaskId { build: id(), index: 0 },
        attempt: 1,
    };
    let (text, hint) = (Some("full".to_owned()), Some("write less".to_owned()));
    let state = Frame::State { run, phase: TaskPhase::Failed, reason: Some(Reason::DiskFull), text, hint };
    let PreviousFrame::State { text } = read(&state) else { panic!("another frame") };
    assert_eq!(text.as_deref(), Some("full"));
    let PreviousFrame::End { outcome } = read(&Frame::End { outcome: outcome() }) else {
        panic!("another frame")
    };
    assert_eq!(outcome.text.as_deref(), Some("full"));
    let ts = "2026-11-22T10:00:00Z".parse().unwrap();
    let hint = Some("write less".to_owned());
    let line = LogLine { ts, src: Source::Server, lvl: Level::Warn, msg: "full".into(), more: false, hint };
    assert_eq!(read::<PreviousLine>(&line).msg, "full");
    let notice = Message::new("nearly full").with_hint("write less");
    let submitted = Submitted::new(id(), Cursor::default(), vec![notice]);
    assert_eq!(read::<PreviousSubmitted>(&submitted).notices, ["nearly full"]);
}

#[test]
fn messages_without_hints_are_read_by_this_version() {
    let outcome: BuildOutcome =
        serde_json::from_value(json!({ "verdict": "failed", "reason": "disk-full", "text": "full" }))
            .unwrap();
    assert_eq!((outcome.text.as_deref(), outcome.hint), (Some("full"), None));
    let submitted = json!({ "id": BUILD, "cursor": "0:0", "notices": ["nearly full"] });
    let submitted: Submitted = serde_json::from_value(submitted).unwrap();
    assert_eq!(submitted.into_notices(), [Message::new("nearly full")]);
    let problem: Problem = serde_json::from_value(json!({ "type": "bad-spec", "detail": "no" })).unwrap();
    assert_eq!((problem.detail.as_str(), problem.hint), ("no", None));
}
