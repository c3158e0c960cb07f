//! The rules for keys that become flags of Kaniko as they are.

use super::{inner_path, message};
use crate::image;
use crate::limits;
use crate::message::Message;
use crate::report::forgotten_blank;
use crate::spec::KanikoSpec;

/// The largest number of retries: with the pauses, which double, Kaniko would try for twelve days.
pub(crate) const PUSH_RETRIES: u32 = 20;

/// Every rule that these keys break.
pub(super) fn check(kaniko: &KanikoSpec, report: &mut impl FnMut(&'static str, Message)) {
    let names = [("kaniko.labels", &kaniko.labels), ("kaniko.annotations", &kaniko.annotations)];
    for (key, map) in names {
        map.keys().filter_map(|name| label_name(name)).for_each(|wrong| report(key, wrong));
    }
    if kaniko.dockerfile_inline.as_ref().is_some_and(|text| text.len() > limits::DOCKERFILE_BYTES) {
        let hint = "at most 128 KiB: write it to a file, and name that in `dockerfile`";
        report("kaniko.dockerfile-inline", message("too long", hint));
    }
    if let Some(wrong) = kaniko.target.as_deref().and_then(target) {
        report("kaniko.target", wrong);
    }
    if let Some(wrong) = kaniko.push_retry.and_then(push_retry) {
        report("kaniko.push-retry", wrong);
    }
    for wrong in kaniko.registry_mirrors.iter().filter_map(|text| mirror(text)) {
        report("kaniko.registry-mirrors", wrong);
    }
    for wrong in kaniko.registry_map.values().flatten().filter_map(|text| mirror(text)) {
        report("kaniko.registry-map", wrong);
    }
    for wrong in kaniko.certificates.values().filter_map(|text| certificate(text)) {
        report("kaniko.certificates", wrong);
    }
    for (id, value) in &kaniko.secrets {
        let too_long = value.expose().len() > limits::SECRET_BYTES;
        let wrong = || too_long.then(|| message(format!("`{id}` is too long"), "at most 128 KiB"));
        if let Some(wrong) = secret_id(id).or_else(wrong) {
            report("kaniko.secrets", wrong);
        }
    }
    let hosts = kaniko.registry_map.keys().map(|host| ("kaniko.registry-map", host));
    for (key, host) in hosts.chain(kaniko.certificates.keys().map(|host| ("kaniko.certificates", host))) {
        if image::registry_host(host).as_ref() != Some(host) {
            report(key, message("not a registry", "HOST or HOST:PORT"));
        }
    }
}

/// Why a label or an annotation cannot have this name.
pub fn label_name(name: &str) -> Option<Message> {
    let refused = name.is_empty() || name.contains('=') || name.contains(char::is_control);
    let hint = || forgotten_blank(name).unwrap_or_else(|| "write NAME: value".to_owned());
    refused.then(|| message("not a valid name of a label", hint()))
}

/// Why `text` is not a stage of a Dockerfile. Kaniko would build each of a list that is separated by commas.
pub fn target(text: &str) -> Option<Message> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let legal = text.chars().all(plain) && text.starts_with(|c: char| c.is_ascii_alphanumeric());
    (!legal).then(|| message("not a name of a stage", "write one name that a `FROM ... AS NAME` gives"))
}

/// Why `text` cannot be asked in place of a registry.
pub fn mirror(text: &str) -> Option<Message> {
    let (host, path) = text.split_once('/').unwrap_or((text, "x"));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let legal = image::registry_host(host).is_some() && !path.is_empty() && path.chars().all(plain);
    (!legal).then(|| message("not a registry", "HOST or HOST/PATH, without a scheme"))
}

/// Why `text` is not the path of a certificate.
pub fn certificate(text: &str) -> Option<Message> {
    let hint = "write a path relative to the source root, or an absolute one in the agent's container";
    if text.contains(char::is_control) || text.ends_with('/') {
        return Some(message("not a path of a file", hint));
    }
    if text.starts_with('/') { None } else { inner_path(text) }
}

/// Why a build secret cannot have this id, which becomes the name of a file.
pub fn secret_id(id: &str) -> Option<Message> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let legal = id.chars().all(plain) && !id.starts_with('.') && (1..=64).contains(&id.len());
    (!legal).then(|| {
        message(
            "not a valid id of a secret",
            "use letters, digits, `.`, `_` and `-`, with no dot first; at most 64",
        )
    })
}

/// Why a push is not tried again this often.
pub fn push_retry(times: u32) -> Option<Message> {
    let hint = format!("at most {PUSH_RETRIES}");
    (times > PUSH_RETRIES).then(|| message("too many retries", hint))
}
