//! Names that are checked once, when they are parsed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use ulid::Ulid;

/// A text that is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not {expected}")]
pub struct BadName {
    /// The text as it was given.
    pub text: String,
    /// What was expected, as a noun phrase.
    pub expected: &'static str,
}

fn bad(text: &str, expected: &'static str) -> BadName {
    BadName { text: text.to_owned(), expected }
}

/// Serialises a name as its text, and checks it when it is deserialised.
macro_rules! as_text {
    ($name:ty) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// One build: a ULID in lower case, so that names sort by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BuildId(Ulid);

impl BuildId {
    /// Makes an id from a time (milliseconds since the Unix epoch) and 80 random bits; higher bits are dropped.
    pub fn new(millis: u64, random: u128) -> Self {
        Self(Ulid::from_parts(millis, random))
    }

    /// The time that it was made from, in milliseconds since the Unix epoch.
    pub fn millis(self) -> u64 {
        self.0.timestamp_ms()
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_string().to_ascii_lowercase())
    }
}

impl FromStr for BuildId {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        let expected = "a build id (26 letters and digits, as the client prints it)";
        Ulid::from_string(text).map(Self).map_err(|_| bad(text, expected))
    }
}
as_text!(BuildId);

/// One task: a build and the task's index in its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId {
    /// The build that the task belongs to.
    pub build: BuildId,
    /// The task's index in the build's plan, from 0.
    pub index: u16,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.build, self.index)
    }
}

/// One attempt at one task: `bk-<ulid>-<task>-<attempt>`.
///
/// It is a Kubernetes Job's name, a container's name and an ECS client token at once, hence `[a-z0-9-]` and at most
/// 40 characters. Attempts count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunName {
    /// The task that is attempted.
    pub task: TaskId,
    /// Which attempt this is, from 1.
    pub attempt: u8,
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bk-{}-{}", self.task, self.attempt)
    }
}

impl FromStr for RunName {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        let err = || bad(text, "a run name (bk-BUILD-TASK-ATTEMPT)");
        let rest = text.strip_prefix("bk-").ok_or_else(err)?;
        let mut parts = rest.split('-');
        let (Some(build), Some(index), Some(attempt), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(err());
        };
        let run = Self {
            task: TaskId {
                build: build.parse().map_err(|_| err())?,
                index: index.parse().map_err(|_| err())?,
            },
            attempt: attempt.parse().map_err(|_| err())?,
        };
        // One spelling per name: `+1`, `01` and an upper-case build would be second names for the same run.
        if run.to_string() == text && run.attempt > 0 { Ok(run) } else { Err(err()) }
    }
}
as_text!(RunName);

/// An architecture that images are built for, named as in the OCI image specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// `AArch64`.
    Arm64,
}

impl Arch {
    /// Every architecture, in the order that lists are printed in.
    pub const ALL: [Self; 2] = [Self::Amd64, Self::Arm64];

    /// Its name: `amd64`, `arm64`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Arch {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::ALL.into_iter().find(|arch| arch.as_str() == text).ok_or_else(|| bad(text, "amd64 or arm64"))
    }
}

/// Where a task can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// AWS ECS on Fargate.
    Ecs,
    /// Kubernetes.
    K8s,
    /// A Docker engine (or Podman's Docker API).
    Docker,
}

impl Platform {
    /// Every platform, in the order that lists are printed in.
    pub const ALL: [Self; 3] = [Self::Ecs, Self::K8s, Self::Docker];

    /// Its name in config files: `ecs`, `k8s`, `docker`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ecs => "ecs",
            Self::K8s => "k8s",
            Self::Docker => "docker",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Platform {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::ALL
            .into_iter()
            .find(|platform| platform.as_str() == text)
            .ok_or_else(|| bad(text, "ecs, k8s or docker"))
    }
}

/// A Compose service's name, or the name of a group of config entries: 1 to 128 of `[A-Za-z0-9._-]`, the first one a
/// letter or a digit (the Compose specification's rule, with a bound).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(String);

impl ServiceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ServiceName {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let first = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if first && text.len() <= 128 && text.chars().all(legal) {
            Ok(Self(text.to_owned()))
        } else {
            Err(bad(text, "a service name (letters, digits, `.`, `_`, `-`; a letter or digit first)"))
        }
    }
}
as_text!(ServiceName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_name_survives_its_text_and_fits_every_platform() {
        let run = RunName {
            task: TaskId { build: BuildId::new(1_763_800_000_000, u128::MAX), index: 511 },
            attempt: 2,
        };
        let text = run.to_string();
        assert!(text.len() <= 40, "{text}");
        assert!(text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
        assert_eq!(text.parse(), Ok(run));
    }

    #[test]
    fn one_run_has_one_spelling() {
        let text = RunName { task: TaskId { build: BuildId::new(1, 1), index: 0 }, attempt: 1 }.to_string();
        for wrong in
            [text.to_uppercase(), format!("{text}-1"), text.replace("-0-1", "-00-1"), "bk--0-1".into()]
        {
            assert!(wrong.parse::<RunName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn service_names_follow_compose() {
        assert!("web.app_1-x".parse::<ServiceName>().is_ok());
        for wrong in ["", "-x", "a b", "a/b", "ü"] {
            assert!(wrong.parse::<ServiceName>().is_err(), "{wrong}");
        }
    }
}
