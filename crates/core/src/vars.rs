//! Environments as parameters: this crate never reads the environment of its process.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// An environment: process variables, a `.env` file, or a test's map.
pub trait Vars {
    /// The value of `name` exactly as given; an empty value is a value here.
    fn get(&self, name: &str) -> Option<String>;

    /// Called when the default `text` replaces the missing value of `name`: it may be as secret as the value.
    fn defaulted(&self, _name: &str, _text: &str) {}

    /// The value of one of Bakery's own settings: there an empty value counts as unset.
    fn setting(&self, name: &str) -> Option<String> {
        self.get(name).filter(|value| !value.is_empty())
    }
}

impl Vars for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        BTreeMap::get(self, name).cloned()
    }
}

impl<V: Vars + ?Sized> Vars for &V {
    fn get(&self, name: &str) -> Option<String> {
        (**self).get(name)
    }

    fn defaulted(&self, name: &str, text: &str) {
        (**self).defaulted(name, text);
    }
}

/// The variables of a process, and the names of those whose values are not UTF-8. What has a name that is not UTF-8 is left
/// out: no program reads it.
pub fn from_os(
    vars: impl IntoIterator<Item = (OsString, OsString)>,
) -> (BTreeMap<String, String>, Vec<String>) {
    let (mut readable, mut unreadable) = (BTreeMap::new(), Vec::new());
    for (name, value) in vars {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => drop(readable.insert(name, value)),
            Err(_) => unreadable.push(name),
        }
    }
    (readable, unreadable)
}

/// `upper` if it has a name, else `lower`: the process environment over a `.env` file.
pub struct Layered<U, L> {
    /// Asked first.
    pub upper: U,
    /// Asked if `upper` does not have the name.
    pub lower: L,
}

impl<U: Vars, L: Vars> Vars for Layered<U, L> {
    fn get(&self, name: &str) -> Option<String> {
        self.upper.get(name).or_else(|| self.lower.get(name))
    }

    fn defaulted(&self, name: &str, text: &str) {
        self.upper.defaulted(name, text);
        self.lower.defaulted(name, text);
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.upper.setting(name).or_else(|| self.lower.setting(name))
    }
}

/// The declaration of one variable: each program has a table of these, and the reference page is generated from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VarDoc {
    /// The variable's name.
    pub name: &'static str,
    /// The default as the reference prints it (`none` if there is none).
    pub default: &'static str,
    /// One sentence: what it sets, and in which unit.
    pub meaning: &'static str,
    /// When it must be set; empty = optional.
    pub required: &'static str,
}
