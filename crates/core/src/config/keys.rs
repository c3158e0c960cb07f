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

/// Every key of a task, as it is named in messages: `arch`, `kaniko.target`.
pub fn paths() -> Vec<String> {
    let below = |section: &'static str, keys: &'static [KeyDoc]| {
        keys.iter().map(move |key| format!("{section}{}", key.name))
    };
    below("", &TASK).chain(below("kaniko.", &KANIKO)).chain(below("kaniko.cache.", &CACHE)).collect()
}

/// The top of the file.
pub const TOP: [KeyDoc; 2] = [
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
        "list of `{registry, username, password}`",
        "empty",
        "Logins for base images, the push, the cache and the multi-arch index. One per registry.",
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
pub const CREDENTIAL: [KeyDoc; 3] = [
    key("registry", "`HOST` or `HOST:PORT`", "none (required)", "The registry that the login is for."),
    key("username", "string", "none (required)", "The user name."),
    key("password", "string", "none (required)", "The password or token."),
];

/// An entry of `kaniko.secrets`.
pub const SECRET: [KeyDoc; 3] = [
    key("id", "letters, digits, `.`, `_`, `-`", "none (required)", "The id that a mount names."),
    key(
        "env",
        "name of a variable",
        "none",
        "The variable of the client's environment with the value. A secret of the environment such as `GITHUB_TOKEN` needs `--allow-env`.",
    ),
    key("file", "path", "none", "The file with the value."),
];

/// The section `kaniko`.
pub const KANIKO: [KeyDoc; 24] = [
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
    key(
        "target",
        "name or number of a stage",
        "the last stage",
        "The stage of the Dockerfile to build and push.",
    ),
    key(
        "labels",
        "mapping of strings",
        "empty",
        "Labels of the image. Anyone who can pull the image can read them: do not pass secrets.",
    ),
    key(
        "annotations",
        "mapping of strings",
        "empty",
        "Annotations of the manifest of each image; an index has none of them. As public as labels.",
    ),
    key("cache", "section", "", "The layer cache."),
    key(
        "registry-mirrors",
        "list of `HOST`, `HOST/PATH`",
        "empty",
        "Registries from which Kaniko pulls base images in place of Docker Hub, in this order; Docker Hub comes last.",
    ),
    key(
        "registry-map",
        "mapping of `HOST: MIRROR`",
        "empty",
        "Registries from which Kaniko pulls base images in place of another one; several, separated by commas, are tried in this order. Kaniko uses it for pulls only.",
    ),
    key(
        "certificates",
        "mapping of `HOST: PATH`",
        "empty",
        "A CA certificate (PEM) with which Kaniko checks a registry: a file in the source root, which an ignore file must not exclude, or an absolute path in the agent's container. Kaniko uses it for pulls and its own pushes; the server, which pushes an index, does not.",
    ),
    key(
        "compression",
        "`gzip` or `zstd`",
        "Kaniko's default (`gzip`)",
        "How Kaniko compresses the layers that it makes. Not every registry and engine reads `zstd`.",
    ),
    key(
        "reproducible",
        "boolean",
        "`false`",
        "Kaniko strips timestamps from the image: the same files give the same digest. It needs memory for whole layers.",
    ),
    key(
        "single-snapshot",
        "boolean",
        "`false`",
        "Kaniko takes one snapshot at the end of each stage, not one after each step: the stage becomes one layer, and nothing of it is cached.",
    ),
    key(
        "secrets",
        "list of `{id, env}` or `{id, file}`",
        "empty",
        "Build secrets for `RUN --mount=type=secret,id=ID`. The client reads the variable of its environment, or the file (text, relative to `--repo`, in the checkout or below `--repo`), and sends the value with the build; it is neither in the image nor in a command line, and is masked in the log. While Kaniko runs, every `RUN` step of the build can read it. `uid`, `gid` and `mode` belong to the mount.",
    ),
    key(
        "push-retry",
        "number from 0 to 20",
        "5",
        "How often Kaniko tries a failed push again, after 1 s, 2 s, 4 s and so on.",
    ),
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
        "Kaniko flags that have no key here. They are passed last: one that also has a key wins over it, with a notice (`--target`: a mistake), or adds to it if Kaniko takes it several times. Flags that Bakery sets itself are refused.",
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
