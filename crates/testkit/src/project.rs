//! Source folders for tests.

use std::fs;
use std::path::Path;

use anyhow::Result;
use tempfile::TempDir;

use crate::parts::Parts;
use crate::repository;

/// A folder with a Dockerfile and a config.yaml, made for one test.
#[derive(Debug)]
pub struct Project {
    folder: TempDir,
}

impl Project {
    /// A project whose Dockerfile is `FROM base` and then `steps`.
    pub fn new(parts: &Parts, steps: &str, config: &str) -> Result<Self> {
        let project = Self { folder: tempfile::tempdir()? };
        project.write("Dockerfile", &format!("FROM {}\n{steps}\n", parts.base_image))?;
        project.write("config.yaml", config)?;
        Ok(project)
    }

    /// A copy of `examples/demo`, a Compose file and a config.yaml.
    pub fn demo() -> Result<Self> {
        let project = Self { folder: tempfile::tempdir()? };
        copy(&repository::path("examples/demo"), project.path())?;
        Ok(project)
    }

    /// Writes one file, with its folders.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.path().join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        Ok(fs::write(path, text)?)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A config with one amd64 task.
pub fn single(destination: &str) -> String {
    format!("global:\n  arch: amd64\n  kaniko:\n    destination: {destination}\n")
}

/// A RUN that writes `MARK 1` to `MARK count`, one line every `millis`.
pub fn numbered(mark: &str, count: u32, millis: u32) -> String {
    let pause = format!("{}.{:03}", millis / 1000, millis % 1000);
    format!("RUN i=1; while [ $i -le {count} ]; do echo {mark} $i; i=$((i+1)); sleep {pause}; done")
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let there = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &there)?;
        } else {
            fs::copy(entry.path(), there)?;
        }
    }
    Ok(())
}
