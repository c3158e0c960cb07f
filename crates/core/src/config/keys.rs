//! Every key of a config file, declared once: the decoder accepts exactly these, and the reference page and the JSON
//! Schema are generated from them.

use crate::config::forms::{
    ARG_NAMES, CACHE_REPO, CERTIFIED, CONTEXT_PATH, CPU, CUSTOM_PLATFORM, DESTINATION, DISK, DOCKERFILE,
    ENV_NAMES, FLAGS, IGNORED_PATH, IMAGE_PREFIX, KANIKO_DIR, KeyDoc, LABEL_NAMES, LOGIN_HOST, MEMORY,
    MIRROR, MIRRORED, NOT_EMPTY, REQUIRED, RETRIES, Records, SCRIPT, SECRET_FILE, SECRET_ID, STAGE, TAG,
    TIMEOUT, TTL, USERNAME, VARIABLE, ValueForm,
};
use crate::names::{Arch, Platform};
use crate::spec::{Compression, SnapshotMode};

const fn key(name: &'static str, form: ValueForm, default: &'static str, meaning: &'static str) -> KeyDoc {
    KeyDoc { name, form, default, meaning, global_only: false }
}

/// The names of a section's keys.
pub(super) const fn names<const N: usize>(keys: &[KeyDoc; N]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut nth = 0;
    while nth < N {
        names[nth] = keys[nth].name;
        nth += 1;
    }
    names
}

/// Whether one of these keys has this name, and an effect.
pub(super) fn has(keys: &[KeyDoc], name: &str) -> bool {
    keys.iter().any(|key| key.name == name && key.is_used())
}

/// The values that the key at the end of a path accepts, for people; `None` for an entry of a map.
pub(super) fn form_at(path: &str) -> Option<String> {
    let mut parts = path.rsplit('.').map(|part| part.split('[').next().unwrap_or_default());
    let (name, section) = (parts.next()?, parts.next().unwrap_or_default());
    let keys = match section {
        "kaniko" => &KANIKO[..],
        "cache" => &CACHE,
        "context" => &CONTEXT,
        "secrets" => &SECRET,
        "kaniko-credentials" => &CREDENTIAL,
        _ => &TASK,
    };
    Some(match keys.iter().find(|key| key.name == name)?.form {
        ValueForm::Texts(text) => text.written.to_owned(),
        form => form.to_string(),
    })
}

const PLATFORMS: [&str; 3] =
    [Platform::ALL[0].as_str(), Platform::ALL[1].as_str(), Platform::ALL[2].as_str()];
const ARCHITECTURES: [&str; 2] = [Arch::ALL[0].as_str(), Arch::ALL[1].as_str()];
const SNAPSHOT_MODES: [&str; 3] =
    [SnapshotMode::ALL[0].as_str(), SnapshotMode::ALL[1].as_str(), SnapshotMode::ALL[2].as_str()];
const COMPRESSIONS: [&str; 2] = [Compression::ALL[0].as_str(), Compression::ALL[1].as_str()];

/// Every key of a task, as it is named in messages: `arch`, `kaniko.target`.
pub fn paths() -> Vec<String> {
    let below = |section: &'static str, keys: &'static [KeyDoc]| {
        keys.iter().filter(|key| key.is_used()).map(move |key| format!("{section}{}", key.name))
    };
    below("", &TASK)
        .chain(below("context.", &CONTEXT))
        .chain(below("kaniko.", &KANIKO))
        .chain(below("kaniko.cache.", &CACHE))
        .collect()
}

/// The top of the file.
pub const TOP: [KeyDoc; 3] = [
    key(
        "global",
        ValueForm::Section(&TASK),
        "empty",
        "Settings for every entry of `bake`, and for every service of a Compose file.",
    ),
    key(
        "bake",
        ValueForm::Entries(&TASK),
        "one entry that inherits everything from `global`",
        "One task per entry: one image for one architecture. Not used with a Compose file.",
    ),
    key(
        "variables",
        ValueForm::Switch,
        "`true`, with a notice if the file holds `${`",
        "Whether `${NAME}` is replaced in the values of this file. `true` silences the notice; `false` keeps every text as it is.",
    ),
];

/// `global`, and each entry of `bake`.
pub const TASK: [KeyDoc; 13] = [
    key(
        "platform",
        ValueForm::Word(&PLATFORMS),
        "the server's choice: ECS if it is configured, else Kubernetes, else Docker",
        "Where the task runs.",
    ),
    key(
        "arch",
        ValueForm::Word(&ARCHITECTURES),
        REQUIRED,
        "The architecture. It is built natively, on a machine of that architecture.",
    ),
    key(
        "cpu",
        ValueForm::Text(CPU),
        "`DEFAULT_BUILD_CPU` of the server",
        "CPU of the task, in cores; at most 1024.",
    ),
    key(
        "memory",
        ValueForm::Text(MEMORY),
        "`DEFAULT_BUILD_MEMORY` of the server",
        "Memory of the task, at least 32 MiB. `G` and `Gi` are both 1024 MiB; a number without a unit is MiB.",
    ),
    key(
        "disk",
        ValueForm::Text(DISK),
        "the platform's: `ECS_EPHEMERAL_STORAGE` of the server, `ephemeralStorage` of its settings file for pods",
        "Disk of the task, at least 1 GiB, at most `MAX_TASK_DISK` of the server. ECS: rounded up to whole GiB, from 20 to 200. Kubernetes: request and limit of ephemeral storage. Docker: no effect. A number without a unit is MiB.",
    ),
    key(
        "timeout",
        ValueForm::Text(TIMEOUT),
        "`BUILD_TASK_TIMEOUT` of the server",
        "Time from launch to the end of one attempt at the task, at most `MAX_TASK_TIMEOUT` of the server.",
    ),
    key(
        "env",
        ValueForm::Map(ENV_NAMES),
        "empty",
        "Environment variables of both scripts and of Kaniko itself (proxies, `KANIKO_*`, cloud credentials). `RUN` steps do not see them. Reserved: `KANIKO_DIR`, `DOCKER_CONFIG`, `DOCKER_AUTH_CONFIG`, `BUILDER_OUTPUT`, `PATH`, `LD_*`.",
    ),
    key(
        "pre-script",
        ValueForm::Text(SCRIPT),
        "none",
        "Shell script (`sh -e`) that runs in the source root, before Kaniko. If it fails, the task fails. A line `::add-mask::TEXT` in its output is not shown and hides TEXT, of at least 4 characters, in the log from then on; in a `RUN` step it does nothing, and is shown.",
    ),
    key(
        "post-script",
        ValueForm::Text(SCRIPT),
        "none",
        "Shell script that runs in the same way, after Kaniko has succeeded. If it fails, the task fails; what was pushed stays pushed.",
    ),
    key(
        "kaniko-credentials",
        ValueForm::Records(Records {
            keys: &CREDENTIAL,
            one_of: &[&["username", "password"], &["username", "password-file"], &["credentials"]],
            word: Some(DOCKER),
        }),
        "empty",
        "Logins for base images, the push, the cache and the multi-arch index. One per registry. The entry `docker`, or `docker` in place of the list, takes those of `docker login` for the registries that the task pushes to (`destination`, `tags`, `cache.repo`) and that have no other login.",
    ),
    KeyDoc {
        global_only: true,
        ..key(
            "registry",
            ValueForm::Text(IMAGE_PREFIX),
            "none",
            "In `global` only: services of a Compose file that have no `image` are pushed as `REGISTRY/<project>-<service>`. `--registry` and `BAKERY_REGISTRY` win.",
        )
    },
    KeyDoc {
        global_only: true,
        ..key(
            "context",
            ValueForm::Section(&CONTEXT),
            "",
            "In `global` only: what of the source is sent. There is one archive for all tasks.",
        )
    },
    key("kaniko", ValueForm::Section(&KANIKO), "", "Settings of Kaniko."),
];

/// The section `context`.
pub const CONTEXT: [KeyDoc; 1] = [key(
    "git",
    ValueForm::Switch,
    "`false`",
    "Whether `.git` is sent, for builds that ask git for a version. Ignore files apply to it. Credentials of its config (also of submodules and worktrees) are not sent; the history, hooks and reflogs are. The archive then changes whenever the repository does, also by `git fetch`.",
)];

/// An entry of `kaniko-credentials`.
pub const CREDENTIAL: [KeyDoc; 5] = [
    key("registry", ValueForm::Text(LOGIN_HOST), REQUIRED, "The registry that the login is for."),
    key("username", ValueForm::Text(USERNAME), "none (required without `credentials`)", "The user name."),
    key(
        "password",
        ValueForm::Text(NOT_EMPTY),
        "none (one of `password`, `password-file` and `credentials` is required)",
        "The password or token. One newline at its end is cut, with a notice, unless it is a JSON document.",
    ),
    key(
        "password-file",
        ValueForm::Text(SECRET_FILE),
        "none",
        "A file with the password: text, relative to `--repo`, in the checkout or below `--repo`. A file elsewhere is named by one variable of the environment alone: `${REGISTRY_PASSWORD_FILE}`.",
    ),
    key(
        "credentials",
        ValueForm::Word(&[DOCKER]),
        "none",
        "User name and password are those of `docker login` on the client's machine, also for a registry of base images. Credential helpers of the user's docker config are run.",
    ),
];

/// The word that stands for the logins of `docker login`.
pub(super) const DOCKER: &str = "docker";

/// An entry of `kaniko.secrets`.
pub const SECRET: [KeyDoc; 3] = [
    key("id", ValueForm::Text(SECRET_ID), REQUIRED, "The id that a mount names."),
    key(
        "env",
        ValueForm::Text(VARIABLE),
        "none",
        "The variable of the client's environment with the value. A secret of the environment such as `GITHUB_TOKEN` needs `--allow-env`.",
    ),
    key("file", ValueForm::Text(SECRET_FILE), "none", "The file with the value."),
];

/// The section `kaniko`.
pub const KANIKO: [KeyDoc; 29] = [
    key(
        "context-path",
        ValueForm::Text(CONTEXT_PATH),
        "`.`",
        "The build context, relative to the source root (`--repo`). `/workspace` stands for the source root, as in version 1.0.",
    ),
    key(
        "dockerfile",
        ValueForm::Text(DOCKERFILE),
        "`Dockerfile`",
        "The Dockerfile, relative to the context; or below `/workspace`, the source root.",
    ),
    key(
        "dockerfile-inline",
        ValueForm::Text(SCRIPT),
        "none",
        "The text of a Dockerfile that is not a file, at most 128 KiB. Either this or `dockerfile` is set; in an entry, each replaces the other of `global` too. The ignore file is `.dockerignore` of the context.",
    ),
    key(
        "destination",
        ValueForm::Text(DESTINATION),
        "none (required unless `no-push`)",
        "The image to push. The default tag is `latest`. Entries with the same destination become one multi-arch image.",
    ),
    key(
        "tags",
        ValueForm::Texts(TAG),
        "empty",
        "More names of the same image, in any registry, the same for all entries of one destination. Each is pushed like `destination`, and needs its login in `kaniko-credentials`.",
    ),
    key(
        "build-args",
        ValueForm::Map(ARG_NAMES),
        "empty",
        "Values for `ARG` in the Dockerfile. Anyone who can pull the image can read them: do not pass secrets.",
    ),
    key("target", ValueForm::Text(STAGE), "the last stage", "The stage of the Dockerfile to build and push."),
    key(
        "labels",
        ValueForm::Map(LABEL_NAMES),
        "empty",
        "Labels of the image. Anyone who can pull the image can read them: do not pass secrets.",
    ),
    key(
        "annotations",
        ValueForm::Map(LABEL_NAMES),
        "empty",
        "Annotations of the manifest of each image; an index has none of them. As public as labels.",
    ),
    key("cache", ValueForm::Section(&CACHE), "", "The layer cache."),
    key(
        "registry-mirrors",
        ValueForm::Texts(MIRROR),
        "empty",
        "Registries from which Kaniko pulls base images in place of Docker Hub, in this order; Docker Hub comes last.",
    ),
    key(
        "registry-map",
        ValueForm::Map(MIRRORED),
        "empty",
        "Registries from which Kaniko pulls base images in place of another one; several, separated by commas, are tried in this order. Kaniko uses it for pulls only.",
    ),
    key(
        "certificates",
        ValueForm::Map(CERTIFIED),
        "empty",
        "A CA certificate (PEM) with which Kaniko checks a registry: a file in the source root, which an ignore file must not exclude, or an absolute path in the agent's container. Kaniko uses it for pulls and its own pushes; the server, which pushes an index, does not.",
    ),
    key(
        "compression",
        ValueForm::Word(&COMPRESSIONS),
        "Kaniko's default (`gzip`)",
        "How Kaniko compresses the layers that it makes. Not every registry and engine reads `zstd`.",
    ),
    key(
        "reproducible",
        ValueForm::Switch,
        "`false`",
        "Kaniko strips timestamps from the image: the same files give the same digest. It needs memory for whole layers.",
    ),
    key(
        "single-snapshot",
        ValueForm::Switch,
        "`false`",
        "Kaniko takes one snapshot at the end of each stage, not one after each step: the stage becomes one layer, and nothing of it is cached.",
    ),
    key(
        "secrets",
        ValueForm::Records(Records { keys: &SECRET, one_of: &[&["env"], &["file"]], word: None }),
        "empty",
        "Build secrets for `RUN --mount=type=secret,id=ID`. The client reads the variable of its environment, or the file (text, relative to `--repo`, in the checkout or below `--repo`), and sends the value with the build; it is neither in the image nor in a command line, and is masked in the log. While Kaniko runs, every `RUN` step of the build can read it. `uid`, `gid` and `mode` belong to the mount.",
    ),
    key(
        "push-retry",
        ValueForm::Text(RETRIES),
        "5",
        "How often Kaniko tries a failed push again, after 1 s, 2 s, 4 s and so on.",
    ),
    key(
        "snapshot-mode",
        ValueForm::Word(&SNAPSHOT_MODES),
        "Kaniko's default (`full`)",
        "How Kaniko detects which files a step has changed.",
    ),
    key(
        "use-new-run",
        ValueForm::Switch,
        "`false`",
        "Kaniko's experimental way to detect which files a `RUN` step has changed.",
    ),
    key("cleanup", ValueForm::Switch, "`false`", "Kaniko deletes the container's files after the build."),
    key("no-push", ValueForm::Switch, "`false`", "Build without pushing."),
    key(
        "custom-platform",
        ValueForm::Text(CUSTOM_PLATFORM),
        "`linux/<arch>`",
        "The platform that Kaniko builds for.",
    ),
    key(
        "dir",
        ValueForm::Text(KANIKO_DIR),
        "`/kaniko`",
        "The folder of Kaniko and the agent during the build. Kaniko skips files that a Dockerfile copies into this folder: for an image with files below `/kaniko`, set another one, such as `/kaniko2`.",
    ),
    key(
        "ignore-path",
        ValueForm::Texts(IGNORED_PATH),
        "empty",
        "Paths that Kaniko excludes from its snapshots. Empty entries are ignored.",
    ),
    key(
        "extra-flags",
        ValueForm::Text(FLAGS),
        "empty",
        "Kaniko flags that have no key here. They are passed last: one that also has a key wins over it, with a notice (`--target`: a mistake), or adds to it if Kaniko takes it several times. Flags that Bakery sets itself are refused.",
    ),
    key(
        "env",
        ValueForm::Map(ENV_NAMES),
        "empty",
        "As `env` beside `kaniko`, and takes precedence over it. A key of version 1.0.",
    ),
    key(
        "container-name",
        ValueForm::Unused {
            why: "the container of a task is named after its build",
            hint: "remove it; the container's labels have the build and the task",
        },
        "",
        "No effect: a key of version 1.0. The container of a task is named after its build.",
    ),
    key(
        "image",
        ValueForm::Unused {
            why: "the agent's image is pulled with the server's login",
            hint: "remove it; the server's operator sets AGENT_IMAGE_SECRET_ARN (ECS) or `imagePullSecrets` (Kubernetes), and `kaniko-credentials` has the logins of the build",
        },
        "",
        "No effect: a key of version 1.0. The agent's image is pulled with the login that the server's operator sets (`AGENT_IMAGE_SECRET_ARN`, `imagePullSecrets`).",
    ),
];

/// The section `kaniko.cache`.
pub const CACHE: [KeyDoc; 6] = [
    key(
        "enable",
        ValueForm::Switch,
        "`false`",
        "Store layers of `RUN` (and `COPY`) in a repository, and reuse them.",
    ),
    key(
        "repo",
        ValueForm::Text(CACHE_REPO),
        "inferred by Kaniko from the destination",
        "The repository of the layers. A host alone is completed to `HOST/<path of the destination>/cache`.",
    ),
    key("ttl", ValueForm::Text(TTL), "Kaniko's default (two weeks)", "How long a layer stays valid."),
    key("copy-layers", ValueForm::Switch, "Kaniko's default", "Store layers of `COPY` as well."),
    key("run-layers", ValueForm::Switch, "Kaniko's default", "Store layers of `RUN`."),
    key("compressed", ValueForm::Switch, "Kaniko's default", "`false` needs less memory for large layers."),
];
