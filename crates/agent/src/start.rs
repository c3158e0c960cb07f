//! The first steps of the process, before anything of the user's is near.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};

use bakery_core::names::RunName;
use bakery_core::secret::Secret;
use bakery_core::vars::Vars;
use bakery_core::wire::run::launch_env;
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, dumpable_behavior, getpid, set_child_subreaper, set_dumpable_behavior,
};
use thiserror::Error;

use crate::layout::Layout;

/// What an agent is launched with.
#[derive(Debug, Clone)]
pub struct Launch {
    /// URL of the server's agents' door.
    pub url: String,
    /// The run.
    pub run: RunName,
    /// The one-use token.
    pub token: Secret,
    /// Variables of the operator's and the platform's that children see too.
    pub inherited: BTreeMap<String, String>,
}

/// The variables do not make a launch. Names every mistake.
#[derive(Debug, Error)]
#[error("{}\nhint: this program is started by bakery-server, which sets these variables", .0.join("\n"))]
pub struct BadLaunch(pub Vec<String>);

/// What children see of the agent's own environment: proxies, and the identity that the platform gave to the container.
/// Neither is a secret of Bakery's, and Kaniko's registry helpers need both.
pub const INHERITED: [&str; 23] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_ENDPOINT_URL",
    "AWS_EC2_METADATA_DISABLED",
    "ECS_CONTAINER_METADATA_URI",
    "ECS_CONTAINER_METADATA_URI_V4",
    "TZ",
];

/// Variables that decide where the agent and Kaniko live: no user sets them. The server refuses them already.
const RESERVED: [&str; 5] = ["PATH", "KANIKO_DIR", "DOCKER_CONFIG", "DOCKER_AUTH_CONFIG", "BUILDER_OUTPUT"];

/// Closes the process against its own children, which may be root, and takes in the orphans of all of them.
///
/// Comes before anything else: from here on no other process without `CAP_SYS_PTRACE` reads this one's memory or
/// environment, the launch token in it included. An emulator knows neither call, and Linux both: that is for [`is_closed`]
/// to tell. Orphans come to the first process of a container also by themselves.
pub fn protect() -> io::Result<()> {
    for done in [set_dumpable_behavior(DumpableBehavior::NotDumpable), set_child_subreaper(Some(getpid()))] {
        match done {
            Err(Errno::INVAL) => {}
            done => done?,
        }
    }
    Ok(())
}

/// Whether the process is closed against its children.
pub fn is_closed() -> bool {
    matches!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable))
}

impl Launch {
    /// Reads the three variables of the launch.
    pub fn read(vars: &dyn Vars) -> Result<Self, BadLaunch> {
        let mut wrong = Vec::new();
        let mut get = |name: &str| {
            let value = vars.setting(name);
            if value.is_none() {
                wrong.push(format!("{name} is not set"));
            }
            value.unwrap_or_default()
        };
        let (url, run, token) = (get(launch_env::URL), get(launch_env::RUN), get(launch_env::TOKEN));
        let parsed = run.parse::<RunName>();
        if let (false, Err(error)) = (run.is_empty(), &parsed) {
            wrong.push(format!("{}: {error}", launch_env::RUN));
        }
        let inherited = INHERITED.iter().filter_map(|&name| Some((name.to_owned(), vars.get(name)?)));
        match parsed {
            Ok(run) if wrong.is_empty() => {
                Ok(Self { url, run, token: Secret::new(token), inherited: inherited.collect() })
            }
            _ => Err(BadLaunch(wrong)),
        }
    }
}

/// The environment of every child, made from nothing: what is not named here does not reach it.
pub fn child_env(
    layout: &Layout,
    inherited: &BTreeMap<String, String>,
    user: &BTreeMap<String, Secret>,
) -> BTreeMap<String, String> {
    let mut env = inherited.clone();
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    env.insert("PATH".to_owned(), layout.path.clone());
    env.insert("HOME".to_owned(), "/root".to_owned());
    env.insert("USER".to_owned(), "root".to_owned());
    env.insert("SSL_CERT_DIR".to_owned(), text(&layout.certs));
    env.insert("DOCKER_CONFIG".to_owned(), text(&layout.docker));
    for (name, value) in user {
        if !RESERVED.contains(&name.as_str()) && !name.starts_with("LD_") {
            env.insert(name.clone(), value.expose().to_owned());
        }
    }
    env
}

/// 32 random bytes in hex: the session's secret.
pub fn session() -> io::Result<Secret> {
    use std::fmt::Write as _;
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut text = String::with_capacity(64);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn vars(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn all_mistakes_of_a_launch_are_named_at_once() {
        let wrong = Launch::read(&vars(&[("BAKERY_RUN", "web-1"), ("BAKERY_LAUNCH_TOKEN", "")])).unwrap_err();
        insta::assert_snapshot!(wrong.to_string(), @r"
        BAKERY_URL is not set
        BAKERY_LAUNCH_TOKEN is not set
        BAKERY_RUN: `web-1` is not a run name (bk-BUILD-TASK-ATTEMPT)
        hint: this program is started by bakery-server, which sets these variables
        ");
    }

    #[test]
    fn children_see_what_is_named_and_nothing_else() {
        let launch = Launch::read(&vars(&[
            ("BAKERY_URL", "http://s:3000"),
            ("BAKERY_RUN", "bk-00000000010000000000000002-0-1"),
            ("BAKERY_LAUNCH_TOKEN", "t0ken"),
            ("HTTP_PROXY", "http://proxy:3128"),
            ("NO_PROXY", "s"),
            ("S3_SECRET_KEY", "never"),
        ]))
        .unwrap();
        let user = [
            ("NO_PROXY", "mine"),
            ("TIER", "base"),
            ("PATH", "/evil"),
            ("KANIKO_DIR", "/x"),
            ("LD_PRELOAD", "x"),
        ];
        let user = user.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
        let env = child_env(&Layout::below(Path::new("/r")), &launch.inherited, &user);
        let text: Vec<_> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        insta::assert_snapshot!(text.join("\n"), @r"
        DOCKER_CONFIG=/r/.docker
        HOME=/root
        HTTP_PROXY=http://proxy:3128
        NO_PROXY=mine
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        SSL_CERT_DIR=/r/ssl/certs
        TIER=base
        USER=root
        ");
    }

    #[test]
    fn no_two_sessions_are_the_same() {
        let (one, two) = (session().unwrap(), session().unwrap());
        assert_eq!(one.expose().len(), 64);
        assert_ne!(one.expose(), two.expose());
    }
}
