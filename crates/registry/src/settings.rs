//! What the caller decides about registries. Plain data.

use std::path::PathBuf;
use std::time::Duration;

use bakery_core::limits;
use bakery_core::vars::Vars;

/// What the operator decides about registries.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// The header `User-Agent` of every request, as `PROGRAM/VERSION`.
    pub user_agent: String,
    /// `INSECURE_REGISTRIES`: hosts (with their port) to which plain HTTP is allowed.
    pub insecure: Vec<String>,
    /// `REGISTRY_TRUSTED_HOSTS`: hosts (with their port) to which a registry may lead: its token service on another site, or
    /// a redirect to a private address.
    pub trusted: Vec<String>,
    /// True in the single-machine default: registries on loopback are allowed, over plain HTTP too. Otherwise a
    /// loopback address is refused unless the operator named it.
    pub loopback_http: bool,
    /// `PUBLISH_ALLOW`: prefixes (`registry.example.com/shop`) of what may be published. Empty = everything, with the
    /// build's credentials. The program's own docker config is used below these prefixes only.
    pub publish_allow: Vec<String>,
    /// The program's own logins, in the form of docker's `config.json`; it need not exist. See [`docker_config`].
    pub docker_config: Option<PathBuf>,
    /// How long requests may take.
    pub timeouts: Timeouts,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            user_agent: concat!("bakery/", env!("CARGO_PKG_VERSION")).to_owned(),
            insecure: Vec::new(),
            trusted: Vec::new(),
            loopback_http: false,
            publish_allow: Vec::new(),
            docker_config: None,
            timeouts: Timeouts::default(),
        }
    }
}

/// Time limits that the operator cannot set.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// One request, including its response.
    pub request: Duration,
    /// How long publishing may start further requests, retries included.
    pub publishing: Duration,
    /// How long the response to a push that is in flight at that moment is awaited.
    pub push_response: Duration,
    /// How long the lookup of a pushed image may take: it is pushed, and only the answer to a question is missing.
    pub pushed_check: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            request: Duration::from_mins(1),
            publishing: limits::PUBLISHING,
            push_response: limits::PUSH_ANSWER,
            pushed_check: Duration::from_secs(15),
        }
    }
}

/// The path of docker's `config.json`: below `DOCKER_CONFIG`, else below `HOME`. `None` where neither is set.
pub fn docker_config(vars: &dyn Vars) -> Option<PathBuf> {
    let below_home = || vars.setting("HOME").map(|home| PathBuf::from(home).join(".docker"));
    let folder = vars.setting("DOCKER_CONFIG").map(PathBuf::from).or_else(below_home)?;
    Some(folder.join("config.json"))
}
