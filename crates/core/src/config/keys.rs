//! Every key of a config file, declared once: the decoder accepts exactly these, and the reference page is generated
//! from them.

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyDoc {
    /// Its name in its section.
    pub name: &'static str,
    /// The values that it accepts.
    pub form: &'static str,
    /// The value if it is not set.
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

/// The values that a key of a task accepts.
pub(super) fn form_of(name: &str) -> Option<&'static str> {
    let mut all = TASK.iter().chain(&KANIKO).chain(&CACHE);
    all.find(|key| key.name == name).map(|key| key.form)
}

/// The top of the file.
pub const TOP: [KeyDoc; 3] = [
    key(
        "global",
        "mapping",
        "empty",
        "Settings for every entry of `bake`, and for every service of a Compose file.",
    ),
    key(
        "bake",
        "list of mappings",
        "one entry that inherits everything from `global`",
        "One task per entry: one image for one architecture. Not used with a Compose file.",
    ),
    key(
        "variables",
        "boolean",
        "`true`, with a notice if the file holds `${`",
        "Whether `${NAME}` is replaced in the values of this file. `true` silences the notice; `false` keeps every text as it is.",
    ),
];

/// `global`, and each entry of `bake`.
pub const TASK: [KeyDoc; 10] = [
    key(
        "platform",
        "`ecs`, `k8s` or `docker`",
        "the server's choice: ECS if it is configured, else Kubernetes, else Docker",
        "Where the task runs.",
    ),
    key(
        "arch",
        "`amd64` or `arm64`",
        "none (required)",
        "The architecture. It is built natively, on a machine of that architecture.",
    ),
    key(
        "cpu",
        "`0.5`, `500m`, `2`",
        "`DEFAULT_BUILD_CPU` of the server",
        "CPU of the task, in cores; at most 1024.",
    ),
    key(
        "memory",
        "`2G`, `2Gi`, `512`",
        "`DEFAULT_BUILD_MEMORY` of the server",
        "Memory of the task, at least 32 MiB. `G` and `Gi` are both 1024 MiB; a number without a unit is MiB.",
    ),
    key(
        "env",
        "mapping of strings",
        "empty",
        "Environment variables of both scripts and of Kaniko itself (proxies, `KANIKO_*`, cloud credentials). `RUN` steps do not see them. Reserved: `KANIKO_DIR`, `DOCKER_CONFIG`, `DOCKER_AUTH_CONFIG`, `BUILDER_OUTPUT`, `PATH`, `LD_*`.",
    ),
    key(
        "pre-script",
        "string",
        "none",
        "Shell script (`sh -e`) that runs in the source root, before Kaniko. If it fails, the task fails. A line `::add-mask::TEXT` in its output is not shown and hides TEXT, of at least 4 characters, in the log from then on; in a `RUN` step it does nothing, and is shown.",
    ),
    key(
        "post-script",
        "string",
        "none",
        "Shell script that runs in the same way, after Kaniko has succeeded. If it fails, the task fails; what was pushed stays pushed.",
    ),
    key(
        "kaniko-credentials",
        "list of logins, or `docker`",
        "empty",
        "Logins for base images, the push, the cache and the multi-arch index. One per registry. The entry `docker`, or `docker` in place of the list, takes those of `docker login` for the registries of `destination` and `cache.repo` that have no other login.",
    ),
    key(
        "registry",
        "`HOST`, `HOST/PATH`",
        "none",
        "In `global` only: services of a Compose file that have no `image` are pushed as `REGISTRY/<project>-<service>`. `--registry` and `BAKERY_REGISTRY` win.",
    ),
    key("kaniko", "section", "", "Settings of Kaniko."),
];

/// An entry of `kaniko-credentials`.
pub const CREDENTIAL: [KeyDoc; 5] = [
    key("registry", "`HOST` or `HOST:PORT`", "none (required)", "The registry that the login is for."),
    key("username", "string without `:`", "none (required without `credentials`)", "The user name."),
    key(
        "password",
        "string",
        "none (one of `password`, `password-file` and `credentials` is required)",
        "The password or token. One newline at its end is cut, with a notice, unless it is a JSON document.",
    ),
    key(
        "password-file",
        "path",
        "none",
        "A file with the password, relative to the folder of this file, in the same checkout. A file elsewhere is named by one variable of the environment: `${REGISTRY_PASSWORD_FILE}`.",
    ),
    key(
        "credentials",
        "`docker`",
        "none",
        "User name and password are those of `docker login` on the client's machine, also for a registry of base images. Credential helpers of the user's docker config are run.",
    ),
];

/// The section `kaniko`.
pub const KANIKO: [KeyDoc; 13] = [
    key("context-path", "path", "`.`", "The build context, relative to the source root (`--repo`)."),
    key("dockerfile", "path", "`Dockerfile`", "The Dockerfile, relative to the context."),
    key(
        "destination",
        "image reference without digest",
        "none (required unless `no-push`)",
        "The image to push. The default tag is `latest`. Entries with the same destination become one multi-arch image.",
    ),
    key(
        "build-args",
        "mapping of strings",
        "empty",
        "Values for `ARG` in the Dockerfile. Anyone who can pull the image can read them: do not pass secrets.",
    ),
    key("cache", "section", "", "The layer cache."),
    key(
        "snapshot-mode",
        "`full`, `redo` or `time`",
        "Kaniko's default (`full`)",
        "How Kaniko detects which files a step has changed.",
    ),
    key(
        "use-new-run",
        "boolean",
        "`false`",
        "Kaniko's experimental way to detect which files a `RUN` step has changed.",
    ),
    key("cleanup", "boolean", "`false`", "Kaniko deletes the container's files after the build."),
    key("no-push", "boolean", "`false`", "Build without pushing."),
    key(
        "custom-platform",
        "`linux/ARCH` or `linux/ARCH/VARIANT`",
        "`linux/<arch>`",
        "The platform that Kaniko builds for.",
    ),
    key(
        "dir",
        "absolute path that does not exist in the image",
        "`/kaniko`",
        "The folder of Kaniko and the agent during the build. Kaniko skips files that a Dockerfile copies into this folder: for an image with files below `/kaniko`, set another one, such as `/kaniko2`.",
    ),
    key("ignore-path", "list of absolute paths", "empty", "Paths that Kaniko excludes from its snapshots."),
    key(
        "extra-flags",
        "string, quoted as in a shell",
        "empty",
        "Kaniko flags that have no key here. They are passed last. Flags that Bakery sets itself are refused.",
    ),
];

/// The section `kaniko.cache`.
pub const CACHE: [KeyDoc; 6] = [
    key(
        "enable",
        "boolean",
        "`false`",
        "Store layers of `RUN` (and `COPY`) in a repository, and reuse them.",
    ),
    key(
        "repo",
        "repository",
        "inferred by Kaniko from the destination",
        "The repository of the layers. A host alone is completed to `HOST/<path of the destination>/cache`.",
    ),
    key("ttl", "duration: `24h`, `90m`", "Kaniko's default (two weeks)", "How long a layer stays valid."),
    key("copy-layers", "boolean", "Kaniko's default", "Store layers of `COPY` as well."),
    key("run-layers", "boolean", "Kaniko's default", "Store layers of `RUN`."),
    key("compressed", "boolean", "Kaniko's default", "`false` needs less memory for large layers."),
];
