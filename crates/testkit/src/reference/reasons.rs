//! Every reason for which a build or task fails.

use std::fmt::Write as _;

use bakery_core::reason::{Fault, Reason};
use bakery_core::wire::json_name;

use super::{code, escaped, head};

pub(super) fn text() -> String {
    let about = "Why a build or a task failed, by the code that `bakery-client ps --json` shows as `reason`. The client's last lines have \
                 the same as text, with the hint. Exit codes are the client's: 1 where the build as described cannot succeed, 4 where Bakery \
                 or the platform failed it, 130 where this client asked for it. *Tried again* means one second attempt at the task, \
                 unless something has been pushed or a post-script has run. More, by symptom: \
                 [troubleshooting](../troubleshooting.md).";
    let mut text = head("Reasons", about);
    for reason in Reason::ALL {
        let (whose, exit) = match reason.fault() {
            // The server's `verdict_of_publish`: this registry has just taken the images.
            _ if *reason == Reason::RegistryUnreachable => {
                ("the build's, or Bakery's where an index is published", "1 for a task, 4 for an index")
            }
            Fault::Build => ("the build's", "1"),
            Fault::Platform => ("Bakery's or the platform's", "4"),
            Fault::Asked => ("nobody's: somebody asked", "130, or 1 where somebody else did"),
        };
        let again = if reason.retryable() { "yes" } else { "no" };
        let _ = write!(
            text,
            "\n## {}\n\n{}\n\n- Text: {}.\n- Fault: {whose}. Exit code: {exit}. Tried again: {again}.\n- To do: {}.\n",
            json_name(reason),
            escaped(reason.meaning()),
            code(reason.text()),
            escaped(reason.hint()),
        );
    }
    text
}
