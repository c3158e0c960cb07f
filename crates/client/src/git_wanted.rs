//! Says that `.git` is not sent, where an ignore file, a Dockerfile or the config wants it.

use std::path::Path;

use bakery_context::{ContextFolder, exceptions_for, read_user_text};
use bakery_core::message::Message;
use bakery_core::report::{Location, Notice};

/// The folder.
const GIT: &str = ".git";
/// Maximum size of a Dockerfile that is searched, in bytes.
const DOCKERFILE_BYTES: u64 = 1 << 20;

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
        let text = read_user_text(&root.join(&path), DOCKERFILE_BYTES).ok()?;
        let file = path.strip_prefix(".").unwrap_or(&path).display().to_string();
        let found = wanting(&text).into_iter();
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

/// The sources in `.git` that the instructions of a Dockerfile name, each with its line. Variables, and the texts of
/// here-documents, are not told apart from anything else.
fn wanting(dockerfile: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut lines = dockerfile.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let mut instruction = line.trim().to_owned();
        while !instruction.starts_with('#') && instruction.ends_with('\\') {
            instruction.pop();
            let next = lines.by_ref().map(|(_, line)| line.trim()).find(|line| !line.starts_with('#'));
            instruction.push(' ');
            instruction.push_str(next.unwrap_or_default());
        }
        let (name, words) = instruction.split_once(char::is_whitespace).unwrap_or_default();
        let words: Vec<_> = words.split_whitespace().collect();
        let (flags, rest) = words.split_at(words.iter().take_while(|word| word.starts_with("--")).count());
        let sources: Vec<&str> = match name.to_ascii_uppercase().as_str() {
            "COPY" | "ADD" if !flags.iter().any(|flag| flag.starts_with("--from=")) => {
                rest.split_last().map_or(&[][..], |(_, sources)| sources).to_vec()
            }
            "RUN" => flags.iter().filter_map(|flag| bind_source(flag.strip_prefix("--mount=")?)).collect(),
            _ => Vec::new(),
        };
        // In the form of a list they have brackets, quotes and commas around them.
        let plain = sources.iter().map(|source| source.trim_matches(['[', ']', '"', ',']));
        found.extend(plain.filter(|source| is_git(source)).map(|source| (at + 1, source.to_owned())));
    }
    found
}

/// The source of a mount of the build context.
fn bind_source(mount: &str) -> Option<&str> {
    let value = |names: &[&str]| {
        let pairs = mount.split(',').filter_map(|option| option.split_once('='));
        pairs.into_iter().find(|(name, _)| names.contains(name)).map(|(_, value)| value)
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
        let found: Vec<_> =
            wanting(dockerfile).iter().map(|(line, source)| format!("{line} {source}")).collect();
        assert_eq!(found, ["3 ./.git/HEAD", "4 .git", "6 .git/refs", "10 .git"]);
    }
}
