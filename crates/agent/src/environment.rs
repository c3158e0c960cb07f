//! The environment of child processes: which variables scripts, Kaniko and its registry helpers get.

use std::collections::BTreeMap;

use bakery_core::secret::Secret;
use bakery_core::wire::run::launch_env;

use crate::layout::Layout;

/// The agent's own variables that child processes inherit beside the proxies: the identity that the platform gives to the
/// container. Kaniko's registry helpers need both, and neither contains a secret of Bakery.
const INHERITED: [&str; 17] = [
    "ALL_PROXY",
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

/// The names of all variables that child processes inherit from the agent.
pub fn inherited() -> impl Iterator<Item = &'static str> {
    launch_env::PROXIES.into_iter().chain(INHERITED)
}

/// Variables that locate the agent's and Kaniko's files. Users cannot set them; the server rejects them too.
const RESERVED: [&str; 5] = ["PATH", "KANIKO_DIR", "DOCKER_CONFIG", "DOCKER_AUTH_CONFIG", "BUILDER_OUTPUT"];

/// The complete environment of every child process. It starts empty: only variables that are added here are passed on.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::start::Launch;
    use std::path::Path;

    #[test]
    fn children_get_only_the_listed_variables() {
        let own = [
            ("BAKERY_URL", "http://s:3000"),
            ("BAKERY_RUN", "bk-00000000010000000000000002-0-1"),
            ("BAKERY_LAUNCH_TOKEN", "t0ken"),
            ("HTTP_PROXY", "http://proxy:3128"),
            ("NO_PROXY", "s"),
            ("S3_SECRET_KEY", "never"),
        ];
        let own: BTreeMap<String, String> =
            own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let launch = Launch::read(&own).unwrap();
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
}
