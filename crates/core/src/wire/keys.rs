//! Keys of a spec that a server may be too old for.
//!
//! A field that a version adds to the spec is serialised only if it is set. A server without that field refuses the whole
//! spec, so a client first asks what the server supports ([`Info::keys`](crate::wire::build::Info)) and names the key.

use std::collections::BTreeSet;

use crate::spec::{BuildSpec, TaskSpec};

/// A key, and whether a task sets it.
type AddedKey = (&'static str, fn(&TaskSpec) -> bool);

/// The keys that were added after the first version of the spec. `kaniko.dir` is older than the list that servers return.
const ADDED: [AddedKey; 15] = [
    ("disk", |task| task.disk_mib.is_some()),
    ("timeout", |task| task.timeout_seconds.is_some()),
    ("kaniko.dockerfile-inline", |task| task.kaniko.dockerfile_inline.is_some()),
    ("kaniko.tags", |task| !task.kaniko.tags.is_empty()),
    ("kaniko.target", |task| task.kaniko.target.is_some()),
    ("kaniko.labels", |task| !task.kaniko.labels.is_empty()),
    ("kaniko.annotations", |task| !task.kaniko.annotations.is_empty()),
    ("kaniko.registry-mirrors", |task| !task.kaniko.registry_mirrors.is_empty()),
    ("kaniko.registry-map", |task| !task.kaniko.registry_map.is_empty()),
    ("kaniko.certificates", |task| !task.kaniko.certificates.is_empty()),
    ("kaniko.compression", |task| task.kaniko.compression.is_some()),
    ("kaniko.reproducible", |task| task.kaniko.reproducible),
    ("kaniko.single-snapshot", |task| task.kaniko.single_snapshot),
    ("kaniko.secrets", |task| !task.kaniko.secrets.is_empty()),
    ("kaniko.push-retry", |task| task.kaniko.push_retry.is_some()),
];

/// The keys that a spec sets and that not every server supports.
pub fn added(spec: &BuildSpec) -> BTreeSet<&'static str> {
    let tasks = || spec.services.iter().flat_map(|service| &service.tasks);
    ADDED.iter().filter(|(_, is_set)| tasks().any(is_set)).map(|(key, _)| *key).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::keys;
    use crate::names::Arch;
    use crate::spec::KanikoSpec;

    /// The fields that every version of the spec has, and `dir`.
    const FIRST: &str = "arch build_args cache cleanup context_path cpu_millis credentials custom_platform destination dir \
                         dockerfile env extra_flags ignore_path kaniko memory_mib no_push platform post_script pre_script \
                         snapshot_mode use_new_run";

    fn fields(value: &serde_json::Value) -> BTreeSet<String> {
        let of_task = value.as_object().unwrap();
        let of_kaniko = of_task["kaniko"].as_object().unwrap().keys().map(|name| format!("kaniko.{name}"));
        of_task.keys().cloned().chain(of_kaniko).collect()
    }

    fn full() -> TaskSpec {
        let map = || BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let kaniko = KanikoSpec {
            dockerfile_inline: Some("FROM scratch\n".to_owned()),
            dir: Some("/kaniko2".to_owned()),
            tags: vec!["reg.test/other".parse().unwrap()],
            target: Some("prod".to_owned()),
            labels: map(),
            annotations: map(),
            registry_mirrors: vec!["reg.test".to_owned()],
            registry_map: BTreeMap::from([("reg.test".to_owned(), vec!["b.test".to_owned()])]),
            certificates: map(),
            compression: Some(crate::spec::Compression::Zstd),
            reproducible: true,
            single_snapshot: true,
            secrets: BTreeMap::from([("a".to_owned(), "b".into())]),
            push_retry: Some(0),
            ..KanikoSpec::default()
        };
        TaskSpec { disk_mib: Some(1024), timeout_seconds: Some(60), ..TaskSpec::new(Arch::Amd64, kaniko) }
    }

    /// The key of a field, whose name may have a unit.
    fn key_of(field: &str) -> String {
        let name = ["_mib", "_seconds"].iter().find_map(|unit| field.strip_suffix(unit));
        name.unwrap_or(field).replace('_', "-")
    }

    #[test]
    fn a_spec_without_the_added_keys_has_the_fields_of_the_first_version() {
        let task = TaskSpec::new(Arch::Amd64, KanikoSpec::default());
        let text = serde_json::to_value(&task).unwrap();
        let fields = fields(&text);
        assert_eq!(serde_json::from_value::<TaskSpec>(text).unwrap(), task);
        let names: BTreeSet<_> = fields.iter().map(|field| field.trim_start_matches("kaniko.")).collect();
        let first: BTreeSet<_> = FIRST.split_whitespace().filter(|name| *name != "dir").collect();
        assert_eq!(names, first);
    }

    #[test]
    fn every_field_that_was_added_is_a_key_that_a_client_asks_for() {
        let task = full();
        let text = serde_json::to_value(&task).unwrap();
        assert_eq!(serde_json::from_value::<TaskSpec>(text.clone()).unwrap(), task);
        let is_added = |field: &String| {
            !FIRST.split_whitespace().any(|name| name == field.trim_start_matches("kaniko."))
        };
        let fields: BTreeSet<_> =
            fields(&text).into_iter().filter(is_added).map(|field| key_of(&field)).collect();
        let spec = BuildSpec {
            order: crate::spec::Order::Sequential,
            services: vec![crate::spec::ServiceSpec { name: None, tasks: vec![task] }],
        };
        let asked: BTreeSet<_> = added(&spec).into_iter().map(str::to_owned).collect();
        assert_eq!(asked, fields);
        let known = keys::paths();
        assert!(asked.iter().all(|key| known.contains(key)), "{asked:?}");
    }
}
