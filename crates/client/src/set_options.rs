//! What options change in the files of a build, or in its one image: `--set`, and options of every task.

use bakery_core::change::Change;
use bakery_core::report::Mistake;

use crate::cli::BuildOptions;

/// The changes, in their order: a later one wins.
pub(crate) struct OptionChanges {
    /// Of every task, by the keys of a config file.
    tasks: Vec<Change>,
    /// Those of `--set`.
    set: Vec<Change>,
}

impl OptionChanges {
    /// Reads the options; adds the mistakes in them.
    pub(crate) fn of(options: &BuildOptions, mistakes: &mut Vec<Mistake>) -> Self {
        let keys = [
            ("--on", "platform", options.on.as_deref()),
            ("--cpu", "cpu", options.cpu.as_deref()),
            ("--memory", "memory", options.memory.as_deref()),
            ("--no-cache", "kaniko.cache.enable", options.no_cache.then_some("false")),
        ];
        let given = keys.iter().filter_map(|(option, key, value)| Some((option, key, (*value)?)));
        // An entry wins over `global`, and an option over both.
        let both = |(option, key, value): (&&str, &&str, &str)| {
            ["global", "*"].map(|part| Change::of_option(option, &format!("{part}.{key}"), value))
        };
        let tasks = given.flat_map(both).collect();
        let set = (1..).zip(&options.set).filter_map(|(nth, text)| {
            Change::parse(&format!("--set {nth}"), text).map_err(|mistake| mistakes.push(mistake)).ok()
        });
        Self { tasks, set: set.collect() }
    }

    /// Those of a config file; beside a Compose file, only `global` counts there.
    pub(crate) fn of_config(&self, is_base: bool) -> Vec<Change> {
        let set = self.set.iter().filter(|change| !is_base || change.is_of_global());
        self.tasks.iter().chain(set).cloned().collect()
    }

    /// Those of a Compose file.
    pub(crate) fn of_compose(&self) -> Vec<Change> {
        self.set.iter().filter(|change| !change.is_of_global()).cloned().collect()
    }
}
