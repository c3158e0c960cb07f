//! The images of services that name none.

use crate::compose::Request;
use crate::config::ConfigFile;
use crate::config::layer::{Held, Key, TaskLayer};
use crate::decode::Field;
use crate::message::Message;
use crate::names::ServiceName;
use crate::report::Findings;

/// Names images as Compose does: `<project>-<service>`, below the registry of the options.
pub(super) struct ServiceImages<'a> {
    request: &'a Request<'a>,
    /// `None` after a mistake in it.
    project: Option<&'a str>,
    /// Services for whose images there is no registry.
    unnamed: Vec<ServiceName>,
}

impl<'a> ServiceImages<'a> {
    pub(super) fn new(request: &'a Request<'a>, project: Option<&'a str>) -> Self {
        Self { request, project, unnamed: Vec::new() }
    }

    /// Gives the layer of a service a destination if nothing else does.
    pub(super) fn complete(
        &mut self,
        name: &ServiceName,
        layer: &mut TaskLayer,
        field: &Field<'_>,
        findings: &mut Findings,
    ) {
        let global = self.request.config.map(ConfigFile::global);
        let base = global.map(|global| &global.kaniko);
        let own = &layer.kaniko.destination;
        let is_named = own.is_bad() || own.value().is_some();
        let by_base = base.is_some_and(|base| {
            let named = base.destination.is_bad() || base.destination.value().is_some();
            named || base.no_push.is_bad() || base.no_push.value() == Some(&true)
        });
        if is_named || by_base && own.location().is_none() {
            return;
        }
        let location = field.location.clone();
        let registry = self.request.naming.registry.as_ref();
        let registry = registry.or_else(|| self.request.config.and_then(|config| config.registry()));
        let Some(registry) = registry else {
            if self.request.naming.no_push {
                findings.notice(location, "has no `image`: built, and not pushed (--no-push)");
                return;
            }
            if !global.is_some_and(|global| global.registry.is_bad()) {
                self.unnamed.push(name.clone());
            }
            layer.kaniko.destination = Key::new(Held::Bad, location);
            return;
        };
        let Some(project) = self.project.filter(|project| !project.is_empty()) else {
            if self.project.is_some() {
                let message = Message::new("has no `image`, and the project has no name to make one of");
                findings.mistake(location.clone(), message.with_hint("set `name` at the top of the file"));
            }
            layer.kaniko.destination = Key::new(Held::Bad, location);
            return;
        };
        let value = registry.image(&format!("{project}-{name}")).map_or_else(
            || {
                let message = Message::new(format!("its image cannot be named after `{name}`"));
                let hint = "names of images are lower-case: set `image`";
                findings.mistake(location.clone(), message.with_hint(hint));
                Held::Bad
            },
            Held::Set,
        );
        layer.kaniko.destination = Key::new(value, location);
    }

    /// Reports all services without a name in one mistake.
    pub(super) fn report(self, services: &Field<'_>, findings: &mut Findings) {
        let names: Vec<_> = self.unnamed.iter().map(|name| format!("`{name}`")).collect();
        let text = match names.as_slice() {
            [] => return,
            [one] => format!("the service {one} has no `image`, so there is no name to push it to"),
            several => format!("services without an `image` have no name to push to: {}", several.join(", ")),
        };
        let hint = "--registry HOST/PATH (or BAKERY_REGISTRY, or `global.registry`) pushes them as HOST/PATH/<project>-<service>; \
                    --no-push only builds them";
        findings.mistake(services.location.clone(), Message::new(text).with_hint(hint));
    }
}
