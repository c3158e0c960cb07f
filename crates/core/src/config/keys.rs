//! Every key of a config file, declared once: the decoder knows what stands here, and the reference page is made of it.

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyDoc {
    /// Its name in its section.
    pub name: &'static str,
    /// What may be written there.
    pub form: &'static str,
    /// What counts where nothing is written.
    pub default: &'static str,
    /// What it does, in whole sentences.
    pub meaning: &'static str,
}

const fn key(name: &'static str, form: &'static str, default: &'static str, meaning: &'static str) -> KeyDoc {
    KeyDoc { name, form, default, meaning }
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

/// The top of the file.
pub const TOP: [KeyDoc; 2] = [
    key(
        "global",
        "mapping",
        "empty",
        "What holds for every entry of `bake`, and for every service of a Compose file.",
    ),
    key(
        "bake",
        "list of mappings",
        "one entry that takes all from `global`",
        "One task each: one image for one architecture. Plays no part with a Compose file.",
    ),
];

/// `global`, and each entry of `bake`.
pub const TASK: [KeyDoc; 9] = [
    key(
        "platform",
        "`ecs`, `k8s` or `docker`",
        "the server's choice: ECS where it has it, else Kubernetes, else Docker",
        "Where the task runs.",
    ),
    key(
        "arch",
        "`amd64` or `arm64`",
        "none: needed",
        "The architecture. It is built natively, on a machine of that kind.",
    ),
    key(
        "cpu",
        "`0.5`, `500m`, `2`",
        "`DEFAULT_BUILD_CPU` of the server",
        "Processor time of the task, in cores.",
    ),
    key(
        "memory",
        "`2G`, `2Gi`, `512`",
        "`DEFAULT_BUILD_MEMORY` of the server",
        "Memory of the task. `G` and `Gi` are both 1024 MiB; a bare number is MiB.",
    ),
    key(
        "env",
        "mapping of texts",
        "empty",
        "Variables of both scripts and of Kaniko itself (proxies, `KANIKO_*`, cloud credentials). A `RUN` does not see them. Reserved: `KANIKO_DIR`, `DOCKER_CONFIG`, `DOCKER_AUTH_CONFIG`, `BUILDER_OUTPUT`, `PATH`, `LD_*`.",
    ),
    key(
        "pre-script",
        "text",
        "none",
        "Shell (`sh -e`) in the source root, before Kaniko. Where it fails, the task fails.",
    ),
    key(
        "post-script",
        "text",
        "none",
        "The same, only after Kaniko has succeeded. Where it fails, the task fails; what was pushed stays pushed.",
    ),
    key(
        "kaniko-credentials",
        "list of `{registry, username, password}`",
        "empty",
        "Logins: for base images, the push, the cache and the multi-arch index. One per registry.",
    ),
    key("kaniko", "section", "", "What Kaniko is told."),
];

/// An entry of `kaniko-credentials`.
pub const CREDENTIAL: [KeyDoc; 3] = [
    key("registry", "`HOST` or `HOST:PORT`", "none: needed", "The registry that the login is for."),
    key("username", "text", "none: needed", "The user."),
    key("password", "text", "none: needed", "The password or token."),
];

/// The section `kaniko`.
pub const KANIKO: [KeyDoc; 13] = [
    key("context-path", "path", "`.`", "The build context, below the source root (`--repo`)."),
    key("dockerfile", "path", "`Dockerfile`", "Relative to the context."),
    key(
        "destination",
        "image reference without digest",
        "none: needed, unless `no-push`",
        "What is pushed. No tag means `latest`. Entries with one destination become one multi-arch image.",
    ),
    key(
        "build-args",
        "mapping of texts",
        "empty",
        "For `ARG` in the Dockerfile. Whoever can pull the image can read them: no secrets here.",
    ),
    key("cache", "section", "", "The layer cache."),
    key(
        "snapshot-mode",
        "`full`, `redo` or `time`",
        "Kaniko's (`full`)",
        "How Kaniko finds what a step has changed.",
    ),
    key("use-new-run", "boolean", "`false`", "Kaniko's other way to find what a `RUN` has changed."),
    key("cleanup", "boolean", "`false`", "Kaniko empties its root file system at its end."),
    key("no-push", "boolean", "`false`", "Build, and push nothing."),
    key(
        "custom-platform",
        "`linux/ARCH` or `linux/ARCH/VARIANT`",
        "`linux/<arch>`",
        "The platform that Kaniko builds for.",
    ),
    key(
        "dir",
        "absolute path that the image does not have",
        "`/kaniko`",
        "Where Kaniko and the agent live while they bake. Kaniko leaves out what a Dockerfile copies into its own folder: an image with files below `/kaniko` needs another one, as `/kaniko2`.",
    ),
    key("ignore-path", "list of absolute paths", "empty", "Paths that Kaniko leaves out of its snapshots."),
    key(
        "extra-flags",
        "text, quoted as in a shell",
        "empty",
        "Flags of Kaniko that have no key here. They go last. Those that Bakery sets itself are refused.",
    ),
];

/// The section `kaniko.cache`.
pub const CACHE: [KeyDoc; 6] = [
    key(
        "enable",
        "boolean",
        "`false`",
        "Keep layers of `RUN` (and `COPY`) in a repository, and take them from there.",
    ),
    key(
        "repo",
        "repository",
        "Kaniko infers one from the destination",
        "Where layers are kept. A bare host is completed to `HOST/<path of the destination>/cache`.",
    ),
    key("ttl", "duration: `24h`, `90m`", "Kaniko's (two weeks)", "How long a layer counts."),
    key("copy-layers", "boolean", "Kaniko's", "Keep layers of `COPY` as well."),
    key("run-layers", "boolean", "Kaniko's", "Keep layers of `RUN`."),
    key("compressed", "boolean", "Kaniko's", "`false` needs less memory for large layers."),
];
