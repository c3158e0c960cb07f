//! The capabilities of a task's container, for each of the ways in which platforms take them.

use bakery_core::capabilities::{OPTIONAL, REQUIRED};

/// What the operator allows beyond [`REQUIRED`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities(Vec<&'static str>);

impl Capabilities {
    /// `allowed`: some of [`OPTIONAL`].
    pub fn allowing(allowed: Vec<&'static str>) -> Self {
        Self(allowed)
    }

    /// What is added after all capabilities were dropped, in alphabetical order.
    pub(super) fn added(&self) -> Vec<String> {
        let mut all: Vec<String> = REQUIRED.iter().chain(&self.0).map(|name| (*name).to_owned()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What is dropped from an engine's default set, for platforms that cannot add.
    pub(super) fn dropped(&self) -> Vec<String> {
        OPTIONAL.iter().filter(|name| !self.0.contains(name)).map(|name| (*name).to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_to_none_and_dropping_from_the_default_set_give_the_same() {
        for allowed in [Vec::new(), vec!["NET_RAW"], OPTIONAL.to_vec()] {
            let capabilities = Capabilities::allowing(allowed);
            let dropped = capabilities.dropped();
            let mut kept: Vec<_> = REQUIRED.iter().chain(&OPTIONAL).map(|name| (*name).to_owned()).collect();
            kept.retain(|name| !dropped.contains(name));
            kept.sort_unstable();
            assert_eq!(capabilities.added(), kept);
        }
    }
}
