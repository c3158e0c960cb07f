//! The platforms of a service.

use crate::buildx::{DEFAULT_PLATFORM, platform};
use crate::compose::build::ServiceReader;
use crate::decode::Field;
use crate::message::Message;
use crate::names::Arch;
use crate::report::Location;

/// An architecture, a variant's full name, and what names both.
type BuildPlatform = (Arch, Option<String>, Location);

impl ServiceReader<'_, '_> {
    /// `x-bake.platforms`, else `build.platforms`, else the service's `platform`, else `DOCKER_DEFAULT_PLATFORM`.
    pub(super) fn platforms(&mut self, service: &Field<'_>, build: &Field<'_>) {
        let is_given = |field: &Field<'_>| !field.node.is_null();
        let of_bake = build.get("x-bake").and_then(|bake| bake.get("platforms")).filter(is_given);
        let of_build = build.get("platforms").filter(is_given);
        let by_bake = build.get("x-bake").is_some();
        let own = self.own_platform(service);
        let Some(listed) = of_bake.or_else(|| of_build.clone()) else {
            self.service.platforms.extend(own);
            return;
        };
        let mut is_complete = true;
        for (text, at) in self.scalars.list(&listed, self.findings) {
            let Ok((arch, variant)) = platform(&text.value) else {
                is_complete = false;
                let message = format!("`{}` is not a supported platform", text.shown());
                self.findings
                    .mistake(at.location, Message::new(message).with_hint("linux/amd64 or linux/arm64"));
                continue;
            };
            if self.service.platforms.iter().any(|(known, other, _)| (*known, other) == (arch, &variant)) {
                self.findings.notice(at.location, "listed twice, used once");
            } else {
                self.service.platforms.push((arch, variant, at.location));
            }
        }
        // An empty list is none.
        if self.service.platforms.is_empty() && is_complete {
            self.service.platforms.extend(own);
            return;
        }
        // Required by the Compose specification.
        let Some((arch, _, at)) = own.filter(|_| of_build.is_some() && !by_bake) else { return };
        if !self.service.platforms.iter().any(|(listed, ..)| *listed == arch) {
            let message = format!("linux/{arch} is not among `build.platforms`");
            self.findings.mistake(at, Message::new(message).with_hint("add it there, or remove this"));
        }
    }

    /// The platform of the service; an empty one is none.
    fn own_platform(&mut self, service: &Field<'_>) -> Option<BuildPlatform> {
        if let Some(field) = service.get("platform").filter(|field| !field.node.is_null()) {
            let text = self.scalars.text(&field, self.findings)?;
            if !text.is_empty() {
                let (arch, variant) = self.scalars.parse(&field, self.findings, platform)?;
                return Some((arch, variant, field.location));
            }
        }
        let text = self.scalars.setting(DEFAULT_PLATFORM, self.findings)?;
        let at = Location::setting(DEFAULT_PLATFORM);
        match platform(&text) {
            Ok((arch, variant)) => Some((arch, variant, at)),
            Err(expected) => {
                self.findings.mistake(at, format!("not {expected}"));
                None
            }
        }
    }
}
