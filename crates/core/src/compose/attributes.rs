//! Every attribute of a service that concerns building, and how it is treated, declared once: the reader uses these
//! tables, and the reference page is generated from them.

/// How an attribute is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is used, in this way.
    Taken(&'static str),
    /// It is a mistake: to ignore it would change the result.
    Refused {
        /// What is wrong.
        message: &'static str,
        /// What to do instead.
        hint: &'static str,
    },
    /// It has no effect, which is reported as a notice; the hint says what to do instead, if there is an alternative.
    Ignored {
        /// What to do instead.
        hint: Option<&'static str>,
    },
}

/// One attribute of the Compose specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute {
    /// Its name in its section.
    pub name: &'static str,
    /// How it is treated.
    pub fate: Fate,
}

const fn taken(name: &'static str, becomes: &'static str) -> Attribute {
    Attribute { name, fate: Fate::Taken(becomes) }
}

const fn refused(name: &'static str, message: &'static str, hint: &'static str) -> Attribute {
    Attribute { name, fate: Fate::Refused { message, hint } }
}

const fn ignored(name: &'static str) -> Attribute {
    Attribute { name, fate: Fate::Ignored { hint: None } }
}

const fn replaced(name: &'static str, hint: &'static str) -> Attribute {
    Attribute { name, fate: Fate::Ignored { hint: Some(hint) } }
}

const NOT_YET: &str = "not supported yet";
const CHANGES_RESULT: &str = "it changes the result, so it is not ignored: remove it if you do not need it";
const PRIVILEGES: &str = "Kaniko builds without privileges: leave it out";

/// The attributes of a service that are read. All others are for running it, and are not read.
pub(super) const SERVICE: [Attribute; 7] = [
    taken("build", "the section below; a string is its `context`"),
    taken(
        "image",
        "`kaniko.destination`; without it `--registry`, `BAKERY_REGISTRY` or `global.registry` gives `<registry>/<project>-<service>`. \
         `--image-tag` is the tag of images that name none",
    ),
    taken(
        "platform",
        "the architecture, if `build` lists no platforms; without it `DOCKER_DEFAULT_PLATFORM` counts",
    ),
    taken(
        "profiles",
        "the service is active if `--services` names it or one of its profiles is in `COMPOSE_PROFILES` (`*`: all); the \
         profiles of a service that `--services` names also count for the services that it depends on",
    ),
    taken(
        "depends_on",
        "no effect on the build; as in Compose, the services must exist and be active, without cycles",
    ),
    taken(
        "extends",
        "everything that the named service has, merged as files are; with `file` of another file, whose paths are relative to its \
         folder. That file is in the checkout or below `--repo`",
    ),
    replaced("x-bake", "move it below `build`"),
];

/// The attributes of a service that are for running it, and are not read.
pub(super) const FOR_RUNNING: [&str; 88] = [
    "annotations",
    "attach",
    "blkio_config",
    "cap_add",
    "cap_drop",
    "cgroup",
    "cgroup_parent",
    "command",
    "configs",
    "container_name",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpu_shares",
    "cpus",
    "cpuset",
    "credential_spec",
    "deploy",
    "develop",
    "device_cgroup_rules",
    "devices",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "entrypoint",
    "env_file",
    "environment",
    "expose",
    "external_links",
    "extra_hosts",
    "gpus",
    "group_add",
    "healthcheck",
    "hostname",
    "init",
    "ipc",
    "isolation",
    "label_file",
    "labels",
    "links",
    "logging",
    "mac_address",
    "mem_limit",
    "mem_reservation",
    "mem_swappiness",
    "memswap_limit",
    "models",
    "network_mode",
    "networks",
    "oom_kill_disable",
    "oom_score_adj",
    "pid",
    "pids_limit",
    "ports",
    "post_start",
    "pre_start",
    "pre_stop",
    "privileged",
    "provider",
    "pull_policy",
    "pull_refresh_after",
    "read_only",
    "restart",
    "runtime",
    "scale",
    "secrets",
    "security_opt",
    "shm_size",
    "stdin_open",
    "stop_grace_period",
    "stop_signal",
    "storage_opt",
    "sysctls",
    "tmpfs",
    "tty",
    "ulimits",
    "umask",
    "use_api_socket",
    "user",
    "userns_mode",
    "uts",
    "volumes",
    "volumes_from",
    "working_dir",
];

/// The section `build` of the current Compose specification.
pub(super) const BUILD: [Attribute; 26] = [
    taken("context", "`kaniko.context-path`: relative to the Compose file, inside `--repo`"),
    taken("dockerfile", "`kaniko.dockerfile`"),
    taken(
        "dockerfile_inline",
        "`kaniko.dockerfile-inline`: a Dockerfile that is not a file. `$$` is a dollar sign for the Dockerfile; the ignore file is `.dockerignore` of the context",
    ),
    taken("args", "`kaniko.build-args`; a name without a value takes that of the variable, if it is set"),
    taken("target", "`kaniko.target`"),
    taken("labels", "`kaniko.labels`"),
    taken(
        "tags",
        "`kaniko.tags`: the image is pushed under each; without `image` the first is the destination",
    ),
    taken("platforms", "the architectures, if `x-bake.platforms` is not set"),
    taken("no_cache", "`true` sets `kaniko.cache.enable: false`"),
    taken(
        "cache_to",
        "`type=registry,ref=REPOSITORY` is `kaniko.cache` with this repository, as far as a config file does not set it. Kaniko names the layers itself, so a tag has no effect; other types have none either, and a second repository is a mistake: all of that is reported",
    ),
    taken(
        "cache_from",
        "as `cache_to`; alone it turns the cache on too, and Kaniko writes to it. An image with an inline cache (`myapp:latest`) has no effect, which is reported",
    ),
    taken("pull", "always on, whatever the value: Kaniko pulls every base image"),
    taken(
        "secrets",
        "`kaniko.secrets`: secrets of the project with `file` (text, in the checkout or below `--repo`) or `environment`; `uid`, `gid` and `mode` belong to `RUN --mount` and have no effect",
    ),
    taken("x-bake", "the section below"),
    refused("additional_contexts", NOT_YET, CHANGES_RESULT),
    refused("extra_hosts", NOT_YET, CHANGES_RESULT),
    refused("provenance", NOT_YET, CHANGES_RESULT),
    refused("sbom", NOT_YET, CHANGES_RESULT),
    refused("ssh", "not supported by Kaniko", "Kaniko has no SSH mounts: fetch in the `pre-script`"),
    refused("privileged", "cannot be granted", PRIVILEGES),
    refused("entitlements", "cannot be granted", PRIVILEGES),
    ignored("no_cache_filter"),
    ignored("network"),
    ignored("shm_size"),
    ignored("isolation"),
    ignored("ulimits"),
];

/// The value of `network` that is refused; the others are ignored.
pub const NO_NETWORK: (&str, Fate) = (
    "none",
    Fate::Refused {
        message: "builds without a network are not possible",
        hint: "a RUN step always has the task's network; remove it if you do not need it",
    },
);

/// The section `build.x-bake`.
pub(super) const X_BAKE: [Attribute; 11] = [
    taken("platforms", "one task per platform: `linux/amd64`, `linux/arm64`"),
    taken(
        "secret",
        "`kaniko.secrets`, as buildx writes them: `id=ID,src=FILE` or `id=ID,env=NAME`; they win over `build.secrets`",
    ),
    taken("cache-to", "added to `build.cache_to`"),
    taken("cache-from", "added to `build.cache_from`"),
    refused("output", NOT_YET, CHANGES_RESULT),
    refused("ssh", NOT_YET, CHANGES_RESULT),
    refused("contexts", NOT_YET, CHANGES_RESULT),
    taken("tags", "more of them"),
    ignored("pull"),
    ignored("no-cache"),
    ignored("no-cache-filter"),
];

/// The sections with their paths below a service.
pub const SECTIONS: [(&str, &[Attribute]); 3] =
    [("", &SERVICE), ("build", &BUILD), ("build.x-bake", &X_BAKE)];

/// How that attribute is treated; `None` if the section has no attribute of this name.
pub(super) fn fate(section: &[Attribute], name: &str) -> Option<Fate> {
    section.iter().find(|attribute| attribute.name == name).map(|attribute| attribute.fate)
}

/// The names of a section's attributes.
pub(super) fn names(section: &[Attribute]) -> Vec<&'static str> {
    section.iter().map(|attribute| attribute.name).collect()
}
