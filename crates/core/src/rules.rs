//! The rules that a task keeps, whoever wrote it: the config file says where they are broken, the server trusts nobody
//! and asks again.

use std::collections::BTreeSet;

use crate::spec::TaskSpec;
use crate::{image, kaniko, path};

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The config key that it concerns: `kaniko.destination`.
    pub key: &'static str,
    /// What is wrong.
    pub text: String,
    /// What to do.
    pub hint: String,
}

/// Every rule that the task breaks.
pub fn task(task: &TaskSpec) -> Vec<Broken> {
    let mut broken = Vec::new();
    let mut say = |key, (text, hint): (String, String)| broken.push(Broken { key, text, hint });
    sizes(task, &mut say);
    texts(task, &mut say);
    for name in task.env.keys() {
        if let Some(wrong) = env_name(name) {
            say("env", wrong);
        }
    }
    for name in task.kaniko.build_args.keys() {
        if let Some(wrong) = arg_name(name) {
            say("kaniko.build-args", wrong);
        }
    }
    paths(task, &mut say);
    for flag in &task.kaniko.extra_flags {
        if let Some(wrong) = kaniko::refuse_extra_flag(flag) {
            say("kaniko.extra-flags", wrong);
        }
    }
    if let Some(wrong) = task.kaniko.custom_platform.as_deref().and_then(custom_platform) {
        say("kaniko.custom-platform", wrong);
    }
    if let Some(wrong) = task.kaniko.dir.as_deref().and_then(kaniko_dir) {
        say("kaniko.dir", wrong);
    }
    registries(task, &mut say);
    output(task, &mut say);
    broken
}

type Wrong = (String, String);

/// Why a variable of this name may not be set for the agent's container, and what to do instead.
pub fn env_name(name: &str) -> Option<Wrong> {
    let hint = match name {
        "KANIKO_DIR" => "use `kaniko.dir`: the agent moves along",
        "DOCKER_CONFIG" | "DOCKER_AUTH_CONFIG" => "put logins into `kaniko-credentials`",
        "BUILDER_OUTPUT" => "Bakery reads Kaniko's output itself: leave it out",
        "PATH" => "call programs by their full path, or set it inside the script",
        _ if name.starts_with("LD_") => "set it inside the script that needs it",
        _ => {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let legal = name.chars().all(word) && !name.starts_with(|c: char| c.is_ascii_digit());
            return (name.is_empty() || !legal).then(|| {
                let text = "not the name of a variable".to_owned();
                (text, "letters, digits and `_`, no digit first".to_owned())
            });
        }
    };
    Some((format!("the variable `{name}` is reserved"), hint.to_owned()))
}

/// Why a build argument cannot have this name.
pub fn arg_name(name: &str) -> Option<Wrong> {
    (name.is_empty() || name.contains(['=', '\0', '\n']) || name.contains(char::is_whitespace))
        .then(|| ("not the name of a build argument".to_owned(), "write NAME: value".to_owned()))
}

/// Why this is no `custom-platform`.
pub fn custom_platform(text: &str) -> Option<Wrong> {
    let mut parts = text.split('/');
    let word = |part: Option<&str>| {
        part.is_some_and(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')
        })
    };
    let legal = parts.next() == Some("linux") && word(parts.next());
    let variant = parts.next();
    let legal = legal && (variant.is_none() || word(variant)) && parts.next().is_none();
    (!legal).then(|| {
        ("not a platform that Kaniko bakes".to_owned(), "as `linux/arm64` or `linux/arm64/v8`".to_owned())
    })
}

/// Why Kaniko and the agent cannot live in this folder.
pub fn kaniko_dir(text: &str) -> Option<Wrong> {
    let plain = |part: &str| {
        !part.starts_with('.')
            && !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let legal = text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain));
    let inside = text.strip_prefix(kaniko::DIR).is_some_and(|rest| rest.starts_with('/'));
    (!legal || inside).then(|| {
        let hint = "an absolute path that the image does not have, not below /kaniko, as `/kaniko2`";
        ("not a folder that Kaniko can move to".to_owned(), hint.to_owned())
    })
}

fn sizes(task: &TaskSpec, say: &mut impl FnMut(&'static str, Wrong)) {
    for (key, value) in [("cpu", task.cpu_millis), ("memory", task.memory_mib)] {
        if value == Some(0) {
            say(
                key,
                ("must be more than nothing".to_owned(), "leave it out for the server's default".to_owned()),
            );
        }
    }
}

/// No process takes a NUL byte, in its arguments or its environment.
fn texts(task: &TaskSpec, say: &mut impl FnMut(&'static str, Wrong)) {
    let kaniko = &task.kaniko;
    let scripts = [("pre-script", &task.pre_script), ("post-script", &task.post_script)];
    let cache_repo = [("kaniko.cache.repo", &kaniko.cache.repo)];
    let single =
        scripts.into_iter().chain(cache_repo).filter_map(|(key, text)| Some((key, text.as_deref()?)));
    let env = task.env.values().map(|value| ("env", value.expose()));
    let args = kaniko.build_args.values().map(|value| ("kaniko.build-args", value.as_str()));
    let ignored = kaniko.ignore_path.iter().map(|path| ("kaniko.ignore-path", path.as_str()));
    let flags = kaniko.extra_flags.iter().map(|flag| ("kaniko.extra-flags", flag.as_str()));
    let nul: BTreeSet<&'static str> = single
        .chain(env)
        .chain(args)
        .chain(ignored)
        .chain(flags)
        .filter(|(_, text)| text.contains('\0'))
        .map(|(key, _)| key)
        .collect();
    for key in nul {
        say(key, ("holds a NUL byte".to_owned(), "remove it".to_owned()));
    }
}

fn paths(task: &TaskSpec, say: &mut impl FnMut(&'static str, Wrong)) {
    let (context, dockerfile) = (&task.kaniko.context_path, &task.kaniko.dockerfile);
    if let Some(wrong) = inner_path(context) {
        return say("kaniko.context-path", wrong);
    }
    if let Some(wrong) = path_text(dockerfile) {
        return say("kaniko.dockerfile", wrong);
    }
    match path::join(context, dockerfile) {
        None => say("kaniko.dockerfile", leaves_root()),
        Some(file) if file == "." || dockerfile.ends_with('/') => {
            say("kaniko.dockerfile", ("names a folder".to_owned(), "name the file".to_owned()));
        }
        Some(_) => {}
    }
}

/// Why `text` is no path below the source root.
pub fn inner_path(text: &str) -> Option<Wrong> {
    path_text(text).or_else(|| path::join(".", text).is_none().then(leaves_root))
}

/// Why `text` is no relative path at all.
pub fn path_text(text: &str) -> Option<Wrong> {
    if text.is_empty() || text.contains(['\0', '\n']) {
        return Some(("not a path".to_owned(), "a path relative to the source root".to_owned()));
    }
    text.starts_with('/').then(|| {
        (
            "an absolute path is not in the archive".to_owned(),
            "write it relative to the source root (--repo)".to_owned(),
        )
    })
}

fn leaves_root() -> Wrong {
    (
        "leaves the source root".to_owned(),
        "only what lies below --repo is packed: name a wider --repo".to_owned(),
    )
}

fn registries(task: &TaskSpec, say: &mut impl FnMut(&'static str, Wrong)) {
    let mut seen = BTreeSet::new();
    for login in &task.credentials {
        if image::registry_host(&login.registry).as_deref() != Some(login.registry.as_str()) {
            say("kaniko-credentials", ("not a registry".to_owned(), "HOST or HOST:PORT".to_owned()));
        } else if !seen.insert(&login.registry) {
            let text = format!("a second login for {}", login.registry);
            say("kaniko-credentials", (text, "one login per registry: keep one".to_owned()));
        }
    }
    if let Some(wrong) = task.kaniko.cache.repo.as_deref().and_then(cache_repo) {
        say("kaniko.cache.repo", wrong);
    }
}

/// True for a registry without a repository: Kaniko would take it for a repository of Docker Hub.
pub fn is_bare_host(text: &str) -> bool {
    !text.contains('/')
        && (text.contains(['.', ':']) || text == "localhost")
        && image::registry_host(text).is_some()
}

/// Why `text` is no complete cache repository.
pub fn cache_repo(text: &str) -> Option<Wrong> {
    if text.starts_with("oci:") {
        return None;
    }
    let hint = || "HOST/REPOSITORY, without a tag".to_owned();
    match text.parse::<image::ImageRef>() {
        Ok(image) if image.tag.is_some() || image.digest.is_some() => {
            Some(("a cache repository has no tag: Kaniko sets its own".to_owned(), hint()))
        }
        Ok(_) if text.contains('/') => None,
        _ => Some(("not a repository".to_owned(), hint())),
    }
}

fn output(task: &TaskSpec, say: &mut impl FnMut(&'static str, Wrong)) {
    let kaniko = &task.kaniko;
    match &kaniko.destination {
        None if !kaniko.no_push => say(
            "kaniko.destination",
            (
                "no destination".to_owned(),
                "set `kaniko.destination` (Compose: `image`), or `kaniko.no-push: true`".to_owned(),
            ),
        ),
        Some(image) if image.digest.is_some() => say(
            "kaniko.destination",
            (
                "a destination cannot have a digest".to_owned(),
                "name a tag: REGISTRY/REPOSITORY:TAG".to_owned(),
            ),
        ),
        _ => {}
    }
    let cache_pushed =
        kaniko.cache.enable && !kaniko.extra_flags.iter().any(|flag| flag == "--no-push-cache");
    if kaniko.no_push && cache_pushed && kaniko.cache.repo.is_none() {
        say(
            "kaniko.cache.repo",
            (
                "with `no-push` Kaniko cannot infer the cache's repository".to_owned(),
                "set `kaniko.cache.repo`, or `kaniko.cache.enable: false`".to_owned(),
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
}
