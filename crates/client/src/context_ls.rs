//! `context ls`: what is sent of the source, what of it is largest, and what is left out by which line.

mod printer;

use std::collections::BTreeMap;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use bakery_context::{ContextFolder, PackError, SourceTree, list};
use bakery_core::message::Message;
use bakery_core::names::ServiceName;
use bakery_core::report::Finding;
use bakery_core::spec::BuildSpec;
use bakery_core::units::format_bytes;

use crate::cli::{BuildOptions, ListOptions};
use crate::exit::{Exit, Failure};
use crate::load::{self, folders};
use crate::{context_size, stderr, stdout};

use printer::Printer;

/// Prints the list of a build's source, or of the context of one service.
pub fn run(
    options: &BuildOptions,
    listed: &ListOptions,
    environment: &BTreeMap<String, String>,
) -> Result<Exit, Failure> {
    let loaded = load::load(options, environment)?;
    loaded.notices.iter().map(Finding::message).for_each(|notice| stderr::notice(&notice));
    let warnings = loaded.missing.iter().map(|text| Message::new(text.as_str()));
    let warnings = loaded.secret_files.iter().map(Finding::message).chain(warnings);
    warnings.for_each(|warning| stderr::warning(&warning));
    let (contexts, below) = match &listed.service {
        None => (folders(&loaded.spec), vec![PathBuf::new()]),
        Some(name) => {
            let contexts = folders(&of_service(loaded.spec, name)?);
            let below = contexts.iter().map(|context| real(&loaded.root, context)).collect();
            (contexts, below)
        }
    };
    let source = SourceTree { root: &loaded.root, contexts: &contexts, git: loaded.git };
    let mut printer = Printer::new(BufWriter::new(io::stdout().lock()), listed, below);
    let listing = list(&source, &mut |entry| printer.entry(entry)).and_then(|listing| {
        printer.finish().map_err(PackError::Write)?;
        Ok(listing)
    });
    let listing = match listing {
        Ok(listing) => listing,
        Err(PackError::Write(cause)) => return stdout::ended(Err(cause)),
        Err(error) => return Err(Failure::new(Exit::BadInput, Message::of(&error))),
    };
    listing.notices.iter().for_each(stderr::notice);
    if !listed.dropped {
        let (files, bytes) = printer.sent();
        stderr::print(&format!("{files} files and links, {}", format_bytes(bytes)));
    }
    if listed.service.is_none() {
        context_size::notice(listing.bytes, &listing.largest).iter().for_each(stderr::notice);
    }
    Ok(Exit::Success)
}

/// The part of a build that is one service.
fn of_service(mut spec: BuildSpec, name: &ServiceName) -> Result<BuildSpec, Failure> {
    let names: Vec<_> =
        spec.services.iter().filter_map(|service| service.name.as_ref()).map(ToString::to_string).collect();
    spec.services.retain(|service| service.name.as_ref() == Some(name));
    if !spec.services.is_empty() {
        return Ok(spec);
    }
    let hint = match names.as_slice() {
        [] => "the entries of a config.yaml have no names: leave the name out".to_owned(),
        names => format!("known services with a build: {}", names.join(", ")),
    };
    Err(Failure::input(format!("there is no service `{name}`"), hint))
}

/// The path of a context, links resolved, relative to the root.
fn real(root: &Path, context: &ContextFolder) -> PathBuf {
    let path = root.join(&context.path);
    let path = path.canonicalize().unwrap_or(path);
    path.strip_prefix(root).map(Path::to_path_buf).unwrap_or_default()
}
