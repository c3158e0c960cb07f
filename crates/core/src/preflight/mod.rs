//! What is wrong with a Dockerfile, and what the executor would do with it that Docker would not, before anything is built.
//!
//! [`ALL`] is the one table of what the executor does with each construct. [`check`] finds the constructs of a Dockerfile
//! that differ, in the stages that the target needs; a value that only the base image knows is never guessed.

mod allow;
mod excerpt;
mod finding;
mod hidden;
mod options;
mod rules;
mod severity;
mod table;

pub use allow::code_list;
pub use finding::{DockerfileFinding, document};
pub use severity::Severity;
pub use table::{ALL, Construct, Treatment};

use std::collections::{BTreeMap, BTreeSet};

use crate::dockerfile::{BuildInput, Dockerfile};
use crate::mask::Mask;
use crate::names::Arch;
use crate::secret::Secret;
use crate::spec::KanikoSpec;

use options::ExecutorOptions;
use rules::Inspection;

/// What a Dockerfile is checked for.
#[derive(Debug, Clone, Copy)]
pub struct PreflightInput<'a> {
    /// The architecture of the task.
    pub arch: Arch,
    /// The settings of the executor.
    pub kaniko: &'a KanikoSpec,
    /// The variables that the executor sees.
    pub env: &'a BTreeMap<String, Secret>,
    /// The codes that are let pass, besides those that the Dockerfile names itself.
    pub allowed: &'a BTreeSet<&'static str>,
    /// The secrets that are not shown.
    pub mask: &'a Mask,
}

/// Everything that is found, from top to bottom; what concerns options comes first.
pub fn check(file: &Dockerfile, input: &PreflightInput<'_>) -> Vec<DockerfileFinding> {
    let options = ExecutorOptions::of(input);
    let build = BuildInput {
        args: &options.build_args,
        target: options.target.as_deref(),
        target_platform: &options.target_platform,
        build_platform: &options.build_platform,
        images: &BTreeMap::new(),
    };
    let evaluation = file.evaluate(&build);
    let (mut allowed, mut found) = (input.allowed.clone(), Vec::new());
    allowed.extend(allow::of_comments(file, input.mask, &mut found));
    found.retain(|finding| !allowed.contains(finding.code));
    let mut inspection = Inspection::new(file, &evaluation, &options, input.mask, allowed);
    inspection.all();
    found.extend(inspection.into_findings());
    found.sort_by_key(|finding| (finding.line, finding.column));
    found
}

#[cfg(test)]
mod tests;
