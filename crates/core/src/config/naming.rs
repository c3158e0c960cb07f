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
    /// The image that an option names: below the registry if it names none itself.
    pub fn completed(&self, text: &str) -> Result<String, Message> {
        let host = text.split_once('/').map(|(host, _)| host);
        if host.is_some_and(image::names_registry) {
            return Ok(text.to_owned());
        }
        match &self.registry {
            // What is wrong with the name is reported where it is read.
            Some(registry) => {
                Ok(registry.image(text).map_or_else(|| text.to_owned(), |image| image.to_string()))
            }
            None if host.is_none() && text.parse::<ImageRef>().is_ok() => {
                let shown = crate::report::shown(text);
                let message = format!("`{shown}` names no registry to push to");
                let hint =
                    format!("write REGISTRY/{shown}, or set --registry HOST/PATH (or BAKERY_REGISTRY)");
                Err(Message::new(message).with_hint(hint))
            }
            None => Ok(text.to_owned()),
        }
    }

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
    pub fn image(&self, name: &str) -> Option<ImageRef> {
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
    fn an_image_of_an_option_is_below_the_registry_unless_it_names_one() {
        let with = |registry: Option<&str>, text| {
            let registry = registry.map(|text| ImagePrefix::parse(text).unwrap());
            Naming { registry, ..Naming::default() }.completed(text)
        };
        for (text, below, alone) in [
            ("app:1", "reg.test/team/app:1", None),
            ("shop/app", "reg.test/team/shop/app", Some("shop/app")),
            ("localhost:5000/app", "localhost:5000/app", Some("localhost:5000/app")),
            ("docker.io/shop/app", "docker.io/shop/app", Some("docker.io/shop/app")),
            ("UPPER", "UPPER", Some("UPPER")),
        ] {
            assert_eq!(with(Some("reg.test/team"), text).unwrap(), below);
            assert_eq!(with(None, text).ok().as_deref(), alone);
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
