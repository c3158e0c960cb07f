//! Which services are built.

use crate::compose::Request;
use crate::compose::depends;
use crate::compose::scalar::Scalars;
use crate::decode::{Field, unknown_key};
use crate::message::Message;
use crate::names::ServiceName;
use crate::report::{Findings, nearest, shown, shown_within};
use crate::yaml::Value;

/// The services to build, in the order of the file: those that were named, else all whose profiles are active.
pub(super) fn select<'n>(
    services: &Field<'n>,
    request: &Request<'_>,
    scalars: &Scalars<'_>,
    findings: &mut Findings,
) -> Vec<(ServiceName, Field<'n>)> {
    let all = services.entries();
    let known: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    for name in request.services.iter().filter(|name| !known.contains(&name.as_str())) {
        let message = format!("there is no service `{}`", shown(name));
        let nearest = nearest(name, &known).map(|service| format!("did you mean `{service}`? "));
        let hint = format!("{}known services: {}", nearest.unwrap_or_default(), known.join(", "));
        findings.mistake(services.location.clone(), Message::new(message).with_hint(hint));
    }
    let mut mappings = Vec::new();
    for (name, field) in all {
        if let Value::Map(_) = field.node.value {
            mappings.push((name, field));
        } else {
            let message = format!("expected a mapping, found {}", field.node.kind());
            findings.mistake(
                field.location,
                Message::new(message).with_hint("a service is written as `NAME: { image: .., build: .. }`"),
            );
        }
    }
    let active = depends::Active::of(&mappings, request, scalars, findings);
    depends::check(&mappings, &known, &active, scalars, findings);
    let (mut selected, mut left_out) = (Vec::new(), LeftOut::default());
    for (name, field) in mappings {
        let named = request.services.iter().any(|wanted| wanted == name);
        if !named && !request.services.is_empty() {
            continue;
        }
        let is_built = field.get("build").is_some_and(|build| !build.node.is_null());
        if !named && !active.is_alone(name) {
            if is_built {
                left_out.inactive.push(name);
            }
            continue;
        }
        if !is_built {
            if named {
                let hint = "give it a `build`, or remove it from --services";
                findings.mistake(
                    field.location,
                    Message::new(format!("the service `{name}` has no `build`")).with_hint(hint),
                );
            } else {
                report_misspelt_build(&field, findings);
                left_out.without_build.push(name);
            }
            continue;
        }
        match name.parse() {
            Ok(name) => selected.push((name, field)),
            Err(_) => findings.mistake(
                field.location,
                Message::new("not a valid service name")
                    .with_hint("use letters, digits, `.`, `_`, `-`, with a letter or a digit first"),
            ),
        }
    }
    if !selected.is_empty() {
        left_out.report(services, findings);
    }
    selected
}

/// Services that are not built although nobody named others.
#[derive(Default)]
struct LeftOut<'n> {
    without_build: Vec<&'n str>,
    /// They have a `build`, and none of their profiles is active.
    inactive: Vec<&'n str>,
}

impl LeftOut<'_> {
    fn report(&self, services: &Field<'_>, findings: &mut Findings) {
        let list = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            shown_within(&names.join(", "), 400)
        };
        if !self.without_build.is_empty() {
            let text = format!("without a `build`, so not built: {}", list(&self.without_build));
            findings.notice(services.location.clone(), text);
        }
        if !self.inactive.is_empty() {
            let text = format!("not built, because their profiles are not active: {}", list(&self.inactive));
            let hint = "name them with --services, or their profiles in COMPOSE_PROFILES";
            findings.notice(services.location.clone(), Message::new(text).with_hint(hint));
        }
    }
}

/// Reports a misspelt `build`: without this, the service would be skipped without a notice.
fn report_misspelt_build(field: &Field<'_>, findings: &mut Findings) {
    for (key, value) in field.entries() {
        if nearest(key, &["build"]) == Some("build") && key != "build" {
            findings.mistake(value.location, unknown_key(key, "did you mean `build`?".to_owned()));
        }
    }
}
