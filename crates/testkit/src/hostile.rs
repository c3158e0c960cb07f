//! `RUN` steps that try what they must not, the same on every platform.

use anyhow::{Result, ensure};

/// Prints the capabilities of a `RUN` step, tries to open a raw socket, and tries to end the agent.
pub const STEPS: &str = "RUN grep -E '^Cap(Eff|Bnd)' /proc/self/status; \
     arping -c 1 -w 1 -I eth0 127.0.0.1 2>&1; true\n\
     RUN for signal in TERM INT HUP USR1 USR2 CHLD PIPE ALRM QUIT TERM INT; do kill -$signal 1; done; \
     sleep 1; echo it is alive";

/// Checks what [`STEPS`] have printed.
pub fn check(out: &str) -> Result<()> {
    for cap in ["CapEff", "CapBnd"] {
        ensure!(out.contains(&format!("{cap}:\t00000000800000fb")), "{cap}: {out}");
    }
    ensure!(out.contains("AF_PACKET") && out.contains("not permitted"), "{out}");
    ensure!(out.lines().any(|line| line.trim_end().ends_with("it is alive")), "{out}");
    let said = out.matches("from a process of this container ignored").count();
    ensure!(said == 1, "{said} times: {out}");
    Ok(())
}
