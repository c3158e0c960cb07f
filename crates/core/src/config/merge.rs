//! How layers are merged: the upper value wins, maps are merged key by key, sections recursively, lists and credentials
//! are replaced as a whole, an explicit empty value clears.
//!
//! An empty layer changes nothing, and merging is associative.

use crate::config::layer::{CacheLayer, KanikoLayer, MapLayer, TaskLayer};

impl TaskLayer {
    /// This layer with `upper` merged over it.
    pub fn under(self, upper: Self) -> Self {
        Self {
            platform: self.platform.under(upper.platform),
            arch: self.arch.under(upper.arch),
            cpu_millis: self.cpu_millis.under(upper.cpu_millis),
            memory_mib: self.memory_mib.under(upper.memory_mib),
            disk_mib: self.disk_mib.under(upper.disk_mib),
            timeout_seconds: self.timeout_seconds.under(upper.timeout_seconds),
            env: merge(self.env, upper.env),
            pre_script: self.pre_script.under(upper.pre_script),
            post_script: self.post_script.under(upper.post_script),
            credentials: self.credentials.under(upper.credentials),
            registry: self.registry.under(upper.registry),
            context_git: self.context_git.under(upper.context_git),
            kaniko: kaniko(self.kaniko, upper.kaniko),
        }
    }
}

fn kaniko(lower: KanikoLayer, upper: KanikoLayer) -> KanikoLayer {
    KanikoLayer {
        context_path: lower.context_path.under(upper.context_path),
        dockerfile: lower.dockerfile.under(upper.dockerfile),
        dockerfile_inline: lower.dockerfile_inline.under(upper.dockerfile_inline),
        destination: lower.destination.under(upper.destination),
        tags: lower.tags.under(upper.tags),
        build_args: merge(lower.build_args, upper.build_args),
        cache: cache(lower.cache, upper.cache),
        snapshot_mode: lower.snapshot_mode.under(upper.snapshot_mode),
        use_new_run: lower.use_new_run.under(upper.use_new_run),
        cleanup: lower.cleanup.under(upper.cleanup),
        no_push: lower.no_push.under(upper.no_push),
        custom_platform: lower.custom_platform.under(upper.custom_platform),
        dir: lower.dir.under(upper.dir),
        ignore_path: lower.ignore_path.under(upper.ignore_path),
        target: lower.target.under(upper.target),
        labels: merge(lower.labels, upper.labels),
        annotations: merge(lower.annotations, upper.annotations),
        registry_mirrors: lower.registry_mirrors.under(upper.registry_mirrors),
        registry_map: merge(lower.registry_map, upper.registry_map),
        certificates: merge(lower.certificates, upper.certificates),
        compression: lower.compression.under(upper.compression),
        reproducible: lower.reproducible.under(upper.reproducible),
        single_snapshot: lower.single_snapshot.under(upper.single_snapshot),
        secrets: lower.secrets.under(upper.secrets),
        push_retry: lower.push_retry.under(upper.push_retry),
        extra_flags: lower.extra_flags.under(upper.extra_flags),
        env: merge(lower.env, upper.env),
    }
}

fn cache(lower: CacheLayer, upper: CacheLayer) -> CacheLayer {
    CacheLayer {
        enable: lower.enable.under(upper.enable),
        repo: lower.repo.under(upper.repo),
        ttl_seconds: lower.ttl_seconds.under(upper.ttl_seconds),
        copy_layers: lower.copy_layers.under(upper.copy_layers),
        run_layers: lower.run_layers.under(upper.run_layers),
        compressed: lower.compressed.under(upper.compressed),
    }
}

fn merge<V>(lower: MapLayer<V>, upper: MapLayer<V>) -> MapLayer<V> {
    if upper.cleared {
        return upper;
    }
    let mut merged = lower;
    merged.entries.extend(upper.entries);
    merged
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::layer::{Held, Key};
    use crate::names::Arch;
    use crate::report::Location;
    use crate::secret::Secret;

    fn key<T: Clone + std::fmt::Debug + 'static>(
        value: impl Strategy<Value = T> + 'static,
    ) -> impl Strategy<Value = Key<T>> {
        let held = prop_oneof![value.prop_map(Held::Set), Just(Held::Cleared), Just(Held::Bad)];
        let location = (1_usize..9).prop_map(|line| Location { line, ..Location::file("f") });
        prop::option::of((held, location))
            .prop_map(|key| key.map(|(held, location)| Key::new(held, location)).unwrap_or_default())
    }

    fn map() -> impl Strategy<Value = MapLayer<String>> {
        let entries =
            prop::collection::btree_map("[AB]", "[xy]".prop_map(|v| (v, Location::default())), 0..3);
        (any::<bool>(), entries).prop_map(|(cleared, entries)| MapLayer { cleared, entries })
    }

    prop_compose! {
        fn layer()(
            arch in key(prop_oneof![Just(Arch::Amd64), Just(Arch::Arm64)]),
            cpu_millis in key(1_u32..4),
            env in map(),
            kaniko_env in map(),
            build_args in map(),
            pre_script in key("[xy]"),
            ignore_path in key(prop::collection::vec("[xy]", 0..3)),
            enable in key(any::<bool>()),
            ttl_seconds in key(0_u64..3),
        ) -> TaskLayer {
            let secret = |(name, (text, location))| (name, (Secret::new(text), location));
            let secrets = |map: MapLayer<String>| MapLayer {
                cleared: map.cleared,
                entries: map.entries.into_iter().map(secret).collect(),
            };
            TaskLayer {
                arch,
                cpu_millis,
                pre_script,
                env: secrets(env),
                kaniko: KanikoLayer {
                    env: secrets(kaniko_env),
                    build_args,
                    ignore_path,
                    cache: CacheLayer { enable, ttl_seconds, ..CacheLayer::default() },
                    ..KanikoLayer::default()
                },
                ..TaskLayer::default()
            }
        }
    }

    proptest! {
        #[test]
        fn an_empty_layer_changes_nothing(a in layer()) {
            prop_assert_eq!(&a.clone().under(TaskLayer::default()), &a);
            prop_assert_eq!(&TaskLayer::default().under(a.clone()), &a);
        }

        #[test]
        fn merging_is_associative(a in layer(), b in layer(), c in layer()) {
            let left = a.clone().under(b.clone()).under(c.clone());
            prop_assert_eq!(left, a.under(b.under(c)));
        }

        #[test]
        fn the_upper_layer_wins(a in layer(), b in layer()) {
            let both = a.under(b.clone());
            if b.arch.location().is_some() {
                prop_assert_eq!(&both.arch, &b.arch);
            }
            for (name, value) in &b.env.entries {
                prop_assert_eq!(both.env.entries.get(name), Some(value));
            }
        }
    }
}
