//! Two architectures, one index. Emulation is switched on explicitly: the machine has one architecture.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bakery_testkit::project::Project;
use bakery_testkit::skopeo::architectures;
use serde_json::Value;

use crate::world::World;

fn config(image: &str) -> String {
    format!("global:\n  kaniko: {{ destination: \"{image}\" }}\nbake:\n- arch: amd64\n- arch: arm64\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_architectures_become_one_index() -> Result<()> {
    let world = World::start(&[("ALLOW_EMULATION", "true")]).await?;
    let image = world.image("multi/app:1");
    let project = Project::new(&world.parts, "RUN uname -m > /machine", &config(&image))?;
    let ended = world.client(&project).run(&[]).await?;
    assert_eq!(ended.code, Some(0), "{}\n{}\n{}", ended.out, ended.err, world.server.log());

    let index = world.manifest(&image).await?;
    assert_eq!(architectures(&index)?, [Some("amd64"), Some("arm64")]);
    for (arch, machine) in [("amd64", "x86_64"), ("arm64", "aarch64")] {
        let own = world.manifest(&format!("{image}_{arch}")).await?;
        assert!(own["layers"].is_array(), "each architecture has a tag of its own");
        let file = file_of(&world, &image, arch, "machine").await?;
        assert_eq!(String::from_utf8_lossy(&file).trim(), machine);
        let busybox = file_of(&world, &image, arch, "bin/busybox").await?;
        // e_machine of an ELF header: 62 = x86-64, 183 = AArch64.
        assert_eq!(busybox.get(18).copied(), Some(if arch == "amd64" { 62 } else { 183 }));
    }
    world.gone(&ended.build()?, Duration::from_secs(5)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_emulation_another_architecture_is_refused_with_a_hint() -> Result<()> {
    let world = World::start(&[]).await?;
    let project = Project::new(&world.parts, "", &config(&world.image("multi/no:1")))?;
    let ended = world.client(&project).run(&[]).await?;
    assert!(matches!(ended.code, Some(1 | 2)), "{ended:?}");
    assert!(ended.err.contains("arm64") && ended.err.contains("ALLOW_EMULATION"), "{}", ended.err);
    Ok(())
}

/// One file of one architecture's image, fetched by skopeo and unpacked by tar.
async fn file_of(world: &World, image: &str, arch: &str, path: &str) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let to = format!("dir:{}", folder.path().display());
    let from = format!("docker://{image}");
    world.skopeo(&["--override-arch", arch, "copy", "-q", "--src-tls-verify=false", &from, &to]).await?;
    let manifest: Value = serde_json::from_slice(&std::fs::read(folder.path().join("manifest.json"))?)?;
    for layer in manifest["layers"].as_array().context("layers")?.iter().rev() {
        let digest = layer["digest"].as_str().context("digest")?.trim_start_matches("sha256:");
        for name in [path.to_owned(), format!("./{path}")] {
            let mut tar = tokio::process::Command::new("tar");
            tar.arg("-xzOf").arg(folder.path().join(digest)).arg(&name);
            let output = tar.output().await?;
            if output.status.success() {
                return Ok(output.stdout);
            }
        }
    }
    anyhow::bail!("{path} is in no layer of {image}")
}
