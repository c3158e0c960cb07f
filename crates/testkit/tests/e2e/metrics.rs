//! A real Prometheus scrapes a running server.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use bakery_testkit::client::finish;
use bakery_testkit::project::{Project, numbered, single};
use bakery_testkit::prometheus::Prometheus;
use bakery_testkit::vars;

use crate::world::{Log, World};

const TOKEN: &str = "proofed-overnight";
/// Lines that the build prints, one every 100 ms.
const LINES: u32 = 100;
const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_sees_a_build_begin_run_and_end() -> Result<()> {
    let program = vars::PROMETHEUS.required();
    let world = World::start(&[("BAKERY_TOKEN", TOKEN)]).await?;
    let server = world.server.url.trim_start_matches("http://");
    let seen = Prometheus::start(Path::new(&program), server, TOKEN).await?;
    let refused = Prometheus::start(Path::new(&program), server, "somebody-elses").await?;
    seen.until("bakery_ready == 1", SOON).await?;
    seen.until("sum(bakery_builds_ended_total) == 0", SOON).await?;

    let project =
        Project::new(&world.parts, &numbered("line", LINES, 100), &single(&world.image("metrics/app:1")))?;
    let mut child = world.client(&project).with("BAKERY_TOKEN", TOKEN).spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    log.until("line 1").await?;
    // While it runs.
    for claim in [
        r#"bakery_builds_open{state="baking"} == 1"#,
        r#"bakery_tasks_open{platform="docker",state="running"} == 1"#,
        r#"bakery_run_slots_held{platform="docker"} == 1"#,
        r#"bakery_queued_tasks{platform="docker"} == 0"#,
        r#"bakery_platform_up{platform="docker"} == 1"#,
        r#"bakery_launch_duration_seconds_count{platform="docker"} == 1"#,
        "bakery_followers == 1",
    ] {
        seen.until(claim, SOON).await?;
    }
    let early = seen.value("bakery_relay_lines_total").await?.unwrap_or_default();
    log.until(&format!("line {LINES}")).await?;
    let ended = finish(child).await?;
    ensure!(ended.code == Some(0), "{}\n{}", ended.err, world.server.log());

    // Once it has ended.
    for claim in [
        r#"bakery_builds_ended_total{outcome="baked",reason="none"} == 1"#,
        "sum(bakery_builds_ended_total) == 1",
        &format!("bakery_relay_lines_total >= {LINES} and bakery_relay_lines_total > {early}"),
        "bakery_relay_bytes_total > bakery_relay_lines_total",
        "bakery_relay_sent_bytes_total > bakery_relay_bytes_total",
        // Each line was followed by a pause of 100 ms.
        &format!(r#"bakery_build_duration_seconds_sum{{outcome="baked"}} >= {LINES} / 10"#),
        r#"bakery_build_duration_seconds_count{outcome="baked"} == 1"#,
        "bakery_launch_duration_seconds_sum > 0",
        "sum(bakery_builds_open) == 0",
        "sum(bakery_tasks_open) == 0",
        "bakery_run_slots_held == 0",
        "bakery_followers == 0",
    ] {
        seen.until(claim, SOON).await?;
    }

    let rules = seen.rules().await?;
    ensure!(rules.len() > 5 && rules.iter().all(|(_, error)| error.is_none()), "{rules:?}");
    ensure!(seen.value(r#"count(ALERTS{alertstate="firing"})"#).await?.is_none(), "an alert fires");
    let scrape = reqwest::Client::new().get(format!("{}/metrics", world.server.url)).bearer_auth(TOKEN);
    let warnings = seen.lint(&scrape.send().await?.error_for_status()?.text().await?).await?;
    ensure!(warnings.is_empty(), "promtool reports: {warnings}");

    // Another token gets nothing.
    refused.until("up == 0", SOON).await?;
    ensure!(refused.value("count(bakery_ready)").await?.is_none(), "a scrape without the token");
    Ok(())
}
