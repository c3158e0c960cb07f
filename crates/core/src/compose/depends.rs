//! Profiles and dependencies (which do not order builds), checked for all services as `docker compose config` does: a
//! file that Compose refuses is refused here as well.

use std::collections::{BTreeMap, BTreeSet};

use crate::compose::Request;
use crate::compose::scalar::{Scalars, Substituted};
use crate::decode::Field;
use crate::message::Message;
use crate::report::{Findings, did_you_mean};
use crate::yaml::Value;

/// The services that are active in Compose.
pub(super) struct Active<'n> {
    /// Active without being named: without profiles, or with one of `COMPOSE_PROFILES`.
    alone: BTreeSet<&'n str>,
    /// Also those that are active through a profile of a service named in `--services`.
    all: BTreeSet<&'n str>,
}

impl<'n> Active<'n> {
    pub(super) fn of(
        services: &[(&'n str, Field<'n>)],
        request: &Request<'_>,
        scalars: &Scalars<'_>,
        findings: &mut Findings,
    ) -> Self {
        let asked = request.vars.get("COMPOSE_PROFILES").unwrap_or_default();
        // As in Compose, the profile without a name is active if none is asked for.
        let asked: BTreeSet<String> = asked.split(',').map(|name| name.trim().to_owned()).collect();
        let profiles: Vec<(&str, Vec<Substituted>)> =
            services.iter().map(|(name, field)| (*name, profiles(field, scalars, findings))).collect();
        let named = |name: &str| request.services.iter().any(|wanted| wanted == name);
        let with = |asked: &BTreeSet<String>| {
            let active = profiles.iter().filter(|(_, own)| {
                own.is_empty()
                    || asked.contains("*")
                    || own.iter().any(|profile| asked.contains(&profile.value))
            });
            active.map(|(name, _)| *name).collect::<BTreeSet<_>>()
        };
        let brought = profiles.iter().filter(|(name, _)| named(name)).flat_map(|(_, own)| own);
        let more = asked.iter().cloned().chain(brought.map(|profile| profile.value.clone())).collect();
        Self { alone: with(&asked), all: with(&more) }
    }

    /// True for a service that is active without being named.
    pub(super) fn is_alone(&self, name: &str) -> bool {
        self.alone.contains(name)
    }
}

/// The services that have a `build` and a profile, each with its first profile.
pub(super) fn profiles_of_builds(services: &Field<'_>, scalars: &Scalars<'_>) -> Vec<(String, String)> {
    let built = services.entries().into_iter().filter(|(_, field)| field.get("build").is_some());
    built
        .filter_map(|(name, field)| {
            // Mistakes in them have been reported already.
            let profile = profiles(&field, scalars, &mut Findings::default()).into_iter().next()?;
            Some((name.to_owned(), profile.shown()))
        })
        .collect()
}

/// Checks that active services depend only on active services, and not on each other in a cycle.
pub(super) fn check<'n>(
    services: &[(&'n str, Field<'n>)],
    known: &[&str],
    active: &Active<'n>,
    scalars: &Scalars<'_>,
    findings: &mut Findings,
) {
    let mut edges: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut locations = BTreeMap::new();
    for (name, field) in services.iter().filter(|(name, _)| active.all.contains(name)) {
        let Some(depends) = field.get("depends_on").filter(|depends| !depends.node.is_null()) else {
            continue;
        };
        for (needed, required, at) in needs(&depends, scalars, findings) {
            let as_written = needed.shown();
            let needed = needed.value;
            if !known.contains(&needed.as_str()) {
                let message = format!("there is no service `{as_written}`");
                findings.mistake(at.location, Message::new(message).with_hint(did_you_mean(&needed, known)));
            } else if active.all.contains(needed.as_str()) {
                edges.entry(name).or_default().push(needed);
            } else if required {
                let own = services.iter().find(|(other, _)| *other == needed);
                let own = own.map(|(_, field)| profiles(field, scalars, findings)).unwrap_or_default();
                let Some(profile) = own.first().map(Substituted::shown) else { continue };
                let hint = format!("set COMPOSE_PROFILES={profile}, or write `required: false` below it");
                let message =
                    format!("the service `{as_written}` is not active: none of its profiles is enabled");
                findings.mistake(at.location, Message::new(message).with_hint(hint));
            }
        }
        locations.insert(*name, depends.location);
    }
    // Removes services whose dependencies all end, until only cycles and their dependents are left.
    while let Some(done) =
        edges.iter().find(|(_, needed)| !needed.iter().any(|name| edges.contains_key(name.as_str())))
    {
        let done = *done.0;
        edges.remove(done);
    }
    let Some((&first, _)) = edges.first_key_value() else { return };
    let mut path = vec![first];
    while let Some(next) = path
        .last()
        .and_then(|last| edges.get(last))
        .and_then(|needed| needed.iter().find_map(|name| edges.get_key_value(name.as_str())))
    {
        let next = *next.0;
        if let Some(at) = path.iter().position(|known| *known == next) {
            let cycle: Vec<&str> = path[at..].iter().copied().chain([next]).collect();
            if let Some(location) = locations.remove(next) {
                let message = format!("services depend on each other in a cycle: {}", cycle.join(" -> "));
                findings
                    .mistake(location, Message::new(message).with_hint("remove one of these dependencies"));
            }
            return;
        }
        path.push(next);
    }
}

/// `depends_on` as a list of names, or as a mapping with conditions.
fn needs<'n>(
    depends: &Field<'n>,
    scalars: &Scalars<'_>,
    findings: &mut Findings,
) -> Vec<(Substituted, bool, Field<'n>)> {
    match &depends.node.value {
        Value::List(_) => {
            scalars.list(depends, findings).into_iter().map(|(name, at)| (name, true, at)).collect()
        }
        Value::Map(_) => {
            let need = |(name, field): (&'n str, Field<'n>)| {
                let required =
                    field.get("required").and_then(|required| scalars.boolean(&required, findings));
                (Substituted::plain(name), required.unwrap_or(true), field)
            };
            depends.entries().into_iter().map(need).collect()
        }
        Value::Scalar { .. } => {
            depends.expected("a list or a mapping of services", findings);
            Vec::new()
        }
    }
}

fn profiles(field: &Field<'_>, scalars: &Scalars<'_>, findings: &mut Findings) -> Vec<Substituted> {
    let profiles = field.get("profiles").filter(|profiles| !profiles.node.is_null());
    profiles.map_or_else(Vec::new, |profiles| {
        scalars.list(&profiles, findings).into_iter().map(|(name, _)| name).collect()
    })
}
