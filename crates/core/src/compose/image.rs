//! The images of services that name none.

use crate::compose::Request;
use crate::config::ConfigFile;
use crate::config::layer::{Held, Key, TaskLayer};
use crate::decode::Field;
use crate::image::ImageRef;
use crate::message::Message;
use crate::names::ServiceName;
use crate::report::{Findings, Location};

/// Names images as Compose does: `<project>-<service>`, below the registry of the options.
pub(super) struct ServiceImages<'a> {
    request: &'a Request<'a>,
    /// `None` after a mistake in it.
    project: Option<&'a str>,
    /// Services whose images have no registry.
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
        if self.has_name(&layer.kaniko.destination) {
            return;
        }
        if let Some(value) = self.name(name, &field.location, findings) {
            layer.kaniko.destination = Key::new(value, field.location.clone());
        }
    }

    /// Whether the service's own image or the base names the image, or nothing is pushed.
    fn has_name(&self, own: &Key<ImageRef>) -> bool {
        let is_written = |image: &Key<ImageRef>| image.is_bad() || image.value().is_some();
        let by_base = self.request.config.is_some_and(|config| {
            let base = &config.global().kaniko;
            is_written(&base.destination) || base.no_push.is_bad() || base.no_push.value() == Some(&true)
        });
        is_written(own) || own.location().is_none() && by_base
    }

    /// The image of a service that names none; `None` if none is needed.
    fn name(
        &mut self,
        name: &ServiceName,
        location: &Location,
        findings: &mut Findings,
    ) -> Option<Held<ImageRef>> {
        let config = self.request.config;
        let registry = self.request.naming.registry.as_ref();
        let Some(registry) = registry.or_else(|| config.and_then(ConfigFile::registry)) else {
            if self.request.naming.no_push {
                findings.notice(location.clone(), "has no `image`: built, and not pushed (--no-push)");
                return None;
            }
            if !config.is_some_and(|config| config.global().registry.is_bad()) {
                self.unnamed.push(name.clone());
            }
            return Some(Held::Bad);
        };
        let mut mistake = |text: String, hint: &str| {
            findings.mistake(location.clone(), Message::new(text).with_hint(hint));
            Some(Held::Bad)
        };
        match self.project {
            None => Some(Held::Bad),
            Some("") => mistake(
                "has no `image`, and the project has no name to make one of".to_owned(),
                "set `name` at the top of the file",
            ),
            Some(project) => registry.image(&format!("{project}-{name}")).map(Held::Set).or_else(|| {
                let text = format!("its image cannot be named after `{name}`");
                mistake(text, "names of images are lower-case: set `image`")
            }),
        }
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
