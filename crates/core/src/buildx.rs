//! The values of buildx: what its options and `x-bake` have, and what is left of them for Kaniko.

mod cache;

use crate::message::Message;
use crate::names::Arch;

pub use cache::{CacheReader, CacheRepository, CacheText};

/// The variable with the platform of what names none.
pub const DEFAULT_PLATFORM: &str = "DOCKER_DEFAULT_PLATFORM";

/// A build secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretOption<'t> {
    /// The name that `RUN --mount=type=secret,id=...` has for it.
    pub id: &'t str,
    /// Where its value is.
    pub source: SecretPlace<'t>,
}

/// Where the value of a build secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretPlace<'t> {
    /// In this variable.
    Variable(&'t str),
    /// In this file.
    File(&'t str),
    /// In the variable, or the file, with the name of the secret.
    OfId,
}

/// How a secret is written.
const SECRET_FORM: &str = "id=ID,env=NAME or id=ID,src=FILE";

impl<'t> SecretOption<'t> {
    /// Parses `id=npm,src=./npmrc`, `id=npm,env=NPM_TOKEN` or `id=NPM_TOKEN`. The error does not hold the text, which may
    /// be the secret itself.
    pub fn parse(text: &'t str) -> Result<Self, Message> {
        let wrong = || Message::new("not a secret of buildx").with_hint(SECRET_FORM);
        let (mut id, mut source, mut env, mut kind) = (None, None, None, None);
        for part in text.split(',') {
            match part.split_once('=') {
                Some(("id", value)) => id = Some(value),
                Some(("src" | "source", value)) => source = Some(value),
                Some(("env", value)) => env = Some(value),
                Some(("type", value @ ("env" | "file"))) => kind = Some(value),
                _ => return Err(wrong()),
            }
        }
        let id = id.ok_or_else(|| Message::new("`id` is missing").with_hint(SECRET_FORM))?;
        let variable = env.or(source.filter(|_| kind == Some("env")));
        let source = match (variable, source) {
            (Some(name), _) => SecretPlace::Variable(name),
            (None, Some(path)) => SecretPlace::File(path),
            (None, None) => SecretPlace::OfId,
        };
        Ok(Self { id, source })
    }
}

/// `linux/arm64`, also with a variant, or the architecture alone: the architecture, and the variant's full name if there is
/// one. The error is what was expected, as a noun phrase.
pub fn platform(text: &str) -> Result<(Arch, Option<String>), String> {
    let expected = || "a supported platform (linux/amd64, linux/arm64)".to_owned();
    let text = text.to_ascii_lowercase();
    let with_os = text.strip_prefix("linux/");
    let mut parts = with_os.unwrap_or(&text).split('/');
    let (arch, variant) = (parts.next(), parts.next());
    // Of two parts, the first is the operating system.
    if with_os.is_none() && variant.is_some() {
        return Err(expected());
    }
    let arch = match (arch, parts.next()) {
        (Some("amd64" | "x86_64"), None) => Arch::Amd64,
        (Some("arm64" | "aarch64"), None) => Arch::Arm64,
        _ => return Err(expected()),
    };
    // These are what the architecture is without a variant.
    if matches!((arch, variant), (_, None) | (Arch::Amd64, Some("v1")) | (Arch::Arm64, Some("v8"))) {
        return Ok((arch, None));
    }
    let version = variant.and_then(|variant| variant.strip_prefix('v')).unwrap_or_default();
    if version.is_empty() || !version.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(expected());
    }
    Ok((arch, Some(format!("linux/{}/v{version}", arch.as_str()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_variable_a_file_or_what_has_its_name() {
        use SecretPlace::{File, OfId, Variable};
        for (text, id, source) in [
            ("id=npm,env=NPM_TOKEN", "npm", Variable("NPM_TOKEN")),
            ("type=env,id=npm,src=NPM_TOKEN", "npm", Variable("NPM_TOKEN")),
            ("id=npm,src=a=b", "npm", File("a=b")),
            ("type=file,source=/etc/npmrc,id=npm", "npm", File("/etc/npmrc")),
            ("id=npm", "npm", OfId),
        ] {
            assert_eq!(SecretOption::parse(text), Ok(SecretOption { id, source }), "{text}");
        }
        for text in ["", "hunter2", "npm=hunter2", "env=NPM_TOKEN", "id=npm,type=ssh"] {
            let wrong = SecretOption::parse(text).unwrap_err();
            assert!(!wrong.rendered().contains("hunter2"), "{text}");
        }
    }
}
