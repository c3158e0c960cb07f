//! The three Dockerfiles agree where they must, and have the versions that other files of the repository have.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use bakery_core::kaniko::PINNED_VERSION;
use bakery_testkit::repository;

const PROGRAMS: [&str; 3] = ["server", "client", "agent"];

fn dockerfile(program: &str) -> Result<String> {
    repository::read(&format!("Dockerfile.{program}"))
}

/// The default of an argument before a Dockerfile's first stage.
fn default(text: &str, argument: &str) -> Option<String> {
    let prefix = format!("ARG {argument}=");
    text.lines().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned)
}

#[test]
fn the_stage_that_compiles_is_the_same_in_all() -> Result<()> {
    let mut stages = Vec::new();
    for program in PROGRAMS {
        let text = dockerfile(program)?;
        let begin =
            text.find("FROM --platform=$BUILDPLATFORM ${RUST_IMAGE} AS build").context("its begin")?;
        let last = text.find("compile program").context("its end")?;
        stages.push(text[begin..last].replace(&format!("bakery-{program}"), "bakery-PROGRAM"));
    }
    assert_eq!(stages[0], stages[1]);
    assert_eq!(stages[0], stages[2]);
    Ok(())
}

#[test]
fn dependencies_are_compiled_from_the_manifest_of_every_crate_but_the_tests() -> Result<()> {
    let text = dockerfile("server")?;
    for folder in fs::read_dir(repository::path("crates"))? {
        let folder = folder?;
        let name = folder.file_name().to_string_lossy().into_owned();
        if folder.path().is_dir() && name != "testkit" {
            let line = format!("COPY crates/{name}/Cargo.toml crates/{name}/\n");
            ensure!(text.contains(&line), "the Dockerfiles lack {line}");
        }
    }
    Ok(())
}

#[test]
fn base_images_have_the_versions_of_the_repository() -> Result<()> {
    let toolchain = repository::read("rust-toolchain.toml")?;
    let compose = repository::read("compose.yaml")?;
    for program in PROGRAMS {
        let text = dockerfile(program)?;
        let rust = default(&text, "RUST_IMAGE").context("RUST_IMAGE")?;
        let version = rust.split(':').next_back().and_then(|tag| tag.split('-').next()).context("a tag")?;
        ensure!(toolchain.contains(&format!("channel = \"{version}.")), "{rust}");
        for argument in ["RUST_IMAGE", "BASE_IMAGE", "KANIKO_IMAGE"] {
            if let Some(image) = default(&text, argument) {
                ensure!(compose.contains(&format!("${{{argument}:-{image}}}")), "compose.yaml: {argument}");
            }
        }
    }
    let kaniko = default(&dockerfile("agent")?, "KANIKO_IMAGE").context("KANIKO_IMAGE")?;
    ensure!(kaniko.ends_with(&format!(":{PINNED_VERSION}-debug")), "{kaniko}");
    Ok(())
}
