//! `RUN` steps that try what they must not, the same on every platform.

use anyhow::{Result, ensure};

use crate::client::JsonLine;

/// Prints the capabilities of a `RUN` step, tries to open a raw socket, and tries to end the agent.
pub const STEPS: &str = "RUN grep -E '^Cap(Eff|Bnd)' /proc/self/status; \
     arping -c 1 -w 1 -I eth0 127.0.0.1 2>&1; true\n\
     RUN for signal in TERM INT HUP USR1 USR2 CHLD PIPE ALRM QUIT TERM INT; do kill -$signal 1; done; \
     sleep 1; echo it is alive";

/// Checks what [`STEPS`] have printed.
pub fn check(lines: &[JsonLine]) -> Result<()> {
    let said = |text: &str| lines.iter().filter(|line| line.message.trim() == text).count();
    let out = || lines.iter().map(|line| line.message.as_str()).collect::<Vec<_>>().join("\n");
    for cap in ["CapEff", "CapBnd"] {
        ensure!(said(&format!("{cap}:\t00000000800000fb")) == 1, "{cap}: {}", out());
    }
    ensure!(said("arping: socket: Operation not permitted") == 1, "{}", out());
    ensure!(said("it is alive") == 1, "{}", out());
    let ignored = |line: &&JsonLine| line.message.contains("from a process of this container ignored");
    ensure!(lines.iter().filter(ignored).count() == 1, "{}", out());
    Ok(())
}
