//! Every bound.

use bakery_core::limits::{self, Bound};

use super::{code, head, table};

pub(super) fn text() -> String {
    let about = "The bounds on what Bakery accepts. They are part of the programs and cannot be set, except for these, \
                 which are the defaults of variables: `TASK_CPU_MILLIS` of `DEFAULT_BUILD_CPU`, `TASK_MEMORY_MIB` of \
                 `DEFAULT_BUILD_MEMORY`, `TASK_PROVISION` of `BUILD_PROVISION_TIMEOUT`, `TASK_TIME` of `BUILD_TASK_TIMEOUT` and \
                 `TASK_RESULT` of `BUILD_RESULT_TIMEOUT`. What can be set is in [variables.md](variables.md).";
    let mut text = head("Limits", about);
    let row = |(name, meaning, bound): (&str, &str, Bound)| {
        let bound = match bound {
            Bound::Count(count) if name.ends_with("_BYTES") => bytes(count),
            Bound::Count(count) => count.to_string(),
            Bound::Time(time) => format!("{time:?}"),
        };
        [code(name), bound, meaning.to_owned()]
    };
    let rows: Vec<_> = limits::all().into_iter().map(row).collect();
    table(&mut text, "", ["Name in the code", "Bound", "What it bounds"], &rows);
    text
}

fn bytes(count: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if count >= 1 << shift && count.trailing_zeros() >= shift {
            return format!("{} {unit}", count >> shift);
        }
    }
    format!("{count} bytes")
}
