//! A build goes on when its client is lost.

use anyhow::{Context as _, Result};
use bakery_testkit::project::{Project, numbered, single};

use crate::world::{Log, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_clients_build_continues_and_its_log_is_complete() -> Result<()> {
    let world = World::start(&[]).await?;
    let image = world.image("lost/client:1");
    let project = Project::new(&world.parts, &numbered("line", 60, 50), &single(&image))?;
    let client = world.client(&project);
    let mut child = client.spawn(&[])?;
    let build = Log::of(&mut child)?.until("line 20").await?.build.context("build")?;
    child.kill().await?;

    let ended = client.run(&["logs", &build]).await?;
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.out, ended.err);
    assert_eq!(ended.numbers("line")?, (1..=60).collect::<Vec<_>>());
    // The lines about the build as a whole come from one frame, its end.
    let of_tasks =
        ended.lines()?.into_iter().filter(|line| line.task.as_ref().is_some_and(|task| !task.is_null()));
    let seqs: Vec<_> = of_tasks.filter_map(|line| line.seq).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{seqs:?}");
    world.manifest(&image).await.map(drop)
}
