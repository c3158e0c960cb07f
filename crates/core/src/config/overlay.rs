//! The law by which layers lie upon one another: the upper one wins, maps unite key by key, sections descend, lists
//! and credentials are replaced whole, an explicit empty value clears.
//!
//! An empty layer changes nothing, and it does not matter which neighbours are laid together first.

use crate::config::layer::{CacheLayer, KanikoLayer, Key, MapLayer, TaskLayer};

impl TaskLayer {
    /// `upper` upon this layer.
    pub fn under(self, upper: Self) -> Self {
        Self {
            platform: over(self.platform, upper.platform),
            arch: over(self.arch, upper.arch),
            cpu_millis: over(self.cpu_millis, upper.cpu_millis),
            memory_mib: over(self.memory_mib, upper.memory_mib),
            env: unite(self.env, upper.env),
            pre_script: over(self.pre_script, upper.pre_script),
            post_script: over(self.post_script, upper.post_script),
            credentials: over(self.credentials, upper.credentials),
            kaniko: kaniko(self.kaniko, upper.kaniko),
        }
    }
}

fn kaniko(lower: KanikoLayer, upper: KanikoLayer) -> KanikoLayer {
    KanikoLayer {
        context_path: over(lower.context_path, upper.context_path),
        dockerfile: over(lower.dockerfile, upper.dockerfile),
        destination: over(lower.destination, upper.destination),
        build_args: unite(lower.build_args, upper.build_args),
        cache: cache(lower.cache, upper.cache),
        snapshot_mode: over(lower.snapshot_mode, upper.snapshot_mode),
        use_new_run: over(lower.use_new_run, upper.use_new_run),
        cleanup: over(lower.cleanup, upper.cleanup),
        no_push: over(lower.no_push, upper.no_push),
        custom_platform: over(lower.custom_platform, upper.custom_platform),
        ignore_path: over(lower.ignore_path, upper.ignore_path),
        extra_flags: over(lower.extra_flags, upper.extra_flags),
    }
}

fn cache(lower: CacheLayer, upper: CacheLayer) -> CacheLayer {
    CacheLayer {
        enable: over(lower.enable, upper.enable),
        repo: over(lower.repo, upper.repo),
        ttl_seconds: over(lower.ttl_seconds, upper.ttl_seconds),
        copy_layers: over(lower.copy_layers, upper.copy_layers),
        run_layers: over(lower.run_layers, upper.run_layers),
        compressed: over(lower.compressed, upper.compressed),
    }
}

fn over<T>(lower: Key<T>, upper: Key<T>) -> Key<T> {
    upper.or(lower)
}

fn unite<V>(lower: MapLayer<V>, upper: MapLayer<V>) -> MapLayer<V> {
    if upper.cleared {
        return upper;
    }
    let mut united = lower;
    united.entries.extend(upper.entries);
    united
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::layer::{Given, Held};
    use crate::names::Arch;
    use crate::report::Place;
    use crate::secret::Secret;

    fn key<T: Clone + std::fmt::Debug + 'static>(
        value: impl Strategy<Value = T> + 'static,
    ) -> impl Strategy<Value = Key<T>> {
        let held = prop_oneof![value.prop_map(Held::Set), Just(Held::Cleared), Just(Held::Bad)];
        let place = (1_usize..9).prop_map(|line| Place { line, ..Place::file("f") });
        prop::option::of((held, place).prop_map(|(value, place)| Given { value, place }))
    }

    fn map() -> impl Strategy<Value = MapLayer<String>> {
        let entries = prop::collection::btree_map("[AB]", "[xy]".prop_map(|v| (v, Place::default())), 0..3);
        (any::<bool>(), entries).prop_map(|(cleared, entries)| MapLayer { cleared, entries })
    }

    prop_compose! {
        fn layer()(
            arch in key(prop_oneof![Just(Arch::Amd64), Just(Arch::Arm64)]),
            cpu_millis in key(1_u32..4),
            env in map(),
            build_args in map(),
            pre_script in key("[xy]"),
            ignore_path in key(prop::collection::vec("[xy]", 0..3)),
            enable in key(any::<bool>()),
            ttl_seconds in key(0_u64..3),
        ) -> TaskLayer {
            let secret = |(name, (text, place))| (name, (Secret::new(text), place));
            TaskLayer {
                arch,
                cpu_millis,
                pre_script,
                env: MapLayer {
                    cleared: env.cleared,
                    entries: env.entries.into_iter().map(secret).collect(),
                },
                kaniko: KanikoLayer {
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
        fn neighbours_may_be_laid_together_first(a in layer(), b in layer(), c in layer()) {
            let left = a.clone().under(b.clone()).under(c.clone());
            prop_assert_eq!(left, a.under(b.under(c)));
        }

        #[test]
        fn what_the_upper_layer_says_holds(a in layer(), b in layer()) {
            let both = a.under(b.clone());
            if b.arch.is_some() {
                prop_assert_eq!(&both.arch, &b.arch);
            }
            for (name, value) in &b.env.entries {
                prop_assert_eq!(both.env.entries.get(name), Some(value));
            }
        }
    }
}
