//! Reads the texts of the files that the options name.

use std::path::{Path, PathBuf};

use bakery_context::read_user_text;
use bakery_core::compose::{self, ComposeFile};
use bakery_core::message::{Hint as _, Message};
use bakery_core::report::{Location, Mistake, Report};
use bakery_core::{config, limits};

/// The Compose files as one; `None` without any, or if one cannot be read.
pub(crate) fn read_compose(paths: &[PathBuf], mistakes: &mut Vec<Mistake>) -> Option<ComposeFile> {
    let (mut all, mut failed) = (Vec::new(), false);
    for path in paths {
        match read(path, "--compose").and_then(|(name, text)| compose::read(&name, &text)) {
            Ok(file) => all.push(file),
            Err(report) => {
                failed = true;
                mistakes.extend(report.mistakes);
            }
        }
    }
    let all = all.into_iter().reduce(ComposeFile::with)?;
    if failed {
        mistakes.extend(all.mistakes());
        return None;
    }
    Some(all)
}

/// Name and content of the file that `option` names.
pub(crate) fn read(path: &Path, option: &str) -> Result<(String, String), Report> {
    let name = path.display().to_string();
    let wrong = |text: String, hint: String| {
        let message = Message::new(text).with_hint(hint);
        Report { mistakes: vec![Mistake::new(Location::file(&name), message)] }
    };
    if path.is_dir() {
        return Err(wrong(format!("{option} requires a file, but this is a folder"), file_within(path)));
    }
    match read_user_text(path, limits::SPEC_BYTES as u64) {
        Ok(text) => Ok((name.clone(), text)),
        Err(error) => {
            let hint = match &error {
                error if !error.is_not_found() => error.hint().unwrap_or_default().into_owned(),
                _ if path.is_symlink() => "it is a link to a file that does not exist".to_owned(),
                _ => "check the path; it is relative to the working directory".to_owned(),
            };
            Err(wrong(error.to_string(), hint))
        }
    }
}

/// A hint with the options that read the files in a folder.
fn file_within(folder: &Path) -> String {
    let option = |(option, name): (&str, &str)| {
        let path = folder.join(name);
        path.is_file().then(|| format!("{option} {}", path.display()))
    };
    let compose = compose::FILES.iter().map(|name| ("--compose", *name)).find_map(option);
    let found: Vec<_> = option(("--config", config::FILE)).into_iter().chain(compose).collect();
    if found.is_empty() {
        "name the file; --repo names the folder with the source".to_owned()
    } else {
        format!("use {}; --repo names the folder with the source", found.join(" or "))
    }
}
