//! What the executor does with each construct of a Dockerfile, and what Bakery does about it.

pub(super) mod exact;
pub(super) mod files;
pub(super) mod flags;
pub(super) mod general;
pub(super) mod run;

use super::severity::Severity;

/// What Bakery does about a construct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// Nothing: the image is Docker's.
    Exact,
    /// It is exact with this variable in `env`, and refused without it.
    Flag(&'static str),
    /// A warning.
    Said,
    /// An error: nothing is built.
    Refused,
}

/// A construct, as the executor v1.27.5 treats it.
#[derive(Debug, Clone, Copy)]
pub struct Construct {
    /// `BK201`; `None` if there is nothing to say.
    pub code: Option<&'static str>,
    /// How it is written.
    pub written: &'static str,
    /// What Docker does.
    pub docker: &'static str,
    /// What the executor does.
    pub kaniko: &'static str,
    /// What Bakery does.
    pub treatment: Treatment,
    /// What a finding says; `{}` is the part of the Dockerfile that it is about.
    pub text: &'static str,
    /// What to do instead.
    pub hint: &'static str,
    /// A Dockerfile with it and nothing else to say.
    pub example: &'static str,
    /// The executor's flags that belong to the example.
    pub flags: &'static [&'static str],
}

impl Construct {
    /// How serious it is.
    pub fn severity(&self) -> Severity {
        match self.treatment {
            Treatment::Said | Treatment::Exact => Severity::Warning,
            Treatment::Refused | Treatment::Flag(_) => Severity::Error,
        }
    }
}

/// Every construct, in the order of the page.
pub const ALL: [&[Construct]; 5] = [&general::ALL, &run::ALL, &files::ALL, &flags::ALL, &exact::ALL];

/// All codes.
pub(super) fn codes() -> impl Iterator<Item = &'static str> {
    ALL.into_iter().flatten().filter_map(|construct| construct.code)
}
