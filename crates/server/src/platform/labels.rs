//! What everything carries that we make on a platform, and by which it is found again: the same names everywhere.

use bakery_core::names::RunName;

/// Marks everything that one installation has made.
pub(super) const INSTALLATION: &str = "bakery.installation";
/// The run.
pub(super) const RUN: &str = "bakery.run";
/// The build, for people who look.
const BUILD: &str = "bakery.build";

/// The labels of a run.
pub(super) fn of(installation: &str, run: RunName) -> [(&'static str, String); 3] {
    [(INSTALLATION, installation.to_owned()), (RUN, run.to_string()), (BUILD, run.task.build.to_string())]
}

/// The run of what carries these labels, where it is of this installation.
pub(super) fn run_of<'a>(
    installation: &str,
    label: impl Fn(&'static str) -> Option<&'a String>,
) -> Option<RunName> {
    label(RUN).filter(|_| label(INSTALLATION).is_some_and(|label| label == installation))?.parse().ok()
}

/// What selects everything of an installation.
pub(super) fn selector(installation: &str) -> String {
    format!("{INSTALLATION}={installation}")
}
