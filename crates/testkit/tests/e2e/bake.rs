//! One task, one architecture.

use anyhow::Result;
use bakery_testkit::project::{Project, single};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_dockerfile_becomes_an_image_in_the_registry() -> Result<()> {
    let world = World::start(&[]).await?;
    let image = world.image("bake/one:1");
    let project =
        Project::new(&world.parts, "ARG WHO\nRUN echo hello $WHO | tee /hello\nCOPY made /made", &{
            let script =
                "  pre-script: echo from the pre-script > made\n  post-script: echo after the bake\n";
            single(&image).replace("global:\n", &format!("global:\n{script}"))
                + "    build-args: { WHO: world }\n"
        })?;
    let ended = world.client(&project).run(&[]).await?;
    assert_eq!(ended.code, Some(0), "{}\n{}\n{}", ended.out, ended.err, world.server.log());
    let texts: Vec<_> = ended.lines()?.into_iter().map(|line| line.message).collect();
    assert!(texts.iter().any(|text| text.contains("hello world")), "{texts:#?}");
    assert!(texts.iter().any(|text| text == "after the bake"), "{texts:#?}");
    let digest = world
        .skopeo(&["inspect", "--tls-verify=false", "--format={{.Digest}}", &format!("docker://{image}")])
        .await?;
    assert!(format!("{}{}", ended.out, ended.err).contains(digest.trim()), "the client prints the digest");
    world.gone(&ended.build()?, std::time::Duration::from_secs(5)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_push_builds_and_pushes_nothing() -> Result<()> {
    let world = World::start(&[]).await?;
    let project = Project::new(
        &world.parts,
        "RUN echo built",
        "global:\n  arch: amd64\n  kaniko: { no-push: true }\n",
    )?;
    let ended = world.client(&project).run(&[]).await?;
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.out, ended.err);
    let catalog = reqwest::get(format!("http://{}/v2/_catalog", world.registry.host)).await?.text().await?;
    assert_eq!(catalog.trim(), r#"{"repositories":[]}"#);
    Ok(())
}
