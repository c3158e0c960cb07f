//! Build secrets of a config file: how they are written, and how they get their values.

use std::collections::BTreeMap;

use crate::config::keys::{self, names};
use crate::config::layer::{Held, Key, SecretLayer, SecretSource};
use crate::config::readers::read_text;
use crate::decode::{Field, section};
use crate::message::Message;
use crate::report::Findings;
use crate::rules;
use crate::secret::Secret;
use crate::yaml::Value;

/// Where a client finds the values of build secrets. The errors do not hold them.
pub trait SecretSources {
    /// The value of a variable of the environment.
    fn env(&self, name: &str) -> Result<Secret, Message>;

    /// The text of a file: absolute, or relative to the source root.
    fn file(&self, path: &str) -> Result<Secret, Message>;
}

/// The entries of `kaniko.secrets`.
pub(super) fn list(field: &Field<'_>, findings: &mut Findings) -> Key<Vec<SecretLayer>> {
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
        let Some(secret) = entry(&item, findings) else { continue };
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

fn entry(field: &Field<'_>, findings: &mut Findings) -> Option<SecretLayer> {
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
        findings.mistake(id.location.clone(), wrong);
        return None;
    }
    let source = match (env, file) {
        (Some(env), None) => SecretSource::Env(read_text(env, findings)?.to_owned()),
        (None, Some(file)) => SecretSource::File(read_text(file, findings)?.to_owned()),
        (None, None) => {
            let message = Message::new("has no value").with_hint("set `env` or `file`");
            findings.mistake(field.location.clone(), message);
            return None;
        }
        (Some(_), Some(_)) => {
            let message = Message::new("has both `env` and `file`").with_hint("keep one of them");
            findings.mistake(field.location.clone(), message);
            return None;
        }
    };
    Some(SecretLayer { id: name.to_owned(), source, location: field.location.clone() })
}

/// Gives every secret its value.
pub(super) fn fill(key: &mut Key<Vec<SecretLayer>>, sources: &dyn SecretSources, findings: &mut Findings) {
    let Some((held, location)) = std::mem::take(key).into_parts() else { return };
    let held = match held {
        Held::Set(secrets) => {
            let before = findings.mistakes.len();
            let mut valued = Vec::new();
            for secret in secrets {
                let value = match &secret.source {
                    SecretSource::Env(name) => sources.env(name),
                    SecretSource::File(path) => sources.file(path),
                    SecretSource::Value(value) => Ok(value.clone()),
                };
                match value {
                    Ok(value) => valued.push(SecretLayer { source: SecretSource::Value(value), ..secret }),
                    Err(message) => findings.mistake(secret.location, message),
                }
            }
            if findings.mistakes.len() > before { Held::Bad } else { Held::Set(valued) }
        }
        other => other,
    };
    *key = Key::new(held, location);
}

/// The values by their ids. One that was not read is a mistake: whoever resolves the file is not its user.
pub(super) fn values(key: &Key<Vec<SecretLayer>>, findings: &mut Findings) -> BTreeMap<String, Secret> {
    let mut values = BTreeMap::new();
    for secret in key.value().into_iter().flatten() {
        if let SecretSource::Value(value) = &secret.source {
            values.insert(secret.id.clone(), value.clone());
        } else {
            let message = Message::new("only bakery-client reads variables and files for secrets");
            findings
                .mistake(secret.location.clone(), message.with_hint("submit the build with bakery-client"));
        }
    }
    values
}
