//! Says that `.git` is not sent, where an ignore file, a Dockerfile or the config wants it.

use std::path::Path;

use bakery_context::{ContextFolder, exceptions_for, read_user_file};
use bakery_core::dockerfile::{self, Dockerfile, Kind, MountFlag, TransferSource};
use bakery_core::limits;
use bakery_core::message::Message;
use bakery_core::report::{Location, Notice};

/// The folder.
const GIT: &str = ".git";

/// One notice for each line of an ignore file or a Dockerfile that wants `.git`, or, if it is sent, one if there is none.
pub(crate) fn notices(root: &Path, folders: &[ContextFolder], is_sent: bool) -> Vec<Notice> {
    if is_sent {
        return missing(root).into_iter().collect();
    }
    // The packer reports rules that cannot be read.
    let lines = exceptions_for(root, folders, GIT).unwrap_or_default();
    let rules = lines.into_iter().map(|line| {
        let text = format!("`{}` has no effect: `.git` is not sent", line.rule.text);
        notice(&line.file, line.rule.line, text)
    });
    let dockerfiles = folders.iter().filter_map(|folder| {
        let path = Path::new(&folder.path).join(folder.dockerfile.as_deref()?);
        let bytes = read_user_file(&root.join(&path), limits::DOCKERFILE_FILE_BYTES as u64).ok()?;
        let file = path.strip_prefix(".").unwrap_or(&path).display().to_string();
        let found = wanting(&dockerfile::read(&file, &bytes)).into_iter();
        Some(found.map(move |(line, source)| {
            notice(&file, line, format!("`{source}` is not there: `.git` is not sent"))
        }))
    });
    rules.chain(dockerfiles.flatten()).collect()
}

/// Says that there is no `.git` to send.
fn missing(root: &Path) -> Option<Notice> {
    if root.join(GIT).symlink_metadata().is_ok() {
        return None;
    }
    let message = Message::new(format!("there is no `.git` in {}", root.display()));
    Some(Notice::of_setting(
        "context.git",
        message.with_hint("choose `--repo` so that it is the folder of the repository"),
    ))
}

fn notice(file: &str, line: usize, text: String) -> Notice {
    let hint =
        "`context.git: true` in `global` of the config sends it, without the credentials of its own config";
    Notice::new(Location { line, col: 1, ..Location::file(file) }, Message::new(text).with_hint(hint))
}

/// The sources in `.git` that the instructions of a Dockerfile name, each with its line. Variables are not replaced.
fn wanting(dockerfile: &Dockerfile) -> Vec<(usize, String)> {
    let found = dockerfile.instructions.iter().flat_map(|instruction| {
        let sources: Vec<&str> = match &instruction.kind {
            Kind::Copy(transfer) | Kind::Add(transfer) if instruction.flag("from").is_none() => {
                transfer.sources.iter().filter_map(path).collect()
            }
            Kind::Run(run) => run.mounts.iter().filter_map(bind_source).collect(),
            _ => Vec::new(),
        };
        let line = instruction.lines.0;
        sources.into_iter().filter(|source| is_git(source)).map(move |source| (line, source.to_owned()))
    });
    found.collect()
}

fn path(source: &TransferSource) -> Option<&str> {
    match source {
        TransferSource::Path(word) => Some(&word.text),
        TransferSource::Inline { .. } => None,
    }
}

/// The source of a mount of the build context.
fn bind_source(mount: &MountFlag) -> Option<&str> {
    let value = |names: &[&str]| {
        let option = mount.options.iter().find(|option| names.contains(&option.key.as_str()))?;
        option.value.as_ref().map(|value| value.text.as_str())
    };
    let is_bind = value(&["type"]).is_none_or(|kind| kind == "bind");
    if is_bind && value(&["from"]).is_none() { value(&["source", "src"]) } else { None }
}

fn is_git(source: &str) -> bool {
    source.split('/').find(|part| !matches!(*part, "" | ".")) == Some(GIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_that_want_git_are_found() {
        let dockerfile = "\
# COPY .git /x
FROM alpine
COPY --chown=1:1 a ./.git/HEAD /x/
add [\".git\", \"/x\"]
COPY --from=other .git /x
COPY a \\
  # a comment
  .git/refs \\
  /x
RUN --network=none --mount=target=/src/.git,source=.git,type=bind git describe
RUN --mount=type=cache,source=.git,target=/x --mount=from=other,source=.git,target=/y true
COPY .gitignore x.git/a /.git
";
        let dockerfile = dockerfile::read("Dockerfile", dockerfile.as_bytes());
        let found: Vec<_> =
            wanting(&dockerfile).iter().map(|(line, source)| format!("{line} {source}")).collect();
        assert_eq!(found, ["3 ./.git/HEAD", "4 .git", "6 .git/refs", "10 .git"]);
    }
}
