//! Positions in a build's log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::names::BadName;

/// A position in a build's log: `epoch:seq`. The epoch goes up when a restart of the server cuts a torn tail, so that
/// two lines that were given the same number can be distinguished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// The log's epoch.
    pub epoch: u32,
    /// Number of the next line or frame wanted.
    pub seq: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.seq)
    }
}

impl FromStr for Cursor {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        let parse = || {
            let (epoch, seq) = text.split_once(':')?;
            Some(Self { epoch: epoch.parse().ok()?, seq: seq.parse().ok()? })
        };
        parse().ok_or_else(|| BadName { text: text.to_owned(), expected: "a cursor (epoch:seq)" })
    }
}

impl Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_text() {
        let cursor = Cursor { epoch: 3, seq: 99 };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        assert!("3".parse::<Cursor>().is_err());
    }
}
