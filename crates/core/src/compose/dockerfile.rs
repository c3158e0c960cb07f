//! The Dockerfile of a service: a file of its context, or a text.

use crate::compose::build::ServiceReader;
use crate::config::layer::{Held, Key};
use crate::decode::Field;
use crate::mask::name_suggests_secret;
use crate::message::Message;
use crate::path;
use crate::rules;

impl ServiceReader<'_, '_> {
    pub(super) fn dockerfile(&mut self, field: &Field<'_>) {
        let location = field.location.clone();
        let substituted = self.scalars.substituted(field, self.findings);
        let value = match substituted.as_ref().map(|text| text.value.as_str()) {
            None => Held::Bad,
            Some("") => Held::Cleared,
            Some(text) if text.contains("://") => {
                self.findings.mistake(
                    location.clone(),
                    Message::new("a remote Dockerfile is not supported").with_hint("name a file"),
                );
                Held::Bad
            }
            Some(text) => {
                if let Some(message) = rules::path_text(text) {
                    self.findings.mistake(location.clone(), message);
                    Held::Bad
                } else {
                    let tidy = path::tidy(text);
                    if let Some(substituted) = &substituted {
                        self.service.remember(&tidy, substituted);
                    }
                    Held::Set(tidy)
                }
            }
        };
        self.service.layer.kaniko.dockerfile = Key::new(value, location);
    }

    pub(super) fn dockerfile_inline(&mut self, field: &Field<'_>) {
        // A `$` of a `RUN` step is taken for a variable of Compose's as well.
        let unset = |name: &str| format!("write $${name} to leave it to the Dockerfile, or set it");
        let filled = self.scalars.filled(field, self.findings, unset);
        for name in filled.iter().flat_map(|filled| &filled.used).filter(|name| name_suggests_secret(name)) {
            let message = format!("the value of {name} can be read in the Dockerfile, the log and the image");
            let hint =
                format!("use a build secret (`secrets`), or write $${name} to leave it to the Dockerfile");
            self.findings.notice(field.location.clone(), Message::new(message).with_hint(hint));
        }
        let value = match filled.map(|filled| filled.text) {
            None => Held::Bad,
            Some(text) if text.is_empty() => Held::Cleared,
            Some(text) => Held::Set(text),
        };
        self.service.layer.kaniko.dockerfile_inline = Key::new(value, field.location.clone());
    }

    /// Reports a service with both.
    pub(super) fn one_dockerfile(&mut self) {
        if let Some(at) = self.service.layer.kaniko.settle_dockerfile() {
            let hint = "keep one of them; `dockerfile: !reset` removes that of an earlier file";
            self.findings.mistake(at, Message::new("`dockerfile` is set too").with_hint(hint));
        }
    }
}
