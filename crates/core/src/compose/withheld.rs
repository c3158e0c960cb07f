//! Secrets of the environment that a Compose file cannot take into a build.
//!
//! Whoever writes a Compose file also writes the Dockerfile, and a `RUN` step sees every build argument: without this,
//! a checkout could read the tokens of the machine that builds it.

use std::collections::BTreeMap;

use crate::compose::dotenv::taken_from;
use crate::config::SecretPurpose;
use crate::message::Message;
use crate::vars::Vars;

/// Variables that hold a secret of Bakery, of a CI system, of a cloud or of a code host. Names of ordinary settings
/// (`AWS_REGION`, `AWS_ACCOUNT_ID`, `IMAGE_NAME`) are not in it, and neither are names that projects choose themselves
/// (`NPM_TOKEN`): those are set for the build on purpose.
pub const WITHHELD: [&str; 45] = [
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_RUNTIME_TOKEN",
    "AGENT_IMAGE_SECRET_PASSWORD",
    "ARM_ACCESS_KEY",
    "ARM_CLIENT_SECRET",
    "ARM_OIDC_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SECURITY_TOKEN",
    "AWS_SESSION_TOKEN",
    "AZURE_CLIENT_SECRET",
    "AZURE_DEVOPS_EXT_PAT",
    "BAKERY_DATA_KEY",
    "BAKERY_TOKEN",
    "BITBUCKET_STEP_OIDC_TOKEN",
    "BUILDKITE_AGENT_ACCESS_TOKEN",
    "CIRCLE_OIDC_TOKEN",
    "CIRCLE_OIDC_TOKEN_V2",
    "CI_BUILD_TOKEN",
    "CI_DEPENDENCY_PROXY_PASSWORD",
    "CI_DEPLOY_PASSWORD",
    "CI_JOB_JWT",
    "CI_JOB_JWT_V1",
    "CI_JOB_JWT_V2",
    "CI_JOB_TOKEN",
    "CI_REGISTRY_PASSWORD",
    "CI_REPOSITORY_URL",
    "CLOUDFLARE_API_TOKEN",
    "DIGITALOCEAN_ACCESS_TOKEN",
    "DOCKER_AUTH_CONFIG",
    "DRONE_NETRC_PASSWORD",
    "DRONE_RPC_SECRET",
    "GH_ENTERPRISE_TOKEN",
    "GH_TOKEN",
    "GITHUB_ENTERPRISE_TOKEN",
    "GITHUB_TOKEN",
    "GITLAB_TOKEN",
    "GOOGLE_CREDENTIALS",
    "GOOGLE_OAUTH_ACCESS_TOKEN",
    "HCLOUD_TOKEN",
    "S3_SECRET_KEY",
    "S3_SESSION_TOKEN",
    "SYSTEM_ACCESSTOKEN",
    "VAULT_TOKEN",
    "WOODPECKER_AGENT_SECRET",
];

/// Those that are passwords of registries too, and so may be part of a login: tokens of code hosts, and credentials of
/// clouds that their own registries accept as they are.
const OF_REGISTRIES: [&str; 15] = [
    "ARM_CLIENT_SECRET",
    "AZURE_CLIENT_SECRET",
    "CI_BUILD_TOKEN",
    "CI_DEPENDENCY_PROXY_PASSWORD",
    "CI_DEPLOY_PASSWORD",
    "CI_JOB_TOKEN",
    "CI_REGISTRY_PASSWORD",
    "DIGITALOCEAN_ACCESS_TOKEN",
    "GH_ENTERPRISE_TOKEN",
    "GH_TOKEN",
    "GITHUB_ENTERPRISE_TOKEN",
    "GITHUB_TOKEN",
    "GITLAB_TOKEN",
    "GOOGLE_CREDENTIALS",
    "GOOGLE_OAUTH_ACCESS_TOKEN",
];

/// The names that a Compose file cannot use in a build, each with the variable of the environment that its value comes
/// from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Withheld(BTreeMap<String, &'static str>);

impl Withheld {
    /// What is withheld of `environment`, except for the names in `allowed`. A name in the project's `.env` (its text is
    /// `dotenv`) whose value comes from a withheld variable is withheld too; the file's own values are not.
    pub fn of(environment: &BTreeMap<String, String>, allowed: &[String], dotenv: &str) -> Self {
        let is_set = |name: &str| environment.get(name).is_some_and(|value| !value.is_empty());
        let is_allowed = |name: &str| allowed.iter().any(|allowed| allowed == name);
        let secrets = WITHHELD.into_iter().filter(|name| is_set(name) && !is_allowed(name));
        Self(secrets.map(|secret| (secret.to_owned(), secret)).collect()).with_dotenv(dotenv, environment)
    }

    /// The same with a further `.env`, whose values may come from what `vars` holds.
    #[must_use]
    pub(super) fn with_dotenv(&self, dotenv: &str, vars: &dyn Vars) -> Self {
        let mut names = taken_from(dotenv, vars, &self.0);
        names.extend(self.0.clone());
        Self(names)
    }

    /// Why the value of `name` cannot be used for this; `None` if it can.
    pub fn refuses_for(&self, name: &str, purpose: SecretPurpose) -> Option<Message> {
        match purpose {
            SecretPurpose::Build => self.refuses(name),
            SecretPurpose::Login => self.refuses_login(name),
        }
    }

    fn refuses_login(&self, name: &str) -> Option<Message> {
        let secret = self.0.get(name).filter(|secret| !OF_REGISTRIES.contains(secret))?;
        let text = format!("{secret} is a secret of the environment, and no password of a registry");
        Some(Message::new(text).with_hint(format!("if it is one here, allow it with --allow-env {secret}")))
    }

    /// Why the value of `name` cannot be used in a build; `None` if it can.
    pub fn refuses(&self, name: &str) -> Option<Message> {
        let secret = *self.0.get(name)?;
        let text = if secret == name {
            format!("the variable {name} is a secret of the environment: a build does not get it")
        } else {
            format!(
                "the variable {name} has the value of {secret}, a secret of the environment: a build does not get it"
            )
        };
        Some(
            Message::new(text)
                .with_hint(format!("if the build needs it, allow it with --allow-env {secret}")),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_23_4_a_login_is_made_of_passwords_of_registries_only() {
        assert!(OF_REGISTRIES.iter().all(|name| WITHHELD.contains(name)));
        let environment = env(&WITHHELD);
        let withheld = Withheld::of(&environment, &["VAULT_TOKEN".to_owned()], "MINE=$BAKERY_TOKEN");
        for name in ["GITHUB_TOKEN", "CI_REGISTRY_PASSWORD", "VAULT_TOKEN", "NPM_TOKEN"] {
            assert!(withheld.refuses_login(name).is_none(), "{name}");
        }
        for name in ["BAKERY_TOKEN", "AWS_SECRET_ACCESS_KEY", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "MINE"] {
            assert!(withheld.refuses_login(name).is_some(), "{name}");
        }
    }

    fn env(vars: &[&str]) -> BTreeMap<String, String> {
        vars.iter().map(|name| ((*name).to_owned(), format!("value of {name}"))).collect()
    }

    #[test]
    fn the_list_is_in_order_and_holds_no_ordinary_setting() {
        assert!(WITHHELD.is_sorted());
        for name in [
            "AWS_REGION",
            "AWS_ACCOUNT_ID",
            "IMAGE_NAME",
            "IMAGE_TAG",
            "CI_COMMIT_SHA",
            "NPM_TOKEN",
            "GITHUB_SHA",
        ] {
            assert!(!WITHHELD.contains(&name), "{name}");
        }
    }

    #[test]
    fn probe_23_4_a_value_that_dotenv_takes_from_a_secret_is_withheld_too() {
        let environment = env(&["GITHUB_TOKEN", "CI_JOB_TOKEN", "TAG"]);
        let dotenv = "A=x${GITHUB_TOKEN}\nB=$A\nCI_JOB_TOKEN\nOWN=1\nGH_TOKEN=of-the-file\nC=${GITHUB_TOKEN:?}\nD=$TAG\n";
        let names = |allowed: &[String]| {
            let withheld = Withheld::of(&environment, allowed, dotenv);
            withheld.0.into_iter().map(|(name, of)| format!("{name} {of}")).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(
            names(&[]),
            "A GITHUB_TOKEN, B GITHUB_TOKEN, C GITHUB_TOKEN, CI_JOB_TOKEN CI_JOB_TOKEN, GITHUB_TOKEN GITHUB_TOKEN"
        );
        assert_eq!(names(&["GITHUB_TOKEN".to_owned()]), "CI_JOB_TOKEN CI_JOB_TOKEN");
        // Two secrets with one value, as in jobs of GitLab, and a name that is given another value later.
        let same = ["CI_JOB_TOKEN", "CI_REGISTRY_PASSWORD"].map(|name| (name.to_owned(), "value".to_owned()));
        let text = "A=${CI_JOB_TOKEN:-$CI_REGISTRY_PASSWORD}\nB=${A:-x}\nA=1\nC=${CI_JOB_TOKEN:+yes}\n";
        let withheld = Withheld::of(&same.into(), &[], text);
        assert_eq!(
            withheld.0.keys().map(String::as_str).collect::<Vec<_>>(),
            ["B", "CI_JOB_TOKEN", "CI_REGISTRY_PASSWORD"]
        );
        assert_eq!(Withheld::of(&env(&["PATH"]), &[], dotenv), Withheld::default());
        // What the environment has is not the file's, but for an empty value.
        let mut both = env(&["GITHUB_TOKEN", "A"]);
        assert!(Withheld::of(&both, &[], "A=$GITHUB_TOKEN").refuses("A").is_none());
        both.insert("A".to_owned(), String::new());
        assert!(Withheld::of(&both, &[], "A=$GITHUB_TOKEN").refuses("A").is_some());
    }
}
