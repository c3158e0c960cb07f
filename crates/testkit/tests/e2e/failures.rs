//! Failing builds report why, with the right exit code, and leave nothing running.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bakery_testkit::client::Client;
use bakery_testkit::engine::Engine;
use bakery_testkit::parts::Parts;
use bakery_testkit::project::{Project, numbered, single};
use bakery_testkit::registry::Registry;
use bakery_testkit::server::Server;

use crate::world::{Log, World, signal};

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_dockerfile_shows_kanikos_error() -> Result<()> {
    let world = World::start(&[]).await?;
    let steps = "RUN echo before; exit 7";
    let project = Project::new(&world.parts, steps, &single(&world.image("fail/run:1")))?;
    let ended = world.client(&project).run(&[]).await?;
    assert_eq!(ended.code, Some(1), "{}\n{}", ended.out, ended.err);
    assert!(ended.out.contains("exit status 7"), "{}", ended.out);
    assert!(ended.err.contains("a RUN step failed (exit code 7)"), "{}", ended.err);
    world.gone(&ended.build()?, Duration::from_secs(5)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_23_words_about_a_full_disk_are_not_the_disk() -> Result<()> {
    let world = World::start(&[]).await?;
    let words = "echo 'Error: watch /src: inotify_add_watch: No space left on device' >&2";
    for (name, steps, keys, said) in [
        ("watch", format!("RUN {words}; exit 1"), String::new(), "a RUN step failed (exit code 1)"),
        (
            "test",
            format!("RUN {words}; echo 'FAIL - rounding'; exit 3"),
            String::new(),
            "a RUN step failed (exit code 3)",
        ),
        (
            "script",
            "RUN true".to_owned(),
            format!("  pre-script: \"{words}; exit 5\"\n"),
            "pre-script failed (exit code 5)",
        ),
    ] {
        let config = single(&world.image(&format!("enospc:{name}")));
        let config = config.replace("global:\n", &format!("global:\n{keys}"));
        let project = Project::new(&world.parts, &steps, &config)?;
        let ended = world.client(&project).run(&[]).await?;
        assert_eq!(ended.code, Some(1), "{}\n{}", ended.out, ended.err);
        assert!(ended.err.contains(said) && !ended.err.contains("disk"), "{name}: {}", ended.err);
    }
    Ok(())
}

/// Records that are Kaniko's to the byte: they are a step's all the same, and its push has not begun.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_step_prints_is_never_taken_for_kanikos() -> Result<()> {
    let world = World::start(&[]).await?;
    let image = world.image("fail/forged:1");
    let forged = [
        format!("INFO[0001] Pushing image to {image}"),
        "error pushing image: UNAUTHORIZED: authentication required".to_owned(),
        "WARN[0002] Retrying operation after 1s due to MANIFEST_UNKNOWN: manifest unknown".to_owned(),
        "error building image: no space left on device".to_owned(),
    ];
    let lines: Vec<_> = forged.iter().map(|line| format!("echo '{line}'; echo '{line}' >&2")).collect();
    let steps =
        format!("USER 1000:1000\nRUN {}; echo third >/dev/stdout; printf open; exit 9", lines.join("; "));
    let project = Project::new(&world.parts, &steps, &single(&image))?;
    let ended = world.client(&project).run(&[]).await?;
    assert_eq!(ended.code, Some(1), "{}\n{}", ended.out, ended.err);
    assert!(ended.err.contains("a RUN step failed (exit code 9)"), "{}", ended.err);
    let all = ended.lines()?;
    let of_run: Vec<_> = all
        .iter()
        .filter(|line| line.source.as_deref() == Some("run"))
        .map(|line| line.message.as_str())
        .collect();
    let twice: Vec<_> = forged.iter().flat_map(|line| [line.as_str(); 2]).chain(["third", "open"]).collect();
    assert_eq!(of_run, twice);
    world.gone(&ended.build()?, Duration::from_secs(5)).await
}

/// A base image that is not there is asked for once: another request cannot help.
#[tokio::test(flavor = "multi_thread")]
async fn base_image_missing_is_not_asked_for_again() -> Result<()> {
    let world = World::start(&[]).await?;
    let project = Project::new(&world.parts, "RUN true", &single(&world.image("fail/base:1")))?;
    std::fs::write(
        project.path().join("Dockerfile"),
        format!("FROM {}\nRUN true\n", world.image("nosuch:1")),
    )?;
    let ended = world.client(&project).run(&[]).await?;
    assert_eq!(ended.code, Some(1), "{}\n{}", ended.out, ended.err);
    assert!(ended.err.contains("does not exist in that registry"), "{}", ended.err);
    assert_eq!(ended.out.matches("Retrying operation").count(), 1, "{}", ended.out);
    world.gone(&ended.build()?, Duration::from_secs(5)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupting_the_client_ends_the_container_within_five_seconds() -> Result<()> {
    let world = World::start(&[]).await?;
    let steps = format!("{}\nRUN sleep 600", numbered("tick", 3, 100));
    let project = Project::new(&world.parts, &steps, &single(&world.image("fail/cancel:1")))?;
    let mut child = world.client(&project).spawn(&[])?;
    // The log is kept open: a client whose reader is gone ends.
    let mut log = Log::of(&mut child)?;
    let build = log.until("tick 3").await?.build.context("build")?;
    let begin = Instant::now();
    signal("INT", child.id().context("the client is gone")?).await?;
    world.gone(&build, Duration::from_secs(5)).await?;
    println!("container gone {:?} after the interrupt", begin.elapsed());
    assert_eq!(child.wait().await?.code(), Some(130));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_an_error_of_the_user() -> Result<()> {
    let parts = Parts::required();
    let registry = Registry::with_login(&parts).await?;
    let server = Server::start(&parts, &[&registry.host], &[]).await?;
    let credentials = format!(
        "  kaniko-credentials: [{{ registry: \"{}\", username: baker, password: wrong-password }}]\n",
        registry.host
    );
    let image = format!("{}/private/app:1", registry.host);
    let config = single(&image).replace("global:\n", &format!("global:\n{credentials}"));
    let project = Project::new(&parts, "RUN echo never pushed", &config)?;
    let ended = Client::new(&parts, project.path(), &server.url).run(&[]).await?;
    assert_eq!(ended.code, Some(1), "{}\n{}", ended.out, ended.err);
    assert!(ended.err.contains("credentials"), "{}", ended.err);
    assert!(!ended.out.contains("wrong-password") && !ended.err.contains("wrong-password"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_registry_is_named() -> Result<()> {
    let world = World::start(&[]).await?;
    let project =
        Project::new(&world.parts, "RUN true", &single(&format!("{}:9/app:1", world.parts.gateway)))?;
    let ended = world.client(&project).run(&[]).await?;
    assert_eq!(ended.code, Some(1), "{}\n{}", ended.out, ended.err);
    assert!(ended.err.contains(":9"), "{}", ended.err);
    world.gone(&ended.build()?, Duration::from_secs(5)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_script_ends_the_task_and_is_named() -> Result<()> {
    let world = World::start(&[]).await?;
    let image = world.image("fail/script:1");
    for (script, reason) in [("pre-script", "pre-script"), ("post-script", "post-script")] {
        let config = single(&image).replace("global:\n", &format!("global:\n  {script}: echo oh; exit 3\n"));
        let project = Project::new(&world.parts, "RUN true", &config)?;
        let ended = world.client(&project).run(&[]).await?;
        assert_eq!(ended.code, Some(1), "{}\n{}", ended.out, ended.err);
        assert!(ended.err.contains(reason), "{}", ended.err);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_exceeds_its_timeout_is_ended_and_the_stage_is_named() -> Result<()> {
    let world = World::start(&[("BUILD_TASK_TIMEOUT", "6s")]).await?;
    let project = Project::new(&world.parts, "RUN sleep 600", &single(&world.image("fail/slow:1")))?;
    let ended = world.client(&project).run(&[]).await?;
    assert_eq!(ended.code, Some(1), "{}\n{}", ended.out, ended.err);
    assert!(ended.err.contains("time limit") && ended.err.contains("bake"), "{}", ended.err);
    world.gone(&ended.build()?, Duration::from_secs(5)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_exceeds_its_memory_is_reported_as_out_of_memory() -> Result<()> {
    let world = World::start(&[]).await?;
    let config = single(&world.image("fail/oom:1")).replace("global:\n", "global:\n  memory: 128\n");
    // Doubles a shell variable until the kernel kills the process.
    let project = Project::new(&world.parts, "RUN x=xxxxxxxx; while true; do x=$x$x; done", &config)?;
    let ended = world.client(&project).run(&[]).await?;
    assert_eq!(ended.code, Some(1), "{}\n{}", ended.out, ended.err);
    assert!(ended.err.contains("memory"), "{}", ended.err);
    world.gone(&ended.build()?, Duration::from_secs(5)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_an_engine_reports_where_it_looked() -> Result<()> {
    let parts = Parts::required();
    let mut server = Server::new(&parts, &[], &[("DOCKER_HOST", "unix:///nonexistent/docker.sock")])?;
    assert!(server.run().await.is_err());
    assert!(
        server.log().contains("/nonexistent/docker.sock") && server.log().contains("hint"),
        "{}",
        server.log()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_removed_by_hand_is_noticed() -> Result<()> {
    let world = World::start(&[]).await?;
    let steps = format!("{}\nRUN sleep 600", numbered("tick", 1, 100));
    let project = Project::new(&world.parts, &steps, &single(&world.image("fail/removed:1")))?;
    let mut child = world.client(&project).spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    let build = log.until("tick 1").await?.build.context("build")?;
    let engine = Engine::new(&world.parts);
    engine.docker(&["rm", "-f", &format!("bk-{build}-0-1")]).await?;
    log.until("tick 1").await?;
    engine.docker(&["rm", "-f", &format!("bk-{build}-0-2")]).await?;
    assert_eq!(child.wait().await?.code(), Some(4), "two containers were lost, not the user's fault");
    world.gone(&build, Duration::from_secs(5)).await
}
