use std::collections::BTreeMap;

use bakery_core::image::Digest;
use bakery_core::names::{Arch, Platform, TaskId};
use bakery_core::reason::Reason;
use bakery_core::wire::build::PublishedImage;

use super::*;
use crate::labels::Label;

fn build() -> BuildId {
    "01jdb3v1q8z6p3k4m5n6p7q8r9".parse().unwrap()
}

fn run(index: u16) -> RunName {
    RunName { task: TaskId { build: build(), index }, attempt: 1 }
}

fn line(src: Source, lvl: Level, msg: &str) -> String {
    let ts = "2026-11-22T10:00:00.123Z".parse().unwrap();
    serde_json::to_string(&LogLine { ts, src, lvl, msg: msg.to_owned(), more: false, hint: None }).unwrap()
        + "\n"
}

fn lines(seq: u64, texts: &[&str]) -> (FrameHeader, String) {
    let payload: String = texts.iter().map(|text| line(Source::Kaniko, Level::Info, text)).collect();
    let frame = Frame::Lines { run: run(1), first: 1, lines: u32::try_from(texts.len()).unwrap() };
    (FrameHeader { len: u32::try_from(payload.len()).unwrap(), seq, frame }, payload)
}

fn render(format: LogFormat, no_colour: bool, frames: &[(FrameHeader, String)]) -> String {
    let label = |arch: &str| Label {
        platform: Some(Platform::K8s),
        service: Some("shop".to_owned()),
        task: format!("shop/{arch}"),
    };
    let labels = BTreeMap::from([(0, label("amd64")), (1, label("arm64"))]);
    let created = "2026-11-22T09:00:00Z".parse().unwrap();
    let mut renderer = Renderer::new(format, no_colour, build(), labels, created);
    let mut out = Vec::new();
    for (header, payload) in frames {
        renderer.frame(header, payload.as_bytes(), 0, &mut out);
    }
    String::from_utf8(out).unwrap()
}

/// Every kind of frame once.
fn everything() -> Vec<(FrameHeader, String)> {
    let digest = Digest::of(b"index");
    let destination: bakery_core::image::ImageRef = "r.test/shop:1".parse().unwrap();
    let frame = |seq, frame| (FrameHeader { len: 0, seq, frame }, String::new());
    let state =
        |seq, phase, reason| frame(seq, Frame::State { run: run(0), phase, reason, text: None, hint: None });
    let note = line(Source::Server, Level::Warn, "a second attempt");
    vec![
        state(0, TaskPhase::Launching, None),
        lines(1, &["plain", "\x1b[32mgreen", "back\r\x1b[2J"]),
        (FrameHeader { len: 0, seq: 4, frame: Frame::Note { run: None, lines: 1 } }, note),
        state(5, TaskPhase::Failed, Some(Reason::ExecutorFailed)),
        frame(6, Frame::Gap { run: run(1), lines: 12 }),
        frame(6, Frame::Beat),
        frame(7, Frame::Unknown),
        frame(
            8,
            Frame::Published {
                publish: PublishView {
                    destination: destination.clone(),
                    tags: Vec::new(),
                    state: PublishState::Done { digest: digest.clone() },
                },
            },
        ),
        frame(
            9,
            Frame::End {
                outcome: BuildOutcome {
                    verdict: Verdict::Failed,
                    reason: Some(Reason::ExecutorFailed),
                    text: Some("shop/amd64: exit code 7".to_owned()),
                    hint: None,
                    images: vec![PublishedImage { destination, digest, archs: Arch::ALL.to_vec() }],
                },
            },
        ),
    ]
}

#[test]
fn simple_has_the_colours_of_tasks_and_of_the_build() {
    let text = render(LogFormat::Simple, false, &everything()).replace('\x1b', "^");
    insta::assert_snapshot!(text, @r"
    ^[36m[k8s][shop/amd64]^[0m launching
    ^[35m[k8s][shop/arm64]^[0m plain
    ^[35m[k8s][shop/arm64]^[0m ^[32mgreen^[0m
    ^[35m[k8s][shop/arm64]^[0m back
    ^[1m[bakery]^[0m a second attempt
    ^[36m[k8s][shop/amd64]^[0m ^[31mfailed: Kaniko failed^[0m
    ^[35m[k8s][shop/arm64]^[0m 12 lines were not stored: the log of this task is full
    ^[1m[bakery]^[0m published r.test/shop:1@sha256:1bc04b5291c26a46d918139138b992d2de976d6851d0893b0476b85bfbdfc6e6
    ^[1m[bakery]^[0m r.test/shop:1@sha256:1bc04b5291c26a46d918139138b992d2de976d6851d0893b0476b85bfbdfc6e6 (amd64, arm64)
    ^[1m[bakery]^[0m ^[31mbuild 01jdb3v1q8z6p3k4m5n6p7q8r9 failed: Kaniko failed: shop/amd64: exit code 7^[0m
    ");
}

#[test]
fn plain_has_no_escape_sequences() {
    let text = render(LogFormat::Plain, false, &everything());
    assert!(!text.contains('\x1b'));
    insta::assert_snapshot!(text, @r"
    [k8s][shop/amd64] launching
    [k8s][shop/arm64] plain
    [k8s][shop/arm64] green
    [k8s][shop/arm64] back
    [bakery] a second attempt
    [k8s][shop/amd64] failed: Kaniko failed
    [k8s][shop/arm64] 12 lines were not stored: the log of this task is full
    [bakery] published r.test/shop:1@sha256:1bc04b5291c26a46d918139138b992d2de976d6851d0893b0476b85bfbdfc6e6
    [bakery] r.test/shop:1@sha256:1bc04b5291c26a46d918139138b992d2de976d6851d0893b0476b85bfbdfc6e6 (amd64, arm64)
    [bakery] build 01jdb3v1q8z6p3k4m5n6p7q8r9 failed: Kaniko failed: shop/amd64: exit code 7
    ");
    assert_eq!(render(LogFormat::Simple, true, &everything()), text, "NO_COLOR makes simple plain");
}

#[test]
fn json_has_the_documented_keys_in_the_documented_order() {
    insta::assert_snapshot!(render(LogFormat::Json, false, &everything()), @r#"
    {"ts":"2026-11-22T09:00:00Z","level":"info","message":"launching","build":"01jdb3v1q8z6p3k4m5n6p7q8r9","service":"shop","task":0,"source":"server","seq":0}
    {"ts":"2026-11-22T10:00:00.123Z","level":"info","message":"plain","build":"01jdb3v1q8z6p3k4m5n6p7q8r9","service":"shop","task":1,"source":"kaniko","seq":1}
    {"ts":"2026-11-22T10:00:00.123Z","level":"info","message":"green","build":"01jdb3v1q8z6p3k4m5n6p7q8r9","service":"shop","task":1,"source":"kaniko","seq":2}
    {"ts":"2026-11-22T10:00:00.123Z","level":"info","message":"back","build":"01jdb3v1q8z6p3k4m5n6p7q8r9","service":"shop","task":1,"source":"kaniko","seq":3}
    {"ts":"2026-11-22T10:00:00.123Z","level":"warn","message":"a second attempt","build":"01jdb3v1q8z6p3k4m5n6p7q8r9","service":null,"task":null,"source":"server","seq":4}
    {"ts":"2026-11-22T10:00:00.123Z","level":"error","message":"failed: Kaniko failed","build":"01jdb3v1q8z6p3k4m5n6p7q8r9","service":"shop","task":0,"source":"server","seq":5}
    {"ts":"2026-11-22T10:00:00.123Z","level":"warn","message":"12 lines were not stored: the log of this task is full","build":"01jdb3v1q8z6p3k4m5n6p7q8r9","service":"shop","task":1,"source":"server","seq":6}
    {"ts":"2026-11-22T10:00:00.123Z","level":"info","message":"published r.test/shop:1@sha256:1bc04b5291c26a46d918139138b992d2de976d6851d0893b0476b85bfbdfc6e6","build":"01jdb3v1q8z6p3k4m5n6p7q8r9","service":null,"task":null,"source":"server","seq":8}
    {"ts":"2026-11-22T10:00:00.123Z","level":"info","message":"r.test/shop:1@sha256:1bc04b5291c26a46d918139138b992d2de976d6851d0893b0476b85bfbdfc6e6 (amd64, arm64)","build":"01jdb3v1q8z6p3k4m5n6p7q8r9","service":null,"task":null,"source":"server","seq":9}
    {"ts":"2026-11-22T10:00:00.123Z","level":"error","message":"build 01jdb3v1q8z6p3k4m5n6p7q8r9 failed: Kaniko failed: shop/amd64: exit code 7","build":"01jdb3v1q8z6p3k4m5n6p7q8r9","service":null,"task":null,"source":"server","seq":9}
    "#);
}

#[test]
fn the_two_lines_of_an_older_servers_text_are_two_lines() {
    let state = Frame::State {
        run: run(0),
        phase: TaskPhase::Lost,
        reason: None,
        text: Some("no image\nhint: pull it".to_owned()),
        hint: None,
    };
    let text =
        render(LogFormat::Plain, false, &[(FrameHeader { len: 0, seq: 0, frame: state }, String::new())]);
    assert_eq!(text, "[k8s][shop/amd64] lost: no image\n[k8s][shop/amd64] hint: pull it\n");
}

#[test]
fn a_hint_is_a_line_of_text_or_a_key_of_the_json_object() {
    let hint = || Some("pull \x1b[2Jit ##[x]".to_owned());
    let (reason, text) = (Some(Reason::ImagePull), Some("no image".to_owned()));
    let state =
        Frame::State { run: run(0), phase: TaskPhase::Lost, reason: None, text: text.clone(), hint: hint() };
    let outcome = BuildOutcome { verdict: Verdict::Lost, reason, text, hint: hint(), images: Vec::new() };
    let ts = "2026-11-22T10:00:00Z".parse().unwrap();
    let note =
        LogLine { ts, src: Source::Server, lvl: Level::Warn, msg: "slow".into(), more: false, hint: hint() };
    let frame = |seq, frame| (FrameHeader { len: 0, seq, frame }, String::new());
    let frames = [
        frame(0, state),
        (
            FrameHeader { len: 0, seq: 1, frame: Frame::Note { run: None, lines: 1 } },
            serde_json::to_string(&note).unwrap() + "\n",
        ),
        frame(2, Frame::End { outcome }),
    ];
    insta::assert_snapshot!(render(LogFormat::Plain, false, &frames), @r"
    [k8s][shop/amd64] lost: no image
    [k8s][shop/amd64] hint: pull it # #[x]
    [bakery] slow
    [bakery] hint: pull it # #[x]
    [bakery] build 01jdb3v1q8z6p3k4m5n6p7q8r9 was lost: the agent image cannot be pulled: no image
    [bakery] hint: pull it # #[x]
    ");
    insta::assert_snapshot!(render(LogFormat::Json, false, &frames), @r##"
    {"ts":"2026-11-22T09:00:00Z","level":"error","message":"lost: no image","build":"01jdb3v1q8z6p3k4m5n6p7q8r9","service":"shop","task":0,"source":"server","seq":0,"hint":"pull it #\u0023[x]"}
    {"ts":"2026-11-22T10:00:00Z","level":"warn","message":"slow","build":"01jdb3v1q8z6p3k4m5n6p7q8r9","service":null,"task":null,"source":"server","seq":1,"hint":"pull it #\u0023[x]"}
    {"ts":"2026-11-22T10:00:00Z","level":"error","message":"build 01jdb3v1q8z6p3k4m5n6p7q8r9 was lost: the agent image cannot be pulled: no image","build":"01jdb3v1q8z6p3k4m5n6p7q8r9","service":null,"task":null,"source":"server","seq":2,"hint":"pull it #\u0023[x]"}
    "##);
}

#[test]
fn lines_that_were_shown_are_skipped() {
    let (header, payload) = lines(5, &["one", "two", "three"]);
    let mut renderer = Renderer::new(LogFormat::Json, false, build(), BTreeMap::new(), Timestamp::UNIX_EPOCH);
    let mut out = Vec::new();
    renderer.frame(&header, payload.as_bytes(), 2, &mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("\"three\"") && text.contains("\"seq\":7") && text.lines().count() == 1, "{text}");
}

#[test]
fn probe_14_no_ci_system_finds_a_command() {
    let attacks = [
        "::set-output name=a::b",
        "\r::error::x",
        "a\n::warning::x",
        "\u{2028}::x",
        "##vso[task.setvariable variable=a]b",
        "x ##[set-env name=PATH]/tmp",
        "###VSO[task.prependpath]/tmp",
        "#\x1b[1m#[error]",
        "##teamcity[setParameter name='env.X' value='1']",
        "x ##teamcity[buildStop comment='a']",
        "x ###TeamCity[buildProblem description='a']",
        "\x1b[36m#\x1b[1m#\x1b[0m[error]x",
        "\x1b[31m##\x1b[0mvso[task.setvariable variable=a]b",
        "section_start:1:x\r\x1b[0Kfake",
        "section_end:1:x\r\x1b[0K",
        "--- group",
        "+++ g",
        "~~~ g",
        "^^^ +++",
        "travis_fold:start:x",
        "\x1b]1338;url=http://evil/x.png;alt=a\x07",
        "\x1b]52;c;ZXZpbA==\x07\x1b]8;;http://evil\x07hi\x1b]8;;\x07\x1b]0;t\x07\x1b[2J\x1b[1A\x1b[8mhid\x1b[6n\u{9b}31m\rover",
        "\x1b_Gf=100;AAAA\x1b\\x\x1bPq#0\x1b\\y\x1b^z\x1b\\",
        "a\u{202e}b\u{2066}c\u{85}d",
    ];
    for format in [LogFormat::Simple, LogFormat::Plain, LogFormat::Json] {
        for no_colour in [false, true] {
            let text = render(format, no_colour, &[lines(0, &attacks)]);
            assert_eq!(text.lines().count(), attacks.len(), "{text}");
            for line in text.split(['\n', '\r', '\u{2028}', '\u{85}']) {
                assert!(!line.trim_start().starts_with("::"), "{line}");
            }
            // Buildkite, GitLab and Travis look for their words where a line or what follows a carriage return begins.
            let words =
                ["---", "+++", "~~~", "^^^", "section_start:", "section_end:", "travis_fold:", "\x1b]"];
            let plain =
                sanitize::clean(&text.replace('\n', "\t"), sanitize::Colours::Strip).replace('\t', "\n");
            for line in text.lines().chain(plain.lines()) {
                assert!(!words.iter().any(|word| line.starts_with(word)), "{line:?}");
                let is_allowed = |c: char| !c.is_control() || c == '\x1b' || c == '\t';
                assert!(line.chars().all(is_allowed), "{line:?}");
                for sequence in line.match_indices('\x1b').map(|(at, _)| &line[at..]) {
                    let end = sequence.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                    assert!(sequence.starts_with("\x1b[") && sequence[end..].starts_with('m'), "{line:?}");
                }
            }
            for text in [&text, &plain] {
                let lower = text.to_lowercase();
                for command in ["##[", "##vso[", "##teamcity["] {
                    assert!(!lower.contains(command), "{text}");
                }
            }
        }
    }
    let json = render(LogFormat::Json, false, &[lines(0, &["a ##[b]"])]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["message"], "a ##[b]");
}

#[test]
fn probe_13_a_line_of_an_agent_is_never_the_servers() {
    let forged = line(Source::Server, Level::Error, "pushed REG/app:1");
    let shown =
        |frame| render(LogFormat::Json, false, &[(FrameHeader { len: 0, seq: 0, frame }, forged.clone())]);
    let source = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["source"].clone();
    assert_eq!(source(&shown(Frame::Lines { run: run(1), first: 1, lines: 1 })), "unknown");
    assert_eq!(source(&shown(Frame::Note { run: Some(run(1)), lines: 1 })), "server");
}

#[test]
fn a_line_that_cannot_be_parsed_is_shown_as_it_is() {
    let frame = Frame::Lines { run: run(7), first: 1, lines: 1 };
    let text = render(
        LogFormat::Plain,
        false,
        &[(FrameHeader { len: 0, seq: 0, frame }, "not\x1b[2J json\n".into())],
    );
    assert_eq!(text, "[?][task 7] not json\n");
}
