//! The corpus: Dockerfiles written for it, several cases a file of `cases/`.
//!
//! A case begins with `=== NAME`; then come lines of `KEY: VALUE`, a line `---`, and the Dockerfile. In a case with
//! `bytes: escaped`, `\xNN` is a byte, and a backslash is `\x5C`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use bakery_testkit::repository;

/// Where the cases are.
const CASES: &str = "crates/testkit/tests/dockerfile/cases";

/// A Dockerfile with what its build is given.
#[derive(Debug, Clone, Default)]
pub(crate) struct DockerfileCase {
    pub(crate) name: String,
    pub(crate) text: Vec<u8>,
    pub(crate) args: BTreeMap<String, String>,
    pub(crate) target: String,
    pub(crate) env: Vec<String>,
    pub(crate) onbuild: Vec<String>,
}

/// Every case.
pub(crate) fn all() -> Result<Vec<DockerfileCase>> {
    let mut files = repository::files(CASES)?;
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        cases.extend(read(&file).with_context(|| repository::shown(&file))?);
    }
    Ok(cases)
}

fn read(file: &Path) -> Result<Vec<DockerfileCase>> {
    let text = fs::read_to_string(file)?;
    let mut cases = Vec::new();
    for part in format!("\n{text}").split("\n=== ").skip(1) {
        let (head, body) = part.split_once("\n---\n").context("a case has a line `---`")?;
        let mut lines = head.lines();
        let mut case =
            DockerfileCase { name: lines.next().context("a name")?.to_owned(), ..DockerfileCase::default() };
        // The empty line before the next case is not part of it.
        case.text = body.strip_suffix('\n').unwrap_or(body).as_bytes().to_vec();
        case.text.push(b'\n');
        for line in lines {
            let (key, value) =
                line.split_once(": ").with_context(|| format!("`{line}` is not KEY: VALUE"))?;
            case.set(key, value)?;
        }
        cases.push(case);
    }
    Ok(cases)
}

impl DockerfileCase {
    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "arg" => {
                let (name, value) = value.split_once('=').context("NAME=VALUE")?;
                self.args.insert(name.to_owned(), value.to_owned());
            }
            "target" => value.clone_into(&mut self.target),
            "env" => self.env.push(value.to_owned()),
            "onbuild" => self.onbuild.push(value.to_owned()),
            "bytes" if value == "escaped" => {
                self.text.pop();
                self.text = unescaped(&String::from_utf8(std::mem::take(&mut self.text))?)?;
            }
            _ => bail!("`{key}: {value}` is not known"),
        }
        Ok(())
    }
}

fn unescaped(text: &str) -> Result<Vec<u8>> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        ensure!(part.is_char_boundary(2), "`\\x{part}` is not a byte");
        let (digits, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16)?);
        bytes.extend(rest.as_bytes());
    }
    Ok(bytes)
}
