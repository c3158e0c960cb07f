//! The logins of a build: those that its config file holds, those in files that it names, and those of `docker login`.

use std::collections::BTreeSet;

use crate::config::Resolved;
use crate::config::keys::{self, DOCKER, names};
use crate::config::layer::{Held, Key, Login, WantedLogin};
use crate::config::readers::{self, read_text, refuse};
use crate::config::secrets::{SecretPurpose, SecretSources};
use crate::decode::{Field, section};
use crate::image::{self, ImageRef};
use crate::message::Message;
use crate::plan;
use crate::report::{Findings, Location, Report, shown};
use crate::rules;
use crate::secret::Secret;
use crate::spec::{Credential, TaskSpec};
use crate::yaml::Value;

/// For which tasks the logins of `docker login` are looked for, besides those that ask for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginSearch {
    /// For no others.
    AsFileSays,
    /// For all, those of the registries that they push to.
    All,
    /// The same, and one that does not exist is not worth a notice.
    AllQuietly,
}

/// The logins of `docker login`.
pub trait DockerLogins {
    /// The login for a registry, if there is one.
    fn find(&self, registry: &str) -> Result<Option<Credential>, Message>;
}

/// Decodes `kaniko-credentials`.
pub(super) fn decode(
    field: &Field<'_>,
    sources: &dyn SecretSources,
    findings: &mut Findings,
) -> Key<Vec<Login>> {
    let location = field.location.clone();
    if field.clears() {
        return Key::new(Held::Cleared, location);
    }
    if is_docker(field) {
        let wanted = WantedLogin { registry: None, location: location.clone() };
        return Key::new(Held::Set(vec![Login::OfDocker(wanted)]), location);
    }
    let Value::List(_) = field.node.value else {
        field.expected("`docker` or a list of { registry, username, password }", findings);
        return Key::new(Held::Bad, location);
    };
    let mut logins = Vec::new();
    let mut seen = BTreeSet::new();
    let before = findings.mistakes.len();
    for item in field.items() {
        let Some(login) = login(&item, sources, findings) else { continue };
        let registry = match &login {
            Login::Written(credential) => Some(credential.registry.as_str()),
            Login::OfDocker(wanted) => wanted.registry.as_deref(),
        };
        if !seen.insert(registry.map(str::to_owned)) {
            let at = item.get("registry");
            let shown = at.as_ref().and_then(Field::written).map(shown);
            let whose = shown.or(registry.map(str::to_owned)).map(|registry| format!(" for {registry}"));
            findings.mistake(
                item.location,
                Message::new(format!("a second login{}", whose.unwrap_or_default()))
                    .with_hint("one login per registry: keep one"),
            );
        }
        logins.push(login);
    }
    let bad = findings.mistakes.len() > before;
    Key::new(if bad { Held::Bad } else { Held::Set(logins) }, location)
}

fn is_docker(field: &Field<'_>) -> bool {
    matches!(&field.node.value, Value::Scalar { text, .. } if text == DOCKER)
}

fn login(field: &Field<'_>, sources: &dyn SecretSources, findings: &mut Findings) -> Option<Login> {
    if is_docker(field) {
        return Some(Login::OfDocker(WantedLogin { registry: None, location: field.location.clone() }));
    }
    let known = names(&keys::CREDENTIAL);
    let fields = section(field, &known, |_| None, findings)?;
    let get = |name: &str| fields.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
    let mut missing = |name: &str| findings.mistake(field.location.clone(), format!("`{name}` is missing"));
    let passwords =
        ["password", "password-file", "credentials"].map(|name| get(name).map(|value| (name, value)));
    let passwords: Vec<_> = passwords.into_iter().flatten().collect();
    if get("registry").is_none() {
        missing("registry");
    }
    let of_docker = get("credentials").is_some();
    if get("username").is_none() && !of_docker {
        missing("username");
    }
    if passwords.is_empty() {
        missing("password");
    }
    for (name, second) in passwords.iter().skip(1) {
        let text = format!("a second source of the password beside `{}`", passwords[0].0);
        findings.mistake(
            second.location.clone(),
            Message::new(text).with_hint(format!("remove `{name}` or the other")),
        );
    }
    if let (true, Some(username)) = (of_docker, get("username")) {
        let message = Message::new("the user name is that of `docker login`").with_hint("remove it");
        findings.mistake(username.location.clone(), message);
    }
    let registry = get("registry").and_then(|field| registry(field, findings));
    let username = get("username").and_then(|field| username(field, findings));
    let (name, source) = *passwords.first()?;
    if name == "credentials" {
        let text = read_text(source, findings)?;
        if text != DOCKER {
            let message = Message::new(format!("`{}` is not a valid value", shown(text)));
            refuse(source, message.with_hint("`docker` is the only one"), findings);
            return None;
        }
        return Some(Login::OfDocker(WantedLogin {
            registry: Some(registry?),
            location: field.location.clone(),
        }));
    }
    let text = not_empty(source, findings)?;
    let password = if name == "password" {
        Secret::new(text)
    } else {
        match sources.file(text, source.written().unwrap_or(text), SecretPurpose::Login) {
            Ok(text) if text.expose().trim().is_empty() => {
                findings.mistake(source.location.clone(), "the file is empty");
                return None;
            }
            Ok(text) => text,
            Err(message) => {
                findings.mistake(source.location.clone(), message);
                return None;
            }
        }
    };
    let password = password_of(&password, source, findings);
    Some(Login::Written(Credential { registry: registry?, username: username?, password }))
}

fn not_empty<'n>(field: &Field<'n>, findings: &mut Findings) -> Option<&'n str> {
    let text = read_text(field, findings)?;
    if text.is_empty() {
        let hint = "if it comes from a variable, check that the variable is set";
        findings.mistake(field.location.clone(), Message::new("is empty").with_hint(hint));
        return None;
    }
    Some(text)
}

fn registry(field: &Field<'_>, findings: &mut Findings) -> Option<String> {
    let text = not_empty(field, findings)?;
    readers::registry(text).map_err(|message| refuse(field, message, findings)).ok()
}

fn username(field: &Field<'_>, findings: &mut Findings) -> Option<String> {
    let text = not_empty(field, findings)?;
    if let Some(wrong) = rules::username(text) {
        findings.mistake(field.location.clone(), wrong);
        return None;
    }
    Some(text.to_owned())
}

/// The password without the newline that `echo`, an editor or a YAML block puts at its end. A JSON document (a key file)
/// stays as it is.
fn password_of(text: &Secret, field: &Field<'_>, findings: &mut Findings) -> Secret {
    let whole = text.expose();
    let trimmed = whole.trim();
    if trimmed.starts_with('{') && trimmed.ends_with('}') {
        return text.clone();
    }
    let cut = whole.strip_suffix('\n').map(|rest| rest.strip_suffix('\r').unwrap_or(rest));
    if cut.is_some() {
        findings.notice(field.location.clone(), "ends with a newline, which is cut");
    }
    let password = cut.unwrap_or(whole);
    if password.trim() != password {
        let message = Message::new("begins or ends with white space, which is kept");
        let hint = "remove it, if the registry refuses the login";
        findings.notice(field.location.clone(), message.with_hint(hint));
    }
    Secret::new(password)
}

impl Resolved {
    /// The build with the logins of docker that its tasks ask for, and that `search` asks for. Logins that the build has
    /// itself win.
    pub fn with_docker_logins(
        mut self,
        search: LoginSearch,
        docker: &dyn DockerLogins,
    ) -> Result<Self, Report> {
        let mut findings = Findings::default();
        findings.notices = std::mem::take(&mut self.notices);
        let mut wanted = std::mem::take(&mut self.wanted_logins).into_iter();
        for task in self.spec.services.iter_mut().flat_map(|service| &mut service.tasks) {
            let mut wanted = wanted.next().unwrap_or_default();
            if search != LoginSearch::AsFileSays && wanted.iter().all(|wanted| wanted.registry.is_some()) {
                let by = if search == LoginSearch::All { "--credentials" } else { "docker login" };
                wanted.push(WantedLogin { registry: None, location: Location::setting(by) });
            }
            // What the file says about one registry comes before what it says about all.
            wanted.sort_by_key(|wanted| wanted.registry.is_none());
            for wanted in &wanted {
                add(wanted, task, (search, docker), &mut findings);
            }
        }
        if findings.mistakes.is_empty() {
            self.plan = plan::of_checked(&self.spec)
                .map_err(|problems| Report { mistakes: problems.into_iter().map(Into::into).collect() })?;
        }
        let (mut resolved, notices) = findings.finish(self)?;
        resolved.notices = notices;
        Ok(resolved)
    }
}

fn add(
    wanted: &WantedLogin,
    task: &mut TaskSpec,
    (search, docker): (LoginSearch, &dyn DockerLogins),
    findings: &mut Findings,
) {
    let registries = wanted.registry.clone().map_or_else(|| registries(task), |registry| [registry].into());
    for registry in registries {
        if task.credentials.iter().any(|login| login.registry == registry) {
            continue;
        }
        let how = format!("`docker login {registry}` adds it");
        let at = || wanted.location.clone();
        match docker.find(&registry) {
            Ok(Some(login)) => match rules::username(&login.username) {
                None => task.credentials.push(Credential { registry, ..login }),
                Some(wrong) => {
                    findings.mistake(
                        at(),
                        format!("docker's login for {registry}: the user name {}", wrong.text),
                    );
                }
            },
            Ok(None) if wanted.registry.is_some() => {
                findings.mistake(
                    at(),
                    Message::new(format!("docker has no login for {registry}")).with_hint(how),
                );
            }
            // A registry may need none.
            Ok(None) if search == LoginSearch::AllQuietly => {}
            Ok(None) => {
                findings
                    .notice(at(), Message::new(format!("docker has no login for {registry}")).with_hint(how));
            }
            Err(message) => findings.mistake(at(), message),
        }
    }
}

/// The registries that a task writes to.
fn registries(task: &TaskSpec) -> BTreeSet<String> {
    let kaniko = &task.kaniko;
    let cache = kaniko.cache.repo.as_deref().filter(|_| kaniko.cache.enable);
    let cache = cache.and_then(|repo| repo.parse::<ImageRef>().ok());
    let pushed = kaniko.destination.iter().chain(&kaniko.tags).filter(|_| !kaniko.no_push);
    pushed.chain(&cache).filter_map(|image| image::registry_host(&image.registry)).collect()
}
