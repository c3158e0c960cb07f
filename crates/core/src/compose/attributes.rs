//! Every attribute of a service that is about building, and what becomes of it, declared once: the reader knows what
//! stands here, and the reference page is made of it.

/// What becomes of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It counts, in this way.
    Taken(&'static str),
    /// It is a mistake, since a build without it would be another build.
    Refused {
        /// What is wrong.
        message: &'static str,
        /// What to do instead.
        hint: &'static str,
    },
    /// It has no effect, which a notice says; the hint says what to do instead, where there is something.
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
    /// What becomes of it.
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
const ANOTHER: &str =
    "this attribute changes the result and is not supported; remove it if you do not need it";
const PRIVILEGES: &str = "Kaniko builds without privileges: leave it out";
const OWN_CACHE: &str = "set `kaniko.cache` in a config file (--config): Kaniko keeps its own cache";

/// What is read of a service beside `build`. Everything else is for running it, and is not read.
pub(super) const SERVICE: [Attribute; 7] = [
    taken("build", "the section below; a text alone is its `context`"),
    taken("image", "`kaniko.destination`"),
    taken("platform", "the architecture, where `build` lists no platforms"),
    taken(
        "profiles",
        "whether the service is there: it is, when it is named or `COMPOSE_PROFILES` has one of its profiles",
    ),
    taken("depends_on", "nothing is built for it; what it names must be there, and no circle may come of it"),
    refused("extends", NOT_YET, "write what the build needs into the service itself"),
    replaced("x-bake", "it belongs below `build`"),
];

/// The section `build` of the current Compose specification.
pub(super) const BUILD: [Attribute; 26] = [
    taken("context", "`kaniko.context-path`: relative to the Compose file, inside of `--repo`"),
    taken("dockerfile", "`kaniko.dockerfile`"),
    taken("args", "`kaniko.build-args`; a name without a value takes the variable's, where there is one"),
    taken("target", "Kaniko's `--target`"),
    taken("labels", "Kaniko's `--label`"),
    taken("platforms", "the architectures, where `x-bake.platforms` names none"),
    taken("no_cache", "`true` is `kaniko.cache.enable: false`"),
    taken("pull", "what Kaniko always does"),
    taken("x-bake", "the section below"),
    refused("dockerfile_inline", NOT_YET, "write it to a file and name that with `dockerfile`"),
    refused("additional_contexts", NOT_YET, ANOTHER),
    refused("extra_hosts", NOT_YET, ANOTHER),
    refused("secrets", NOT_YET, ANOTHER),
    refused("provenance", NOT_YET, ANOTHER),
    refused("sbom", NOT_YET, ANOTHER),
    refused("ssh", "cannot be carried out", "Kaniko has no SSH mounts: fetch in the `pre-script`"),
    refused("privileged", "cannot be granted", PRIVILEGES),
    refused("entitlements", "cannot be granted", PRIVILEGES),
    replaced("tags", "only `image` is pushed"),
    replaced("cache_from", OWN_CACHE),
    replaced("cache_to", OWN_CACHE),
    ignored("no_cache_filter"),
    ignored("network"),
    ignored("shm_size"),
    ignored("isolation"),
    ignored("ulimits"),
];

/// The value of `network` that is refused all the same.
pub const NO_NETWORK: (&str, Fate) = (
    "none",
    Fate::Refused {
        message: "builds without a network are not possible",
        hint: "a RUN step always has the task's network; remove it if you do not need it",
    },
);

/// The section `build.x-bake`.
pub(super) const X_BAKE: [Attribute; 11] = [
    taken("platforms", "one task each: `linux/amd64`, `linux/arm64`"),
    refused("output", NOT_YET, ANOTHER),
    refused("ssh", NOT_YET, ANOTHER),
    refused("secret", NOT_YET, ANOTHER),
    refused("contexts", NOT_YET, ANOTHER),
    ignored("tags"),
    ignored("cache-from"),
    ignored("cache-to"),
    ignored("pull"),
    ignored("no-cache"),
    ignored("no-cache-filter"),
];

/// The sections with their paths below a service.
pub const SECTIONS: [(&str, &[Attribute]); 3] =
    [("", &SERVICE), ("build", &BUILD), ("build.x-bake", &X_BAKE)];

/// What becomes of an attribute of that section; `None` where the section knows none of this name.
pub(super) fn fate(section: &[Attribute], name: &str) -> Option<Fate> {
    section.iter().find(|attribute| attribute.name == name).map(|attribute| attribute.fate)
}

/// The names of a section's attributes.
pub(super) fn names(section: &[Attribute]) -> Vec<&'static str> {
    section.iter().map(|attribute| attribute.name).collect()
}
