//! Secrets that a config file names: where a client finds them, and the entries of `kaniko.secrets`.

use std::collections::BTreeMap;

use crate::config::keys::{self, names};
use crate::config::layer::{Held, Key, SecretLayer};
use crate::config::readers::{read_text, refuse};
use crate::decode::{Field, section};
use crate::message::Message;
use crate::report::Findings;
use crate::rules;
use crate::secret::Secret;
use crate::yaml::Value;

/// Where a client finds secrets. The errors do not hold them, and show names as the config file has them.
pub trait SecretSources {
    /// The value of a variable of the environment that is `written` like this.
    fn env(&self, name: &str, written: &str) -> Result<Secret, Message>;

    /// The text of a file that is `written` like this: absolute, or relative to the source root.
    fn file(&self, path: &str, written: &str, purpose: SecretPurpose) -> Result<Secret, Message>;
}

/// What a secret in a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretPurpose {
    /// A `RUN` step reads it: only files of the checkout are for that.
    Build,
    /// A registry gets it.
    Login,
}

/// None: whoever reads the file is not its user.
impl SecretSources for () {
    fn env(&self, _name: &str, _written: &str) -> Result<Secret, Message> {
        Err(of_client())
    }

    fn file(&self, _path: &str, _written: &str, _purpose: SecretPurpose) -> Result<Secret, Message> {
        Err(of_client())
    }
}

fn of_client() -> Message {
    Message::new("only bakery-client reads variables and files for secrets")
        .with_hint("submit the build with bakery-client")
}

/// The entries of `kaniko.secrets`.
pub(super) fn list(
    field: &Field<'_>,
    sources: &dyn SecretSources,
    findings: &mut Findings,
) -> Key<Vec<SecretLayer>> {
    let location = field.location.clone();
    if field.clears() {
        return Key::new(Held::Cleared, location);
    }
    let Value::List(_) = field.node.value else {
        field.expected("a list of { id, env } or { id, file }", findings);
        return Key::new(Held::Bad, location);
    };
    let before = findings.mistakes.len();
    let mut secrets: Vec<SecretLayer> = Vec::new();
    for item in field.items() {
        let Some(secret) = entry(&item, sources, findings) else { continue };
        add(secret, &mut secrets, findings);
    }
    let bad = findings.mistakes.len() > before;
    Key::new(if bad { Held::Bad } else { Held::Set(secrets) }, location)
}

/// Adds a secret to others, unless one of them has its id.
pub(crate) fn add(secret: SecretLayer, secrets: &mut Vec<SecretLayer>, findings: &mut Findings) {
    if secrets.iter().any(|other| other.id == secret.id) {
        let message = Message::new("a second secret with this id");
        findings.mistake(secret.location, message.with_hint("keep one"));
    } else {
        secrets.push(secret);
    }
}

fn entry(field: &Field<'_>, sources: &dyn SecretSources, findings: &mut Findings) -> Option<SecretLayer> {
    let known = names(&keys::SECRET);
    let fields = section(field, &known, |_| None, findings)?;
    let [id, env, file] =
        known.map(|key| fields.iter().find(|(name, _)| *name == key).map(|(_, value)| value));
    let Some(id) = id else {
        findings.mistake(field.location.clone(), "`id` is missing");
        return None;
    };
    let name = read_text(id, findings)?;
    if let Some(wrong) = rules::secret_id(name) {
        refuse(id, wrong, findings);
        return None;
    }
    let value = match (env, file) {
        (Some(env), None) => {
            let name = read_text(env, findings)?;
            sources.env(name, env.written().unwrap_or(name))
        }
        (None, Some(file)) => {
            let path = read_text(file, findings)?;
            sources.file(path, file.written().unwrap_or(path), SecretPurpose::Build)
        }
        (None, None) => Err(Message::new("has no value").with_hint("set `env` or `file`")),
        (Some(_), Some(_)) => Err(Message::new("has both `env` and `file`").with_hint("keep one of them")),
    };
    match value {
        Ok(value) => Some(SecretLayer { id: name.to_owned(), value, location: field.location.clone() }),
        Err(message) => {
            findings.mistake(field.location.clone(), message);
            None
        }
    }
}

/// The values by their ids.
pub(super) fn values(key: &Key<Vec<SecretLayer>>) -> BTreeMap<String, Secret> {
    key.value().into_iter().flatten().map(|secret| (secret.id.clone(), secret.value.clone())).collect()
}
