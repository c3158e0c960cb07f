//! The mounts of RUN, after their variables are replaced.

use std::collections::BTreeSet;

use crate::dockerfile::expansion::Expansion;
use crate::dockerfile::mounts::{boolean, not_boolean};
use crate::dockerfile::problems::Wrong;
use crate::dockerfile::text::Span;
use crate::dockerfile::tree::{MountFlag, MountOption};
use crate::message::Message;
use crate::report::{did_you_mean, shown};

/// The options of a mount.
const OPTIONS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MountKind {
    /// Files of the context, of a stage or of an image.
    #[default]
    Bind,
    /// A folder that stays from build to build.
    Cache,
    /// A folder in memory.
    Tmpfs,
    /// A secret.
    Secret,
    /// A socket of an SSH agent.
    Ssh,
}

impl MountKind {
    const ALL: [(&str, Self); 5] = [
        ("bind", Self::Bind),
        ("cache", Self::Cache),
        ("tmpfs", Self::Tmpfs),
        ("secret", Self::Secret),
        ("ssh", Self::Ssh),
    ];

    /// Its name in a Dockerfile.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

/// A mount. What is not given has BuildKit's default, or is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunMount {
    /// The whole flag.
    pub span: Span,
    /// What is mounted.
    pub kind: MountKind,
    /// The stage or the image that it is taken from.
    pub from: String,
    /// The path there; of a secret, its id.
    pub source: String,
    /// The path in the container.
    pub target: String,
    /// The id of a cache, a secret or a socket.
    pub id: String,
    /// `shared`, `private` or `locked`; empty is `shared`.
    pub sharing: String,
    /// Whether nothing can be written.
    pub read_only: bool,
    /// Whether the build fails without the secret or the socket.
    pub required: bool,
    /// Bytes of a tmpfs; 0 is no limit.
    pub size: i64,
    /// The variable that has the secret.
    pub env: Option<String>,
    /// Permissions.
    pub mode: Option<u32>,
    /// The owner.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
    /// Variables that nobody knows. The options that have them are left out, and what is wrong is not all found.
    pub unknown: BTreeSet<String>,
}

/// Reads a mount; `expand` gives the value of an option. `None` if a value cannot be read, which is reported.
pub(super) fn run_mount(
    flag: &MountFlag,
    mut expand: impl FnMut(&MountOption) -> Option<Expansion>,
) -> Result<Option<RunMount>, Wrong> {
    let mut mount = RunMount { span: flag.span, ..RunMount::default() };
    let mut read_only = None;
    for option in &flag.options {
        let wrong = |message| (option.span.start, message);
        let key = option.key.as_str();
        let Some(written) = &option.value else {
            match key {
                "readonly" | "ro" => read_only = Some(true),
                "readwrite" | "rw" => read_only = Some(false),
                "required" => mount.required(true).map_err(wrong)?,
                _ => {
                    let text = format!("`{}` has no value", shown(key));
                    let hint = "options are `key=value`, separated by commas";
                    return Err(wrong(Message::new(text).with_hint(hint)));
                }
            }
            continue;
        };
        match expand(option) {
            Some(Expansion::Known(value)) => {
                if let Some(value) = mount.set(key, &value, &shown(&written.text)).map_err(wrong)? {
                    read_only = Some(value);
                }
            }
            Some(Expansion::Unknown(names)) if OPTIONS.contains(&key) => mount.unknown.extend(names),
            Some(_) => return Err(wrong(unknown_option(key))),
            None => return Ok(None),
        }
    }
    let usual = !matches!(mount.kind, MountKind::Cache | MountKind::Tmpfs);
    mount.read_only = read_only.unwrap_or(usual);
    if mount.unknown.is_empty() {
        mount.check().map_err(|message| (flag.span.start, message))?;
    }
    Ok(Some(mount))
}

impl RunMount {
    /// Sets an option; what it says about writing. Messages have the value as it is written: that of a variable may be a
    /// secret.
    fn set(&mut self, key: &str, value: &str, written: &str) -> Result<Option<bool>, Message> {
        match key {
            "type" => {
                let lower = value.to_lowercase();
                let kind = MountKind::ALL.iter().find(|(name, _)| *name == lower);
                let Some((_, kind)) = kind else {
                    let names = MountKind::ALL.map(|(name, _)| name);
                    let text = format!("`{written}` is not a type of mount");
                    return Err(Message::new(text).with_hint(did_you_mean(value, &names)));
                };
                self.kind = *kind;
            }
            "from" => value.clone_into(&mut self.from),
            "source" | "src" => value.clone_into(&mut self.source),
            "target" | "dst" | "destination" => value.clone_into(&mut self.target),
            "id" => value.clone_into(&mut self.id),
            "env" => self.env = Some(value.to_owned()),
            "readonly" | "ro" => return truth(key, value, written).map(Some),
            "readwrite" | "rw" => return truth(key, value, written).map(|value| Some(!value)),
            "required" => self.required(truth(key, value, written)?)?,
            "size" => {
                self.only(self.kind == MountKind::Tmpfs, key)?;
                self.size = bytes(value).ok_or_else(|| invalid(key, written, "a size, as `64m`"))?;
            }
            "sharing" => {
                self.sharing = value.to_lowercase();
                if !["shared", "private", "locked"].contains(&self.sharing.as_str()) {
                    return Err(invalid(key, written, "shared, private or locked"));
                }
            }
            "mode" => {
                let mode = digits(value).and_then(|value| u32::from_str_radix(value, 8).ok());
                self.mode = Some(mode.ok_or_else(|| invalid(key, written, "an octal number, as `0755`"))?);
            }
            "uid" | "gid" => {
                let id = digits(value).and_then(|value| value.parse().ok());
                let id = id.ok_or_else(|| invalid(key, written, "a number"))?;
                *(if key == "uid" { &mut self.uid } else { &mut self.gid }) = Some(id);
            }
            _ => return Err(unknown_option(key)),
        }
        Ok(None)
    }

    fn required(&mut self, value: bool) -> Result<(), Message> {
        self.only(matches!(self.kind, MountKind::Secret | MountKind::Ssh), "required")?;
        self.required = value;
        Ok(())
    }

    /// Some options are for some types only, which stand before them.
    fn only(&self, is_right: bool, key: &str) -> Result<(), Message> {
        if is_right {
            return Ok(());
        }
        let text = format!("`{key}` is not an option of `type={}`", self.kind.as_str());
        Err(Message::new(text).with_hint("the type stands before it, and is `bind` without it"))
    }

    fn check(&self) -> Result<(), Message> {
        let kind = self.kind.as_str();
        if matches!(self.kind, MountKind::Bind | MountKind::Tmpfs) {
            let given = [("mode", self.mode), ("uid", self.uid), ("gid", self.gid)];
            if let Some((key, _)) = given.iter().find(|(_, value)| value.is_some()) {
                return Err(Message::new(format!("`{key}` is not an option of `type={kind}`")));
            }
        }
        if self.kind == MountKind::Secret {
            if !self.from.is_empty() {
                return Err(Message::new("`from` is not an option of `type=secret`"));
            }
            if self.source.is_empty() && self.target.is_empty() && self.id.is_empty() {
                return Err(Message::new("the secret has no id").with_hint("write `type=secret,id=NAME`"));
            }
            if !self.source.is_empty() && !self.id.is_empty() {
                return Err(Message::new("`source` and `id` are both the secret's id").with_hint("keep `id`"));
            }
        }
        if !self.sharing.is_empty() && self.kind != MountKind::Cache {
            return Err(Message::new(format!("`sharing` is not an option of `type={kind}`")));
        }
        Ok(())
    }
}

fn unknown_option(key: &str) -> Message {
    let text = format!("`{}` is not an option of a mount", shown(key));
    Message::new(text).with_hint(did_you_mean(key, &OPTIONS))
}

fn truth(key: &str, value: &str, written: &str) -> Result<bool, Message> {
    boolean(value).ok_or_else(|| not_boolean(key, written))
}

fn invalid(key: &str, written: &str, expected: &str) -> Message {
    Message::new(format!("`{key}={written}` is not {expected}"))
}

/// A number without a sign.
fn digits(text: &str) -> Option<&str> {
    (!text.starts_with(['+', '-'])).then_some(text)
}

/// The bytes of a size: a number, and a unit of powers of 1024.
fn bytes(text: &str) -> Option<i64> {
    let at = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')?;
    let (number, unit) = text.split_at(at + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let number: f64 = number.parse().ok().filter(|number| *number >= 0.0)?;
    let unit = unit.to_lowercase();
    let mut factor = 1.0;
    if let Some(first) = unit.chars().next().filter(|first| *first != 'b') {
        let power = "kmgtp".find(first)?;
        for _ in 0..=power {
            factor *= 1024.0;
        }
        if !matches!(&unit[1..], "" | "b" | "ib") {
            return None;
        }
    } else if unit.len() > 1 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "the largest number stands for anything larger")]
    Some((number * factor) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_gos() {
        for (text, expected) in [
            ("1", Some(1)),
            ("10m", Some(10 << 20)),
            ("1.5GB", Some(3 << 29)),
            ("1 KiB", Some(1024)),
            ("7b", Some(7)),
            ("", None),
            ("m", None),
            ("1x", None),
            ("1bb", None),
            ("1kx", None),
            ("-1", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
