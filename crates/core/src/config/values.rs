//! Parses the values of a config file; every error has a hint.

use crate::config::shell_words;
use crate::image::ImageRef;
use crate::message::Message;
use crate::path;
use crate::report::shown;
use crate::rules;
use crate::units;

pub(super) fn boolean(text: &str) -> Result<bool, Message> {
    match text {
        "true" | "True" | "TRUE" => Ok(true),
        "false" | "False" | "FALSE" => Ok(false),
        _ => {
            Err(Message::new(format!("`{}` is not true or false", shown(text)))
                .with_hint("write true or false"))
        }
    }
}

pub(super) fn cpu(text: &str) -> Result<u32, Message> {
    let hint = "for example `0.5`, `2` or `500m`; at most 1024";
    units::cpu(text).ok_or_else(|| {
        Message::new(format!("`{}` is not a valid amount of cpu", shown(text))).with_hint(hint)
    })
}

pub(super) fn memory(text: &str) -> Result<u32, Message> {
    let hint = "for example `2G`, `512Mi` or `2048` (MiB); at least 32 MiB, at most 16T";
    units::memory(text).ok_or_else(|| {
        Message::new(format!("`{}` is not a valid amount of memory", shown(text))).with_hint(hint)
    })
}

pub(super) fn disk(text: &str) -> Result<u32, Message> {
    let hint = "for example `40G` or `40Gi`; at least 1 GiB, at most 16T";
    units::disk(text).ok_or_else(|| {
        Message::new(format!("`{}` is not a valid amount of disk", shown(text))).with_hint(hint)
    })
}

pub(super) fn timeout(text: &str) -> Result<u64, Message> {
    seconds(text, "for example `30m`, `90s` or `1h30m`")
}

pub(super) fn ttl(text: &str) -> Result<u64, Message> {
    seconds(text, "for example `24h`, `90m` or `1h30m`; a day is 24h")
}

fn seconds(text: &str, hint: &str) -> Result<u64, Message> {
    let read = units::duration(text).map(|duration| duration.as_secs());
    read.ok_or_else(|| Message::new(format!("`{}` is not a valid duration", shown(text))).with_hint(hint))
}

/// A bare host is completed once the destination is known.
pub(super) fn cache_repo(text: &str) -> Result<String, Message> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let wrong = if rules::is_bare_host(text) { None } else { rules::cache_repo(text) };
    wrong.map_or_else(|| Ok(text.to_owned()), Err)
}

/// What stands for the source root in paths, as in version 1.0, which unpacked it there.
const SOURCE_ROOT: &str = "/workspace";

pub(super) fn inner_path(text: &str) -> Result<String, Message> {
    if let Some(inner) = in_source(text) {
        return Ok(inner);
    }
    rules::inner_path(text).map_or_else(|| Ok(path::tidy(text)), Err)
}

/// A path relative to the context; with a slash first, to the source root.
pub(super) fn dockerfile(text: &str) -> Result<String, Message> {
    if let Some(inner) = in_source(text) {
        return Ok(format!("/{inner}"));
    }
    rules::path_text(text).map_or_else(|| Ok(path::tidy(text)), Err)
}

/// An absolute path in the source root of version 1.0, relative to the source root.
pub(super) fn in_source(text: &str) -> Option<String> {
    let plain = text.starts_with('/') && !text.contains(['\0', '\n']);
    path::below(SOURCE_ROOT, text).filter(|_| plain)
}

/// An image reference to push to; the error's hint names the reason.
pub(crate) fn destination(text: &str) -> Result<ImageRef, Message> {
    text.parse().map_err(|_| {
        let hint = if text.contains("://") {
            "leave out the scheme: REGISTRY/REPOSITORY:TAG"
        } else if text.contains('$') {
            "a variable in config.yaml is written in braces, `${NAME}`, and replaced by bakery-client"
        } else if text.contains(char::is_whitespace) {
            "remove the blanks: REGISTRY/REPOSITORY:TAG"
        } else if text.contains("//") || text.contains(":@") || text.ends_with(':') || text.contains("/:") {
            "a part of it is empty: was a variable not set when this file was generated?"
        } else if text.to_lowercase().parse::<ImageRef>().is_ok() {
            "image names must be lower case"
        } else {
            "REGISTRY/REPOSITORY:TAG"
        };
        Message::new(format!("`{}` is not an image reference", shown(text))).with_hint(hint)
    })
}

pub(super) fn custom_platform(text: &str) -> Result<String, Message> {
    rules::custom_platform(text).map_or_else(|| Ok(text.to_owned()), Err)
}

pub(super) fn kaniko_dir(text: &str) -> Result<String, Message> {
    rules::kaniko_dir(text).map_or_else(|| Ok(text.to_owned()), Err)
}

pub(super) fn target(text: &str) -> Result<String, Message> {
    rules::target(text).map_or_else(|| Ok(text.to_owned()), Err)
}

pub(super) fn mirror(text: &str) -> Result<String, Message> {
    let text = text.trim();
    rules::mirror(text).map_or_else(|| Ok(text.to_owned()), Err)
}

/// One mirror, or several that are separated by commas.
pub(super) fn mirrors(text: &str) -> Result<Vec<String>, Message> {
    text.split(',').map(mirror).collect()
}

pub(super) fn certificate(text: &str) -> Result<String, Message> {
    let tidy = |text: &str| if text.starts_with('/') { text.to_owned() } else { path::tidy(text) };
    rules::certificate(text).map_or_else(|| Ok(tidy(text)), Err)
}

pub(super) fn retries(text: &str) -> Result<u32, Message> {
    let wrong = || Message::new(format!("`{}` is not a number", shown(text))).with_hint("for example `5`");
    let number = text.parse().map_err(|_| wrong())?;
    rules::push_retry(number).map_or(Ok(number), Err)
}

pub(super) fn flags(text: &str) -> Result<Vec<String>, Message> {
    let flags =
        shell_words::split(text).map_err(|open| Message::new(open).with_hint("close it, or escape it"))?;
    match flags.first().filter(|first| !first.starts_with('-')) {
        Some(first) => {
            Err(Message::new(format!("`{}` is not a flag", shown(first))).with_hint("flags begin with `--`"))
        }
        None => Ok(flags),
    }
}
