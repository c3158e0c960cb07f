//! The names of a service's image: `image`, and `tags` besides.

use crate::compose::build::ServiceReader;
use crate::config::destination;
use crate::config::layer::{Held, Key};
use crate::decode::Field;
use crate::image::ImageRef;
use crate::message::Message;
use crate::report::shown;

impl ServiceReader<'_, '_> {
    pub(super) fn image_names(&mut self, service: &Field<'_>, build: &Field<'_>) {
        let is_given = |field: &Field<'_>| !field.node.is_null();
        if let Some(field) = service.get("image").filter(is_given) {
            let value = match self.scalars.text(&field, self.findings) {
                None => Held::Bad,
                Some(text) if text.is_empty() => Held::Cleared,
                Some(text) => self.image(&text, &field).map_or(Held::Bad, Held::Set),
            };
            self.service.layer.kaniko.destination = Key::new(value, field.location);
        }
        // As in buildx, those of `x-bake` are added.
        let of_bake = build.get("x-bake").and_then(|bake| bake.get("tags"));
        for field in build.get("tags").into_iter().chain(of_bake).filter(is_given) {
            self.tags(&field);
        }
    }

    fn tags(&mut self, field: &Field<'_>) {
        let before = self.findings.mistakes.len();
        let kaniko = &self.service.layer.kaniko;
        let mut tags = kaniko.tags.value().cloned().unwrap_or_default();
        let mut is_bad = kaniko.tags.is_bad();
        for (text, item) in self.scalars.list(field, self.findings) {
            if text.value.is_empty() {
                self.findings.notice(item.location, "is empty, ignored");
            } else {
                tags.extend(self.image(&text.value, &item));
            }
        }
        is_bad |= self.findings.mistakes.len() > before;
        // A service without an `image` is named by the first of them.
        let destination = &mut self.service.layer.kaniko.destination;
        if destination.value().is_none() && !destination.is_bad() && !tags.is_empty() {
            *destination = Key::new(Held::Set(tags.remove(0)), field.location.clone());
        }
        let held = if is_bad { Held::Bad } else { Held::Set(tags) };
        self.service.layer.kaniko.tags = Key::new(held, field.location.clone());
    }

    fn image(&mut self, text: &str, field: &Field<'_>) -> Option<ImageRef> {
        let Message { hint, .. } = match destination(text) {
            Ok(image) => return Some(image),
            Err(message) => message,
        };
        let raw = field.text(self.findings).unwrap_or_default();
        let hint = self.scalars.unset(field, raw).or(hint);
        let text = format!("`{}` is not an image reference", shown(raw));
        self.findings.mistake(field.location.clone(), Message { text, hint });
        None
    }
}
