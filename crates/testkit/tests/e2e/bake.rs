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
async fn an_inline_dockerfile_of_a_compose_file_is_baked_and_its_layers_are_cached() -> Result<()> {
    let world = World::start(&[]).await?;
    let image = world.image("bake/inline:1");
    let (base, cache) = (&world.parts.base_image, world.image("bake/layers"));
    // The Dockerfile of the folder is not used, nor is its ignore file: each would fail.
    let project = Project::new(&world.parts, "RUN exit 7", "")?;
    project.write("Dockerfile.dockerignore", "made\n")?;
    project.write(".dockerignore", "left-out\n")?;
    project.write("made", "baked\n")?;
    project.write("left-out", "")?;
    let compose = format!(
        r#"services:
  web:
    image: "{image}"
    build:
      platforms: [linux/amd64]
      args: {{ WHO: world }}
      target: last
      cache_to: ["type=registry,ref={cache}:any"]
      dockerfile_inline: |
        FROM {base} AS first
        RUN rm -f /kaniko/bakery/Dockerfile.inline; echo "hello $${{NOBODY:-you}}" >/hello
        FROM {base} AS last
        ARG WHO
        COPY --from=first /hello /hello
        COPY . /context
        RUN echo "$$WHO:" $$(cat /hello /context/made) $$(ls /context)
        FROM {base} AS never
        RUN exit 7
"#
    );
    project.write("compose.yaml", &compose)?;
    let ended = world.client(&project).run(&["--compose", "compose.yaml"]).await?;
    assert_eq!(ended.code, Some(0), "{}\n{}\n{}", ended.out, ended.err, world.server.log());
    let said = "world: hello you baked Dockerfile Dockerfile.dockerignore compose.yaml config.yaml made";
    assert!(ended.said(said)?, "{}", ended.out);
    world.skopeo(&["inspect", "--tls-verify=false", &format!("docker://{image}")]).await?;
    let tags = format!("http://{}/v2/bake/layers/tags/list", world.registry.host);
    let tags = reqwest::get(tags).await?.text().await?;
    assert!(tags.contains("\"tags\":[\""), "{tags}");
    Ok(())
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
