//! Build secrets: `build.secrets` and `x-bake.secret`, and the project's `secrets` that the first names.

use crate::buildx::{SecretOption, SecretPlace};
use crate::compose::build::ServiceReader;
use crate::compose::files::NamedFile;
use crate::compose::scalar::Substituted;
use crate::config::add_secret;
use crate::config::layer::{Held, Key, SecretLayer};
use crate::decode::{Field, unknown_key};
use crate::message::Message;
use crate::report::{did_you_mean, shown};
use crate::rules;
use crate::secret::Secret;
use crate::yaml::{Folder, Value};

/// The keys of a secret of a service. Those after the first two belong to `RUN --mount`.
const OF_SERVICE: [&str; 5] = ["source", "target", "uid", "gid", "mode"];
/// The keys of a secret of the project.
const OF_PROJECT: [&str; 8] =
    ["file", "environment", "external", "name", "labels", "driver", "driver_opts", "template_driver"];

impl ServiceReader<'_, '_> {
    /// Reads the secrets of a build.
    pub(super) fn secrets(&mut self, build: &Field<'_>) {
        let is_given = |field: &Field<'_>| !field.node.is_null();
        let listed = build.get("secrets").filter(is_given);
        let of_bake = build.get("x-bake").and_then(|bake| bake.get("secret")).filter(is_given);
        let Some(location) = listed.as_ref().or(of_bake.as_ref()).map(|field| field.location.clone()) else {
            return;
        };
        let before = self.findings.mistakes.len();
        let mut secrets: Vec<SecretLayer> = Vec::new();
        match listed.as_ref().map(|field| (field, &field.node.value)) {
            Some((field, Value::List(_))) => {
                for item in field.items() {
                    if let Some(secret) = self.of_service(&item) {
                        add_secret(secret, &mut secrets, self.findings);
                    }
                }
            }
            Some((field, _)) => field.expected("a list of secrets", self.findings),
            None => {}
        }
        let of_bake = of_bake.map(|field| self.scalars.list(&field, self.findings)).unwrap_or_default();
        for (text, at) in of_bake {
            if let Some(secret) = self.of_bake(&text, &at) {
                // As in buildx: these win.
                secrets.retain(|other| other.id != secret.id);
                secrets.push(secret);
            }
        }
        let bad = self.findings.mistakes.len() > before;
        self.service.layer.kaniko.secrets =
            Key::new(if bad { Held::Bad } else { Held::Set(secrets) }, location);
    }

    /// `npm`, or `{ source: npm, target: id }`.
    fn of_service(&mut self, item: &Field<'_>) -> Option<SecretLayer> {
        let (source, id) = match &item.node.value {
            Value::Scalar { .. } => {
                let name = self.scalars.substituted(item, self.findings)?;
                (name.clone(), name.value)
            }
            Value::Map(_) => {
                let (mut source, mut target) = (None, None);
                for (key, value) in item.entries().into_iter().filter(|(_, value)| !value.node.is_null()) {
                    match key {
                        "source" => source = Some(self.scalars.substituted(&value, self.findings)?),
                        "target" => target = Some(self.scalars.text(&value, self.findings)?),
                        "uid" | "gid" | "mode" => {
                            let hint = format!(
                                "write it where the secret is used: RUN --mount=type=secret,id=...,{key}=..."
                            );
                            self.findings
                                .notice(value.location, Message::new("has no effect here").with_hint(hint));
                        }
                        _ => {
                            let hint = did_you_mean(key, &OF_SERVICE);
                            self.findings.mistake(value.location, unknown_key(key, hint));
                        }
                    }
                }
                let Some(source) = source else {
                    self.findings.mistake(item.location.clone(), "`source` is missing");
                    return None;
                };
                (source.clone(), target.unwrap_or(source.value))
            }
            Value::List(_) => {
                item.expected("the name of a secret", self.findings);
                return None;
            }
        };
        let value = self.of_project(&source, item)?;
        self.layer(&id, value, item)
    }

    /// The value of a secret of the project.
    fn of_project(&mut self, name: &Substituted, at: &Field<'_>) -> Option<Secret> {
        let declared = self.declared.as_ref().and_then(|secrets| secrets.get(&name.value));
        let Some(declared) = declared.filter(|field| matches!(field.node.value, Value::Map(_))) else {
            let known: Vec<_> = self.declared.iter().flat_map(Field::entries).map(|(name, _)| name).collect();
            let hint = match did_you_mean(name.written(), &known) {
                hint if known.is_empty() || hint.is_empty() => {
                    "declare it in `secrets` at the top of the file".to_owned()
                }
                hint => hint,
            };
            let message = Message::new(format!("there is no secret `{}`", name.shown())).with_hint(hint);
            self.findings.mistake(at.location.clone(), message);
            return None;
        };
        let (mut file, mut environment) = (None, None);
        for (key, value) in declared.entries().into_iter().filter(|(_, value)| !value.node.is_null()) {
            match key {
                "file" => file = Some(value),
                "environment" => environment = Some(value),
                "external" if self.scalars.boolean(&value, self.findings)? => {
                    let message =
                        Message::new("an external secret is not supported: Bakery has no store of secrets");
                    self.findings
                        .mistake(value.location, message.with_hint("give it a `file` or an `environment`"));
                    return None;
                }
                _ if OF_PROJECT.contains(&key) || key.starts_with("x-") => {}
                _ => {
                    let hint = did_you_mean(key, &OF_PROJECT);
                    self.findings.mistake(value.location, unknown_key(key, hint));
                    return None;
                }
            }
        }
        match (file, environment) {
            (Some(field), None) => self.of_file(&field),
            (None, Some(field)) => {
                let name = self.scalars.substituted(&field, self.findings)?;
                self.of_variable(&name.value, &name.shown(), &field)
            }
            _ => {
                let message = Message::new("needs a `file` or an `environment`, and not both");
                self.findings.mistake(declared.location, message);
                None
            }
        }
    }

    /// `id=npm,src=./npmrc`, `id=npm,env=NPM_TOKEN`, and as in buildx `id=NPM_TOKEN` alone.
    fn of_bake(&mut self, text: &Substituted, at: &Field<'_>) -> Option<SecretLayer> {
        let secret = SecretOption::parse(&text.value);
        let secret = secret.map_err(|message| self.findings.mistake(at.location.clone(), message)).ok()?;
        // The value of a variable is not shown: the text of the file is.
        let seen = |part: &str| if text.is_substituted() { text.shown() } else { shown(part) };
        let value = match secret.source {
            SecretPlace::Variable(name) => self.of_variable(name, &seen(name), at)?,
            SecretPlace::OfId => self.of_variable(secret.id, &seen(secret.id), at)?,
            SecretPlace::File(path) => {
                let file = NamedFile { name: seen(path), ..NamedFile::beside(&self.folder(at), path) };
                self.read_secret(&file, at)?
            }
        };
        self.layer(secret.id, value, at)
    }

    fn layer(&mut self, id: &str, value: Secret, at: &Field<'_>) -> Option<SecretLayer> {
        if let Some(wrong) = rules::secret_id(id) {
            self.findings.mistake(at.location.clone(), wrong);
            return None;
        }
        Some(SecretLayer { id: id.to_owned(), value, location: at.location.clone() })
    }

    fn of_variable(&mut self, name: &str, shown: &str, at: &Field<'_>) -> Option<Secret> {
        let before = self.findings.mistakes.len();
        let value = self.scalars.variable(name, at, self.findings);
        if value.is_none() && self.findings.mistakes.len() == before {
            let message = Message::new(format!("the variable {shown} is not set"));
            self.findings.mistake(at.location.clone(), message.with_hint("set it, or remove the secret"));
        }
        value.map(Secret::new)
    }

    fn of_file(&mut self, field: &Field<'_>) -> Option<Secret> {
        let file = NamedFile::of(field, &self.folder(field), self.scalars, self.findings)?;
        self.read_secret(&file, field)
    }

    fn read_secret(&mut self, file: &NamedFile, at: &Field<'_>) -> Option<Secret> {
        let read = self.request.files.secret(&file.name, &file.path);
        read.map_err(|message| self.findings.mistake(at.location.clone(), message)).ok()
    }

    /// The folder that the paths of a value are relative to.
    fn folder(&self, field: &Field<'_>) -> Folder {
        let top = || Folder { path: self.request.folder.to_owned(), shown: String::new() };
        field.node.file.folder.as_deref().cloned().unwrap_or_else(top)
    }
}
