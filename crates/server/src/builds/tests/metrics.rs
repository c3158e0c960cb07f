//! What a scrape shows, and that the pages and alerts name existing metrics.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use prometheus_client::registry::Registry;

use crate::http::UnauthorizedRequests;
use crate::metrics;

/// Type, label names and help of one family.
type Family = (String, BTreeSet<String>, String);

/// The scrape of a server on which one build has succeeded, one was cancelled, and one is running.
fn scrape() -> String {
    let mut world = BuildsWorld::new();
    world.clock = Clock::standing_at(jiff::Timestamp::UNIX_EPOCH);
    world.settings.platforms.get_mut(&Platform::Docker).unwrap().max_runs = 2;
    world.life(async |server| {
        let clock = &server.world.clock;
        let first = server.submit(multi()).await;
        let (amd64, arm64) = (run(first, 0, 1), run(first, 1, 1));
        server.launched(amd64).await;
        server.launched(arm64).await;
        clock.advance(Duration::from_secs(4));
        server.bind(amd64).await.unwrap();
        server.bind(arm64).await.unwrap();
        clock.advance(Duration::from_secs(40));
        for run in [amd64, arm64] {
            assert!(server.report(run, baked(run)).await);
            server.world.platform.exit(run, 0);
        }
        server.ended(first).await;

        let submit = async |key: &str| server.builds.submit(OWNER, request(single(), key)).await.unwrap().id;
        let second = submit("key of the second build").await;
        let lost = run(second, 0, 1);
        server.launched(lost).await;
        server.bind(lost).await.unwrap();
        server.report_from(Stage::Prepare, lost, failed(Reason::SpotReclaimed)).await;
        server.phase(run(second, 0, 2), TaskPhase::Launching).await;
        server.builds.cancel(OWNER, second).await.unwrap();
        server.ended(second).await;
        server.builds.services.clients.slots.vacated(second).await;

        let third = submit("key of the third build").await;
        let at_work = run(third, 0, 1);
        server.launched(at_work).await;
        server.bind(at_work).await.unwrap();
        server.launched(run(submit("key of the fourth build").await, 0, 1)).await;
        submit("key of the fifth build").await;
        let lines = bytes::Bytes::from_static(b"{\"src\":\"agent\"}\n{\"src\":\"agent\"}\n");
        let header = BlockHeader { run: at_work, first: 1, lines: 2, len: 32 };
        for _ in 0..2 {
            let sent = server.logs.append(third, header, lines.clone()).await;
            assert_eq!(sent.unwrap(), 3, "the second time nothing is new");
        }
        let all = server.logs.follow(third, Cursor::default(), true).await.unwrap();
        let mut follower = server.logs.follow(third, Cursor::default(), true).await.unwrap();
        follower.next().await.unwrap().unwrap();
        let text = metrics::text(&server.builds, &server.logs, unauthorized).await;
        drop(all);
        text
    })
}

/// What of them has been counted, as `reason="..."} COUNT`.
pub(super) async fn publish_failures(server: &ServerLife<'_>) -> Vec<String> {
    let text = metrics::text(&server.builds, &server.logs, unauthorized).await;
    let counted = text.lines().filter_map(|line| line.strip_prefix("bakery_publish_failures_total{"));
    counted.filter(|line| !line.ends_with(" 0")).map(str::to_owned).collect()
}

fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::<String, Family>::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), Some(help)) => {
                families.entry(name.to_owned()).or_default().2 = help.trim_end_matches('.').to_owned();
            }
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                families.entry(name.to_owned()).or_default().0 = kind.to_owned();
            }
            _ => {
                let (name, labels) = line.split_once('{').unwrap_or_default();
                let name = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|end| name.strip_suffix(end))
                    .unwrap_or(name);
                let Some(family) = families.get_mut(name) else { continue };
                let names = labels.split("\",").filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
                family.1.extend(names.filter(|name| name != "le"));
            }
        }
    }
    families
}

fn unauthorized(registry: &mut Registry) {
    UnauthorizedRequests::default().measure(registry);
}

#[test]
fn a_scrape_shows_counters_and_current_state() {
    let text = scrape();
    // What is still at 0, and the bounds in between, would hide the rest.
    let mut shown: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.contains("_bucket") && !line.ends_with(" 0"))
        .map(|line| if line.starts_with("bakery_build_info") { "bakery_build_info{..} 1" } else { line })
        // The length of the server's own frames is not what this is about.
        .filter(|line| !line.starts_with("bakery_relay_sent_bytes_total"))
        .filter(|line| !line.starts_with("bakery_follower_lag_bytes"))
        .collect();
    shown.sort_unstable();
    insta::assert_snapshot!(shown.join("\n"));
    for line in ["bakery_relay_sent_bytes_total ", "bakery_follower_lag_bytes "] {
        let value = text.lines().find_map(|it| it.strip_prefix(line)).unwrap();
        assert!(value.parse::<u64>().unwrap() >= 32, "{line}{value}");
    }
    let within =
        text.lines().find(|line| line.contains("launch_duration") && line.contains("le=\"2.5\"")).unwrap();
    assert!(within.ends_with("} 2"), "two of the four took no time: {within}");
}

#[test]
fn a_launch_of_an_earlier_process_is_not_timed() {
    let mut world = BuildsWorld::new();
    world.clock = Clock::standing_at(jiff::Timestamp::UNIX_EPOCH);
    let build = world.life(async |server| {
        let build = server.submit(single()).await;
        server.launched(run(build, 0, 1)).await;
        build
    });
    world.clock.advance(Duration::from_secs(100));
    world.life(async |server| {
        server.bind(run(build, 0, 1)).await.unwrap();
        server.phase(run(build, 0, 1), TaskPhase::Running).await;
        let text = metrics::text(&server.builds, &server.logs, unauthorized).await;
        assert!(text.contains("bakery_launch_duration_seconds_count{platform=\"docker\"} 0"), "{text}");
    });
}

#[test]
fn names_follow_the_rules_and_labels_are_few() {
    let families = families(&scrape());
    for (name, (kind, labels, help)) in &families {
        assert!(name.starts_with("bakery_") && !help.is_empty(), "{name}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}: {kind}");
        let known = ["outcome", "reason", "state", "platform", "token", "version", "commit"];
        assert!(labels.iter().all(|label| known.contains(&label.as_str())), "{name}: {labels:?}");
    }
}

const PAGE: &str = include_str!("../../../../../docs/operations.md");
const ALERTS: &str = include_str!("../../../../../examples/server/prometheus/alerts.yaml");
const ALERTS_TEST: &str = include_str!("../../../../../examples/server/prometheus/alerts.test.yaml");

#[test]
fn the_operations_page_has_the_table_of_all_metrics() {
    let rows: Vec<_> = families(&scrape())
        .into_iter()
        .map(|(name, (kind, labels, help))| {
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            let labels = if labels.is_empty() { "none".to_owned() } else { labels.join(", ") };
            format!("| `{name}` | {kind} | {labels} | {help} |\n")
        })
        .collect();
    let table = format!("| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n{}\n", rows.concat());
    assert!(PAGE.contains(&table), "docs/operations.md should contain:\n{table}");
}

#[test]
fn alerts_use_existing_metrics_and_each_is_tested_and_explained() {
    let families = families(&scrape());
    for text in [ALERTS, ALERTS_TEST] {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for word in words.filter(|word| word.starts_with("bakery_")) {
            let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|end| word.strip_suffix(end));
            let histogram = parts.filter_map(|name| families.get(name)).any(|(kind, ..)| kind == "histogram");
            assert!(histogram || families.contains_key(word), "{word} is not a metric of this server");
        }
    }
    let names: Vec<_> = ALERTS.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        assert!(PAGE.contains(&format!("| `{name}` |")), "docs/operations.md does not explain {name}");
        let fires = format!("alertname: {name}\n    exp_alerts:\n    - exp_labels: {{ severity");
        assert!(ALERTS_TEST.contains(&fires), "no test has {name} go off");
    }
}
