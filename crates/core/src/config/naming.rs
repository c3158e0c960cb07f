//! Names of images: what options and settings say where the files name no image, or no tag.

use crate::image::{self, ImageRef};
use crate::message::Message;

/// What options and settings say about the names of images.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Naming {
    /// Registry and path below which images without a name are pushed.
    pub registry: Option<ImagePrefix>,
    /// The tag of images that name none; `None` = `latest`.
    pub tag: Option<ImageTag>,
    /// Nothing is pushed, so no image needs a name.
    pub no_push: bool,
}

impl Naming {
    /// `image` with the tag, if it has none.
    pub(super) fn tagged(&self, image: &ImageRef) -> ImageRef {
        match &self.tag {
            Some(tag) if image.tag.is_none() && image.digest.is_none() => image.with_tag(tag.0.as_str()),
            _ => image.clone(),
        }
    }
}

/// A registry with a path or without: `registry.example.com/team`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePrefix(String);

impl ImagePrefix {
    /// Parses one; a slash at the end is ignored.
    pub fn parse(text: &str) -> Result<Self, Message> {
        let prefix = text.trim_end_matches('/');
        let hint = "write HOST, HOST:PORT or HOST/PATH, without a scheme: `registry.example.com/team`";
        let wrong = || {
            Message::new(format!("`{}` is not a registry with a path", crate::report::shown(text)))
                .with_hint(hint)
        };
        let named = Self(prefix.to_owned());
        let host = prefix.split('/').next().unwrap_or_default();
        if image::names_registry(host) && named.image("name").is_some() { Ok(named) } else { Err(wrong()) }
    }

    /// The image of this name below it.
    pub(crate) fn image(&self, name: &str) -> Option<ImageRef> {
        format!("{}/{name}", self.0).parse().ok()
    }
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageTag(String);

impl ImageTag {
    /// Parses one.
    pub fn parse(text: &str) -> Result<Self, Message> {
        if image::is_tag(text) {
            return Ok(Self(text.to_owned()));
        }
        let message = Message::new(format!("`{}` is not a tag", crate::report::shown(text)));
        Err(message
            .with_hint("letters, digits, `_`, `.` and `-`; at most 128; not `.` or `-` at the beginning"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_has_a_host_and_no_scheme() {
        for (text, image) in [
            ("reg.test", "reg.test/shop-web"),
            ("reg.test:5000/a/b/", "reg.test:5000/a/b/shop-web"),
            ("localhost/team", "localhost/team/shop-web"),
            ("123.dkr.ecr.eu-west-1.amazonaws.com", "123.dkr.ecr.eu-west-1.amazonaws.com/shop-web"),
        ] {
            let prefix = ImagePrefix::parse(text).unwrap();
            assert_eq!(prefix.image("shop-web").unwrap().to_string(), image);
        }
        for text in [
            "",
            "team",
            "https://reg.test/team",
            "reg.test/Team",
            "reg.test/a:1",
            "reg.test//a",
            "reg.test/a b",
        ] {
            assert!(ImagePrefix::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_an_image_that_names_no_tag_gets_one() {
        let naming = Naming { tag: Some(ImageTag::parse("7").unwrap()), ..Naming::default() };
        let digest = format!("reg.test/a@sha256:{}", "0".repeat(64));
        for (text, image) in
            [("reg.test/a", "reg.test/a:7"), ("reg.test/a:1", "reg.test/a:1"), (&digest, &digest)]
        {
            assert_eq!(naming.tagged(&text.parse().unwrap()).to_string(), image);
        }
        for text in ["", "a b", "-a", "a@b", "a:b", "a/b"] {
            assert!(ImageTag::parse(text).is_err(), "{text}");
        }
    }
}
