//! Process startup: the launch variables, and hardening.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

use bakery_context::random;
use bakery_core::message::Hint;
use bakery_core::names::RunName;
use bakery_core::secret::Secret;
use bakery_core::vars::Vars;
use bakery_core::wire::run::launch_env;
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, dumpable_behavior, getpid, set_child_subreaper, set_dumpable_behavior,
};
use thiserror::Error;

use crate::environment;

/// The launch parameters of an agent, read from its environment.
#[derive(Debug, Clone)]
pub struct Launch {
    /// URL of the server's agent listener.
    pub url: String,
    /// Name of the run.
    pub run: RunName,
    /// The one-use launch token.
    pub token: Secret,
    /// The variables of [`environment::inherited`] that are set; child processes get them too.
    pub inherited: BTreeMap<String, String>,
}

/// The launch variables are missing or invalid; lists every one of them.
#[derive(Debug, Error)]
#[error("{}", .0.join("\n"))]
pub struct LaunchError(pub Vec<String>);

impl Hint for LaunchError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some("bakery-server starts this program and sets these variables".into())
    }
}

/// Makes the process non-dumpable and a child subreaper.
///
/// Must be called before anything else: from then on no process without `CAP_SYS_PTRACE` can read this process's memory
/// or environment (with the launch token in it), not even a child that runs as root. Linux supports both calls, but
/// emulators such as QEMU do not: `EINVAL` is ignored here, and [`is_protected`] returns whether there was an effect.
/// The first process of a container inherits orphans even without the second call.
pub fn protect() -> io::Result<()> {
    for result in [set_dumpable_behavior(DumpableBehavior::NotDumpable), set_child_subreaper(Some(getpid()))]
    {
        match result {
            Err(Errno::INVAL) => {}
            result => result?,
        }
    }
    Ok(())
}

/// Whether the process is non-dumpable, so that its children cannot read its memory.
pub fn is_protected() -> bool {
    matches!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable))
}

impl Launch {
    /// Reads the three launch variables, and the variables to inherit.
    pub fn read(vars: &dyn Vars) -> Result<Self, LaunchError> {
        let mut mistakes = Vec::new();
        let mut get = |name: &str| {
            let value = vars.setting(name);
            if value.is_none() {
                mistakes.push(format!("{name} is not set"));
            }
            value.unwrap_or_default()
        };
        let (url, run, token) = (get(launch_env::URL), get(launch_env::RUN), get(launch_env::TOKEN));
        let parsed = run.parse::<RunName>();
        if let (false, Err(error)) = (run.is_empty(), &parsed) {
            mistakes.push(format!("{}: {error}", launch_env::RUN));
        }
        let inherited = environment::inherited().filter_map(|name| Some((name.to_owned(), vars.get(name)?)));
        match parsed {
            Ok(run) if mistakes.is_empty() => {
                Ok(Self { url, run, token: Secret::new(token), inherited: inherited.collect() })
            }
            _ => Err(LaunchError(mistakes)),
        }
    }
}

/// A new session secret: 32 random bytes in hex.
pub fn new_session() -> io::Result<Secret> {
    random::hex::<32>().map(Secret::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn all_invalid_launch_variables_are_listed_at_once() {
        let error = Launch::read(&vars(&[("BAKERY_RUN", "web-1"), ("BAKERY_LAUNCH_TOKEN", "")])).unwrap_err();
        insta::assert_snapshot!(error.to_string(), @r"
        BAKERY_URL is not set
        BAKERY_LAUNCH_TOKEN is not set
        BAKERY_RUN: `web-1` is not a run name (bk-BUILD-TASK-ATTEMPT)
        ");
        insta::assert_snapshot!(error.hint().unwrap(), @"bakery-server starts this program and sets these variables");
    }

    #[test]
    fn sessions_are_unique() {
        let (one, two) = (new_session().unwrap(), new_session().unwrap());
        assert_eq!(one.expose().len(), 64);
        assert_ne!(one.expose(), two.expose());
    }
}
