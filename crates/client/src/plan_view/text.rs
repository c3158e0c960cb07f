//! The plan as text.

use std::fmt;
use std::time::Duration;

use bakery_core::mask::MASK;
use bakery_core::terminal::escaped;
use bakery_core::units::{format_duration, format_mib};

use super::{PlanDocument, TaskPlan};

/// Shown for a value that the server decides.
const UNSET: &str = "server default";

impl fmt::Display for PlanDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, target) in self.targets.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "target {}", target.name)?;
            match &target.destination {
                None => write!(f, " (nothing is pushed)")?,
                Some(destination) if *destination == target.name => {}
                Some(destination) => write!(f, " -> {destination}")?,
            }
            writeln!(f, "{}", if target.index { " (index)" } else { "" })?;
            if !target.tags.is_empty() {
                writeln!(f, "  also as {}", target.tags.join(", "))?;
            }
            if !target.after.is_empty() {
                writeln!(f, "  after {}", target.after.join(", "))?;
            }
            for task in &target.tasks {
                write!(f, "{task}")?;
            }
        }
        if self.files.len() > 1 {
            writeln!(f, "\nRead from {}.", self.files.join(", "))?;
        }
        writeln!(f, "\nKaniko's arguments are those for {}.", self.executor)
    }
}

impl fmt::Display for TaskPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn or_unset<T: fmt::Display>(value: Option<T>) -> String {
            value.map_or_else(|| UNSET.to_owned(), |value| value.to_string())
        }
        writeln!(f, "  task {}", self.name)?;
        writeln!(f, "    platform     {}", or_unset(self.platform))?;
        writeln!(f, "    arch         {}", self.arch)?;
        writeln!(f, "    cpu          {}", or_unset(self.cpu_millis.map(cores)))?;
        writeln!(f, "    memory       {}", or_unset(self.memory_mib.map(|mib| format!("{mib} MiB"))))?;
        writeln!(f, "    disk         {}", or_unset(self.disk_mib.map(format_mib)))?;
        let timeout = self.timeout_seconds.map(|seconds| format_duration(Duration::from_secs(seconds)));
        writeln!(f, "    timeout      {}", or_unset(timeout))?;
        writeln!(f, "    pushes       {}", self.push_to.as_deref().unwrap_or("nothing"))?;
        for name in &self.also_push_to {
            writeln!(f, "                 {name}")?;
        }
        for login in &self.credentials {
            writeln!(
                f,
                "    login        {} as {}, password {MASK}",
                login.registry,
                escaped(&login.username)
            )?;
        }
        for (name, value) in &self.env {
            writeln!(f, "    env          {name}={}", escaped(value))?;
        }
        for (what, text) in [
            ("pre-script ", &self.pre_script),
            ("post-script", &self.post_script),
            ("dockerfile ", &self.dockerfile_inline),
        ] {
            for line in text.iter().flat_map(|text| text.lines()) {
                writeln!(f, "    {what}  {}", escaped(line))?;
            }
        }
        writeln!(f, "    {}", self.program)?;
        for arg in &self.argv {
            writeln!(f, "      {}", escaped(arg))?;
        }
        Ok(())
    }
}

fn cores(millis: u32) -> String {
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
