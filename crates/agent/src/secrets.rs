//! What is secret in a run: the masker hides it in its log.

use bakery_core::kaniko::secret_variables;
use bakery_core::mask::{Secrets, name_suggests_secret};
use bakery_core::secret::Secret;
use bakery_core::wire::run::{ContextSource, TaskOrder};

use crate::start::Launch;

/// All secrets of this run, to be masked in its log.
pub(crate) fn of_run(order: &TaskOrder, launch: &Launch, session: &Secret) -> Secrets {
    let mut secrets = Secrets::default();
    secrets.add(session.expose());
    secrets.add(launch.token.expose());
    for login in order.pull_credentials.iter().chain(&order.push_credentials) {
        secrets.add_login(&login.username, login.password.expose());
    }
    for secret in order.kaniko.secrets.values() {
        secrets.add(secret.expose());
    }
    let env = order.env.iter().map(|(name, value)| (name, value.expose()));
    let args = order.kaniko.build_args.iter().map(|(name, value)| (name, value.as_str()));
    let inherited = launch.inherited.iter().map(|(name, value)| (name, value.as_str()));
    // What a flag hands to Kaniko as a secret is one, whatever its name.
    let handed = secret_variables(&order.kaniko.extra_flags);
    for (name, value) in env.chain(args).chain(inherited) {
        // `.._TOKEN_FILE` contains the path of a file, which is not a secret.
        let is_named = name_suggests_secret(name) && !name.to_ascii_uppercase().ends_with("_FILE");
        if is_named || handed.contains(name.as_str()) {
            secrets.add(value);
        }
        secrets.add_userinfo_of(value);
    }
    if let ContextSource::Url { url } = &order.source {
        secrets.add(url.expose());
    }
    secrets
}
