//! The `build` section of one service.

use crate::compose::Request;
use crate::compose::attributes::{BUILD, FOR_RUNNING, Fate, NO_NETWORK, SERVICE, X_BAKE, fate, names};
use crate::compose::scalar::{Scalars, Substituted};
use crate::config::layer::{Held, Key, MapLayer, TaskLayer};
use crate::decode::{Field, refuse_tags, unknown_key};
use crate::message::Message;
use crate::names::Arch;
use crate::path;
use crate::report::{Findings, Location, did_you_mean, nearest, shown};
use crate::rules;
use crate::yaml::Value;

/// The build settings of a service.
#[derive(Debug, Default)]
pub(super) struct Service {
    /// Its layer, without the architecture.
    pub(super) layer: TaskLayer,
    /// Its platforms, each once, with a variant's full name; empty = that of the base or of the client.
    pub(super) platforms: Vec<(Arch, Option<String>, Location)>,
    /// Paths that hold values of variables, each with the text that the file has for it.
    pub(super) written: Vec<(String, String)>,
}

impl Service {
    pub(super) fn remember(&mut self, path: &str, text: &Substituted) {
        if text.is_substituted() {
            self.written.push((path.to_owned(), text.shown()));
        }
    }
}

/// Reads a service; `declared` are the secrets of the project. `None` if it has no `build`.
pub(super) fn service(
    field: &Field<'_>,
    declared: Option<Field<'_>>,
    request: &Request<'_>,
    scalars: &Scalars<'_>,
    findings: &mut Findings,
) -> Option<Service> {
    let hint = "a Compose file has the tags `!reset` and `!override`";
    if let Some(tag) = &field.node.tag {
        findings.mistake(
            field.location.clone(),
            Message::new(format!("the tag `{}` is not supported", shown(tag))).with_hint(hint),
        );
    }
    let mut reader = ServiceReader { request, scalars, findings, declared, service: Service::default() };
    for (key, value) in field.entries().into_iter().filter(|(_, value)| !value.node.is_null()) {
        match fate(&SERVICE, key) {
            Some(Fate::Refused { message, hint }) => {
                reader.findings.mistake(value.location, Message::new(message).with_hint(hint));
            }
            Some(Fate::Ignored { hint }) => {
                let hint = hint.map(str::to_owned);
                let text = "not read here".to_owned();
                reader.findings.notice(value.location, Message { text, hint });
            }
            Some(Fate::Taken(_)) => {}
            None if FOR_RUNNING.contains(&key) || key.starts_with("x-") => {}
            None => {
                let known: Vec<_> = names(&SERVICE).into_iter().chain(FOR_RUNNING).collect();
                let hint = match nearest(key, &known) {
                    Some(_) => did_you_mean(key, &known),
                    None => "Compose has no such attribute of a service".to_owned(),
                };
                reader.findings.mistake(value.location, unknown_key(key, hint));
            }
        }
    }
    for key in ["build", "image", "platform"] {
        if let Some(field) = field.get(key) {
            refuse_tags(&field, hint, reader.findings);
        }
    }
    let build = field.get("build")?;
    match &build.node.value {
        Value::Scalar { .. } => reader.context(&build),
        Value::Map(_) => reader.build(&build),
        Value::List(_) => build.expected("a folder or a mapping", reader.findings),
    }
    reader.default_context(&build);
    reader.platforms(field, &build);
    reader.secrets(&build);
    reader.cache(&build);
    reader.image_names(field, &build);
    Some(reader.service)
}

pub(super) struct ServiceReader<'a, 'f> {
    pub(super) request: &'a Request<'a>,
    pub(super) scalars: &'a Scalars<'a>,
    pub(super) findings: &'f mut Findings,
    /// The secrets of the project.
    pub(super) declared: Option<Field<'a>>,
    pub(super) service: Service,
}

impl ServiceReader<'_, '_> {
    fn build(&mut self, build: &Field<'_>) {
        for (key, field) in build.entries() {
            if field.node.is_null() && fate(&BUILD, key).is_some() {
                continue;
            }
            match key {
                "context" => self.context(&field),
                "dockerfile" => self.dockerfile(&field),
                "dockerfile_inline" => self.dockerfile_inline(&field),
                "args" => self.args(&field),
                "target" => self.target(&field),
                "labels" => self.labels(&field),
                "no_cache" => {
                    if self.scalars.boolean(&field, self.findings) == Some(true) {
                        self.service.layer.kaniko.cache.enable = Key::new(Held::Set(false), field.location);
                    }
                }
                // The others are read together with attributes of the service or with `x-bake`; `pull` is what Kaniko always
                // does.
                "platforms" | "secrets" | "tags" | "cache_from" | "cache_to" | "pull" => {}
                "x-bake" => self.x_bake(&field),
                _ if key.starts_with("x-") => {}
                _ => self.other(key, &field),
            }
        }
        self.one_dockerfile();
    }

    /// Reports an attribute that is not used: a mistake if it would change the result, else a notice.
    fn other(&mut self, key: &str, field: &Field<'_>) {
        let off = field.clears()
            || matches!(&field.node.value, Value::Map(entries) if entries.is_empty())
            || matches!(&field.node.value, Value::Scalar { text, .. } if text == "false");
        let value = match &field.node.value {
            Value::Scalar { text, .. } => text.as_str(),
            _ => "",
        };
        match fate(&BUILD, key) {
            None => {
                let hint = did_you_mean(key, &names(&BUILD));
                self.findings.mistake(field.location.clone(), unknown_key(key, hint));
            }
            Some(_) if off || matches!((key, value), ("isolation" | "network", "default")) => {}
            Some(_) if (key, value) == ("network", NO_NETWORK.0) => self.report_fate(field, NO_NETWORK.1),
            Some(fate) => self.report_fate(field, fate),
        }
    }

    fn report_fate(&mut self, field: &Field<'_>, fate: Fate) {
        match fate {
            Fate::Taken(_) => {}
            Fate::Refused { message, hint } => {
                self.findings.mistake(field.location.clone(), Message::new(message).with_hint(hint));
            }
            Fate::Ignored { hint } => {
                let (text, hint) = ("has no effect here".to_owned(), hint.map(str::to_owned));
                self.findings.notice(field.location.clone(), Message { text, hint });
            }
        }
    }

    fn x_bake(&mut self, field: &Field<'_>) {
        if !matches!(field.node.value, Value::Map(_)) && !field.node.is_null() {
            field.expected("a mapping", self.findings);
        }
        for (key, value) in field.entries() {
            match fate(&X_BAKE, key) {
                _ if value.node.is_null() || value.clears() => {}
                Some(fate) => self.report_fate(&value, fate),
                // A misspelt `platforms` would build for the wrong architecture; other tools may have keys of their own here.
                None => {
                    let known = names(&X_BAKE);
                    if nearest(key, &known).is_some() {
                        self.findings.mistake(value.location, unknown_key(key, did_you_mean(key, &known)));
                    } else {
                        let hint = "`platforms`, `tags`, `secret`, `cache-to` and `cache-from` are read here; `cpu` and `memory` are set in a config file (--config)";
                        let message = Message::new("unknown key: not read").with_hint(hint);
                        self.findings.notice(value.location, message);
                    }
                }
            }
        }
    }

    fn context(&mut self, field: &Field<'_>) {
        let location = field.location.clone();
        let Some(substituted) = self.scalars.substituted(field, self.findings) else {
            self.service.layer.kaniko.context_path = Key::new(Held::Bad, location);
            return;
        };
        let text = &substituted.value;
        let home = text.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let home = home.and_then(|rest| Some((self.scalars.setting("HOME", self.findings)?, rest)));
        let text = &home.map_or_else(|| text.clone(), |(home, rest)| home + rest);
        let remote = text.contains("://") || text.starts_with("git@") || text.starts_with("github.com/");
        let value = if remote {
            let hint = "check the repository out and name the folder";
            self.findings.mistake(
                location.clone(),
                Message::new("a remote context is not supported yet").with_hint(hint),
            );
            Held::Bad
        } else if let Some(inner) = self
            .inside(text, field.node.file.folder.as_ref().map_or(self.request.folder, |folder| &folder.path))
        {
            self.service.remember(&inner, &substituted);
            if text.starts_with('/') {
                let hint = "write it relative to the Compose file";
                self.findings.notice(
                    location.clone(),
                    Message::new("an absolute path works on this machine only").with_hint(hint),
                );
            }
            Held::Set(inner)
        } else {
            let message = format!("outside the source root {}", shown(self.request.root));
            self.findings.mistake(
                location.clone(),
                Message::new(message).with_hint("set --repo to the folder that holds all contexts"),
            );
            Held::Bad
        };
        self.service.layer.kaniko.context_path = Key::new(value, location);
    }

    /// `text`, relative to `folder`, as a path below the source root; `None` if it is outside.
    fn inside(&self, text: &str, folder: &str) -> Option<String> {
        let full = if text.starts_with('/') { text.to_owned() } else { format!("{folder}/{text}") };
        path::below(self.request.root, &full)
    }

    /// Sets the default context: the Compose file's folder, unless the config has a context.
    fn default_context(&mut self, build: &Field<'_>) {
        let by_config = self
            .request
            .config
            .is_some_and(|config| config.global().kaniko.context_path.location().is_some());
        if self.service.layer.kaniko.context_path.location().is_some() || by_config {
            return;
        }
        let project = self.scalars.project(build.node.file.project);
        let folder = project.as_ref().map_or(self.request.folder, |project| project.folder.path.as_str());
        let value = self.inside(".", folder).map_or_else(
            || {
                let message =
                    "the folder of the Compose file, which is the default context, is outside the source root";
                self.findings.mistake(
                    build.location.clone(),
                    Message::new(message).with_hint("set `context`, or set --repo to a parent folder"),
                );
                Held::Bad
            },
            Held::Set,
        );
        self.service.layer.kaniko.context_path = Key::new(value, build.location.clone());
    }

    fn args(&mut self, field: &Field<'_>) {
        let mut map = MapLayer::default();
        for (name, value, at) in self.scalars.pairs(field, self.findings) {
            if let Some(message) = rules::arg_name(&name) {
                self.findings.mistake(at.location, message);
            } else if let Some(value) = value.or_else(|| self.scalars.variable(&name, &at, self.findings)) {
                map.entries.insert(name, (value, at.location));
            }
        }
        self.service.layer.kaniko.build_args = map;
    }

    fn target(&mut self, field: &Field<'_>) {
        let value = match self.scalars.text(field, self.findings).as_deref() {
            None => Held::Bad,
            Some("") => return,
            Some(text) => match rules::target(text) {
                Some(message) => {
                    self.findings.mistake(field.location.clone(), message);
                    Held::Bad
                }
                None => Held::Set(text.to_owned()),
            },
        };
        self.service.layer.kaniko.target = Key::new(value, field.location.clone());
    }

    fn labels(&mut self, field: &Field<'_>) {
        for (name, value, at) in self.scalars.pairs(field, self.findings) {
            if let Some(message) = rules::label_name(&name) {
                self.findings.mistake(at.location, message);
            } else {
                let label = (value.unwrap_or_default(), at.location);
                self.service.layer.kaniko.labels.entries.insert(name, label);
            }
        }
    }
}
