//! `check`: what is found in the Dockerfiles of a build, without a server.

use std::collections::BTreeMap;

use bakery_core::message::Message;
use bakery_core::preflight::{self, DockerfileFinding};
use bakery_core::report::Finding;

use crate::cli::BuildOptions;
use crate::exit::{Exit, Failure};
use crate::load::{self, LoadedBuild};
use crate::render::defuse_json;
use crate::{stderr, stdout};

/// Prints what is found. A Dockerfile that does not exist is an error too.
pub(crate) fn run(
    options: &BuildOptions,
    json: bool,
    environment: &BTreeMap<String, String>,
) -> Result<Exit, Failure> {
    let loaded = load::load(options, environment)?;
    loaded.notices.iter().map(Finding::message).for_each(|notice| stderr::notice(&notice));
    loaded.secret_files.iter().map(Finding::message).for_each(|warning| stderr::warning(&warning));
    stdout::print(&if json { as_json(&loaded.dockerfiles) } else { as_text(&loaded) })?;
    if let Some(failure) = loaded.missing_failure() {
        return Err(failure);
    }
    let has_error = loaded.dockerfiles.iter().any(DockerfileFinding::is_error);
    Ok(if has_error { Exit::BadInput } else { Exit::Success })
}

fn as_json(findings: &[DockerfileFinding]) -> String {
    format!("{}\n", defuse_json(&format!("{:#}", preflight::document(findings))))
}

fn as_text(loaded: &LoadedBuild) -> String {
    let messages = loaded.dockerfiles.iter().map(DockerfileFinding::message);
    let shown: String = messages.map(|message: Message| stderr::sanitised(&message.indented())).collect();
    if shown.is_empty() && loaded.missing.is_empty() { "no findings\n".to_owned() } else { shown }
}
