//! Short names of tasks for display.

use std::collections::BTreeMap;

use bakery_core::names::{Arch, Platform};
use bakery_core::plan::BuildPlan;
use bakery_core::wire::build::BuildView;

/// The names of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Where it runs; `None` if that is not known yet.
    pub platform: Option<Platform>,
    /// The Compose service it belongs to.
    pub service: Option<String>,
    /// `shop/arm64`; only `arm64` if a config.yaml has one destination.
    pub task: String,
}

/// The names of a build's tasks by index.
pub type Labels = BTreeMap<u16, Label>;

/// The names for a build on a server.
pub fn of_view(view: &BuildView) -> Labels {
    let targets = view.targets.iter().map(|target| {
        let tasks = target.tasks.iter().map(|task| (task.index, task.arch, Some(task.platform)));
        (target.name.as_str(), tasks.collect())
    });
    of(targets.collect())
}

/// The names for a plan.
pub fn of_plan(plan: &BuildPlan) -> Labels {
    let targets = plan.targets.iter().map(|target| {
        let tasks = target.tasks.iter().map(|task| (task.index, task.spec.arch, task.spec.platform));
        (target.name.as_str(), tasks.collect())
    });
    of(targets.collect())
}

/// A target's name, and its tasks: index, architecture, platform.
type TargetTasks<'a> = (&'a str, Vec<(u16, Arch, Option<Platform>)>);

fn of(targets: Vec<TargetTasks<'_>>) -> Labels {
    let alone = targets.len() == 1;
    let mut labels = Labels::new();
    for (name, tasks) in targets {
        // The name of a config.yaml's target is its destination; a service's name has no slash.
        let service = (!name.contains('/') && name != "no-push").then(|| name.to_owned());
        let short = name.rsplit('/').next().unwrap_or(name);
        let mut seen = BTreeMap::new();
        for (index, arch, platform) in tasks {
            let nth = seen.entry(arch).and_modify(|n| *n += 1).or_insert(1);
            let nth = if *nth > 1 { format!("-{nth}") } else { String::new() };
            let task = if alone && service.is_none() {
                format!("{arch}{nth}")
            } else {
                format!("{short}/{arch}{nth}")
            };
            labels.insert(index, Label { platform, service: service.clone(), task });
        }
    }
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for label in labels.values() {
        *count.entry(label.task.clone()).or_default() += 1;
    }
    for (index, label) in &mut labels {
        if count.get(&label.task).is_some_and(|&n| n > 1) {
            label.task = format!("{}#{index}", label.task);
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(targets: &[(&str, &[Arch])]) -> Vec<String> {
        let mut index = 0;
        let targets = targets.iter().map(|(name, archs)| {
            let tasks = archs.iter().map(|&arch| {
                index += 1;
                (index - 1, arch, None)
            });
            (*name, tasks.collect())
        });
        of(targets.collect()).into_values().map(|label| label.task).collect()
    }

    #[test]
    fn names_are_short_and_unique() {
        use Arch::{Amd64, Arm64};
        assert_eq!(names(&[("r.test/a/cart:7", &[Amd64, Arm64, Amd64])]), ["amd64", "arm64", "amd64-2"]);
        assert_eq!(names(&[("shop", &[Amd64])]), ["shop/amd64"]);
        assert_eq!(names(&[("r.test/x:1", &[Amd64]), ("r.test/y:1", &[Amd64])]), ["x:1/amd64", "y:1/amd64"]);
        assert_eq!(
            names(&[("r.test/x:1", &[Amd64]), ("q.test/x:1", &[Amd64])]),
            ["x:1/amd64#0", "x:1/amd64#1"]
        );
    }
}
