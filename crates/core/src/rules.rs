//! The rules for every task. The client reports broken rules with their location in the file; the server does not trust
//! clients and checks them again.

use std::collections::BTreeSet;

use crate::message::Message;
use crate::report::forgotten_blank;
use crate::spec::TaskSpec;
use crate::{image, kaniko, path, system_folders};

mod bounds;
mod keys;

pub use bounds::TaskBounds;
pub(crate) use keys::PUSH_RETRIES;
pub use keys::{certificate, label_name, mirror, push_retry, secret_id, target};

/// A rule that a task breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The config key that it concerns: `kaniko.destination`.
    pub key: &'static str,
    /// What is wrong, and what to do.
    pub message: Message,
}

/// Every rule that the task breaks.
pub fn task(task: &TaskSpec) -> Vec<Broken> {
    let mut broken = Vec::new();
    let mut report = |key, message: Message| broken.push(Broken { key, message });
    sizes(task, &mut report);
    texts(task, &mut report);
    for name in task.env.keys() {
        if let Some(wrong) = env_name(name) {
            report("env", wrong);
        }
    }
    for name in task.kaniko.build_args.keys() {
        if let Some(wrong) = arg_name(name) {
            report("kaniko.build-args", wrong);
        }
    }
    keys::check(&task.kaniko, &mut report);
    paths(task, &mut report);
    for flag in &task.kaniko.extra_flags {
        if let Some(wrong) = kaniko::refuse_extra_flag(flag) {
            report("kaniko.extra-flags", wrong);
        }
    }
    if let Some(wrong) = task.kaniko.custom_platform.as_deref().and_then(custom_platform) {
        report("kaniko.custom-platform", wrong);
    }
    if let Some(wrong) = task.kaniko.dir.as_deref().and_then(kaniko_dir) {
        report("kaniko.dir", wrong);
    }
    registries(task, &mut report);
    output(task, &mut report);
    for (key, wrong) in kaniko::set_twice(&task.kaniko) {
        report(key, wrong);
    }
    broken
}

/// Every flag of the task that an operator forbids.
pub fn refused_flags(refused: &kaniko::RefusedFlags, task: &TaskSpec) -> Vec<Broken> {
    refused.set_by(task).into_iter().map(|(key, message)| Broken { key, message }).collect()
}

fn message(text: impl Into<String>, hint: impl Into<String>) -> Message {
    Message::new(text).with_hint(hint)
}

/// Why a variable of this name may not be set for the agent's container, and what to do instead.
pub fn env_name(name: &str) -> Option<Message> {
    let hint = match name {
        "KANIKO_DIR" => "use `kaniko.dir`, which moves the agent as well",
        "DOCKER_CONFIG" | "DOCKER_AUTH_CONFIG" => "put logins into `kaniko-credentials`",
        "BUILDER_OUTPUT" => "Bakery reads Kaniko's output itself: leave it out",
        "PATH" => "call programs by their full path, or set it inside the script",
        _ if name.starts_with("LD_") => "set it inside the script that needs it",
        _ => {
            let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let legal = name.chars().all(allowed) && !name.starts_with(|c: char| c.is_ascii_digit());
            let refused = name.is_empty() || !legal;
            let hint = || "use letters, digits and `_`, with no digit first".to_owned();
            return refused
                .then(|| message("not a valid variable name", forgotten_blank(name).unwrap_or_else(hint)));
        }
    };
    Some(message(format!("the variable `{name}` is reserved"), hint))
}

/// Why a build argument cannot have this name.
pub fn arg_name(name: &str) -> Option<Message> {
    let refused =
        name.is_empty() || name.contains(['=', ':', '\0', '\n']) || name.contains(char::is_whitespace);
    let hint = || forgotten_blank(name).unwrap_or_else(|| "write NAME: value".to_owned());
    refused.then(|| message("not a valid name of a build argument", hint()))
}

/// Why `text` is not a valid `custom-platform`.
pub fn custom_platform(text: &str) -> Option<Message> {
    let mut parts = text.split('/');
    let plain = |part: Option<&str>| {
        part.is_some_and(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')
        })
    };
    let legal = parts.next() == Some("linux") && plain(parts.next());
    let variant = parts.next();
    let legal = legal && (variant.is_none() || plain(variant)) && parts.next().is_none();
    (!legal).then(|| message("not a valid platform", "for example `linux/arm64` or `linux/arm64/v8`"))
}

/// Why `text` is not a valid folder for Kaniko and the agent.
pub fn kaniko_dir(text: &str) -> Option<Message> {
    let plain = |part: &str| {
        !part.starts_with('.')
            && !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let legal = text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain));
    let inside = text.strip_prefix(kaniko::DIR).is_some_and(|rest| rest.starts_with('/'));
    // The agent empties this folder when it ends, and Kaniko keeps it out of the image.
    let systems = system_folders::is_system_folder(text) || system_folders::is_in_kernel_folder(text);
    (!legal || inside || systems).then(|| {
        let hint = "an absolute path that does not exist in the image, not below /kaniko, such as `/kaniko2`";
        let text = if legal && systems { "a folder of the system" } else { "not a valid folder for Kaniko" };
        message(text, hint)
    })
}

fn sizes(task: &TaskSpec, report: &mut impl FnMut(&'static str, Message)) {
    let sizes = [("cpu", task.cpu_millis), ("memory", task.memory_mib), ("disk", task.disk_mib)];
    let sizes = sizes.map(|(key, value)| (key, value.map(u64::from)));
    for (key, value) in sizes.into_iter().chain([("timeout", task.timeout_seconds)]) {
        if value == Some(0) {
            report(key, message("must be greater than 0", "remove it to use the server's default"));
        }
    }
}

/// No process accepts a NUL byte in its arguments or its environment, and no text of a user needs one.
fn texts(task: &TaskSpec, report: &mut impl FnMut(&'static str, Message)) {
    let kaniko = &task.kaniko;
    let scripts = [("pre-script", &task.pre_script), ("post-script", &task.post_script)];
    let others =
        [("kaniko.cache.repo", &kaniko.cache.repo), ("kaniko.dockerfile-inline", &kaniko.dockerfile_inline)];
    let single = scripts.into_iter().chain(others).filter_map(|(key, text)| Some((key, text.as_deref()?)));
    let env = task.env.values().map(|value| ("env", value.expose()));
    let args = kaniko.build_args.values().map(|value| ("kaniko.build-args", value.as_str()));
    let labels = kaniko.labels.values().map(|value| ("kaniko.labels", value.as_str()));
    let annotations = kaniko.annotations.values().map(|value| ("kaniko.annotations", value.as_str()));
    let ignored = kaniko.ignore_path.iter().map(|path| ("kaniko.ignore-path", path.as_str()));
    let flags = kaniko.extra_flags.iter().map(|flag| ("kaniko.extra-flags", flag.as_str()));
    let nul: BTreeSet<&'static str> = single
        .chain(env)
        .chain(args)
        .chain(labels)
        .chain(annotations)
        .chain(ignored)
        .chain(flags)
        .filter(|(_, text)| text.contains('\0'))
        .map(|(key, _)| key)
        .collect();
    for key in nul {
        report(key, message("holds a NUL byte", "remove it"));
    }
}

fn paths(task: &TaskSpec, report: &mut impl FnMut(&'static str, Message)) {
    let (context, dockerfile) = (&task.kaniko.context_path, &task.kaniko.dockerfile);
    if let Some(wrong) = inner_path(context) {
        return report("kaniko.context-path", wrong);
    }
    if let Some(wrong) = path_text(dockerfile) {
        return report("kaniko.dockerfile", wrong);
    }
    match path::join(context, dockerfile) {
        None => report("kaniko.dockerfile", leaves_root()),
        Some(file) if file == "." || dockerfile.ends_with('/') => {
            report("kaniko.dockerfile", message("names a folder", "name the file"));
        }
        Some(_) => {}
    }
}

/// Why `text` is not a path below the source root.
pub fn inner_path(text: &str) -> Option<Message> {
    path_text(text).or_else(|| path::join(".", text).is_none().then(leaves_root))
}

/// Why `text` is not a relative path.
pub fn path_text(text: &str) -> Option<Message> {
    if text.is_empty() || text.contains(['\0', '\n']) {
        return Some(message("not a path", "write a path relative to the source root"));
    }
    text.starts_with('/').then(|| {
        message("an absolute path is not in the archive", "write it relative to the source root (--repo)")
    })
}

fn leaves_root() -> Message {
    message("leaves the source root", "only files below --repo are packed: set --repo to a parent folder")
}

fn registries(task: &TaskSpec, report: &mut impl FnMut(&'static str, Message)) {
    let mut seen = BTreeSet::new();
    for login in &task.credentials {
        if image::registry_host(&login.registry).as_deref() != Some(login.registry.as_str()) {
            report("kaniko-credentials", message("not a registry", "HOST or HOST:PORT"));
        } else if !seen.insert(&login.registry) {
            let text = format!("a second login for {}", login.registry);
            report("kaniko-credentials", message(text, "one login per registry: keep one"));
        }
        if let Some(wrong) = username(&login.username) {
            report("kaniko-credentials", wrong);
        }
    }
    if let Some(wrong) = task.kaniko.cache.repo.as_deref().and_then(cache_repo) {
        report("kaniko.cache.repo", wrong);
    }
}

/// Why a registry cannot get this user name: a colon ends it in basic authentication.
pub fn username(text: &str) -> Option<Message> {
    if text.contains(':') {
        return Some(message(
            "a user name cannot hold `:`",
            "what follows the colon belongs to the password",
        ));
    }
    let hint = "remove it: the name may have been copied with a line break";
    text.chars().any(char::is_control).then(|| message("a user name cannot hold control characters", hint))
}

/// True for a registry without a repository, which Kaniko would read as a repository of Docker Hub.
pub fn is_bare_host(text: &str) -> bool {
    !text.contains('/')
        && (text.contains(['.', ':']) || text == "localhost")
        && image::registry_host(text).is_some()
}

/// Why `text` is not a complete cache repository.
pub fn cache_repo(text: &str) -> Option<Message> {
    if text.starts_with("oci:") {
        return None;
    }
    let hint = "HOST/REPOSITORY, without a tag";
    match text.parse::<image::ImageRef>() {
        Ok(image) if image.tag.is_some() || image.digest.is_some() => {
            Some(message("a cache repository has no tag: Kaniko sets its own", hint))
        }
        Ok(_) if text.contains('/') => None,
        _ => Some(message("not a repository", hint)),
    }
}

fn output(task: &TaskSpec, report: &mut impl FnMut(&'static str, Message)) {
    let kaniko = &task.kaniko;
    match &kaniko.destination {
        None if !kaniko.no_push => report(
            "kaniko.destination",
            message(
                "no destination",
                "set `kaniko.destination` (Compose: `image`), or `kaniko.no-push: true`",
            ),
        ),
        Some(image) if image.digest.is_some() => report(
            "kaniko.destination",
            message("a destination cannot have a digest", "name a tag: REGISTRY/REPOSITORY:TAG"),
        ),
        _ => {}
    }
    if kaniko.tags.iter().any(|image| image.digest.is_some()) {
        report("kaniko.tags", message("a tag cannot have a digest", "REGISTRY/REPOSITORY:TAG"));
    }
    if kaniko.destination.is_none() && !kaniko.no_push && !kaniko.tags.is_empty() {
        report("kaniko.tags", message("needs a `destination`", "make the first of them the `destination`"));
    }
    let cache_pushed =
        kaniko.cache.enable && !kaniko.extra_flags.iter().any(|flag| flag == "--no-push-cache");
    if kaniko.no_push && cache_pushed && kaniko.cache.repo.is_none() {
        report(
            "kaniko.cache.repo",
            message(
                "with `no-push` Kaniko cannot infer the cache's repository",
                "set `kaniko.cache.repo`, or `kaniko.cache.enable: false`",
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kaniko_moves_to_a_plain_absolute_folder_that_is_not_inside_its_own() {
        // `/kaniko` itself means that it stays.
        for good in ["/kaniko2", "/opt/build_tools/kaniko-2.0", "/kaniko"] {
            assert_eq!(kaniko_dir(good), None, "{good}");
        }
        for bad in [
            "",
            "/",
            "kaniko2",
            "/kaniko2/",
            "//kaniko2",
            "/kaniko/in",
            "/a/../b",
            "/.kaniko",
            "/a b",
            "/a:b",
            "/ä",
        ] {
            assert!(kaniko_dir(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn probe_19_kaniko_never_moves_to_a_folder_of_the_system() {
        for bad in [
            "/proc/1",
            "/proc",
            "/sys/fs/cgroup",
            "/dev/shm",
            "/usr",
            "/etc",
            "/bin",
            "/lib64",
            "/var",
            "/tmp",
        ] {
            assert_eq!(kaniko_dir(bad).unwrap().text, "a folder of the system", "{bad}");
        }
        for good in ["/process", "/usr/local/kaniko", "/var/kaniko", "/tmp/kaniko"] {
            assert_eq!(kaniko_dir(good), None, "{good}");
        }
    }
}
