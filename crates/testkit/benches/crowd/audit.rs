//! The API server's audit log: a line of JSON for each request that was answered.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

/// Requests of one account, by resource and verb.
pub(crate) struct Calls(BTreeMap<(String, String), u32>);

/// The current end of the log.
pub(crate) fn position(log: &Path) -> Result<u64> {
    Ok(std::fs::metadata(log)?.len())
}

/// The requests of an account since then. A watch counts when it starts, since it may not have ended yet.
pub(crate) fn calls(log: &Path, since: u64, who: &str) -> Result<Calls> {
    let mut file = File::open(log)?;
    file.seek(SeekFrom::Start(since))?;
    let mut calls = BTreeMap::new();
    for line in BufReader::new(file).lines() {
        let event: Value = serde_json::from_str(&line?)?;
        let verb = event["verb"].as_str().unwrap_or_default();
        let stage = if verb == "watch" { "ResponseStarted" } else { "ResponseComplete" };
        if event["user"]["username"] == who && event["stage"] == stage {
            let resource = event["objectRef"]["resource"].as_str().unwrap_or("(none)");
            *calls.entry((resource.to_owned(), verb.to_owned())).or_default() += 1;
        }
    }
    Ok(Calls(calls))
}

impl Calls {
    /// A table for people, with the requests for each of `tasks`.
    pub(crate) fn table(&self, tasks: u32) -> String {
        let mut text = String::new();
        let each = |count: u32| f64::from(count) / f64::from(tasks);
        for ((resource, verb), count) in &self.0 {
            let _ = writeln!(
                text,
                "  {:<20} {count:>6}  {:>6.3} a task",
                format!("{verb} {resource}"),
                each(*count)
            );
        }
        let all = self.0.values().sum();
        let _ = writeln!(text, "  {:<20} {all:>6}  {:>6.3} a task", "all", each(all));
        text
    }
}
