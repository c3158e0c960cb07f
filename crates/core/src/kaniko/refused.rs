//! Flags that an operator forbids.

use std::collections::BTreeSet;

use super::flag_names::{folded, name_of};
use super::keys;
use crate::message::Message;
use crate::spec::{KanikoSpec, TaskSpec};

/// Flags that Bakery itself sets for every build.
const NEEDED: [&str; 4] = ["context", "dockerfile", "destination", "digest-file"];

/// Variables with this prefix and a flag's name set the flag.
const VARIABLE: &str = "KANIKO_";

/// Flags that no build may set: neither as extra flags, nor by a key or a variable that sets the same flag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefusedFlags(BTreeSet<String>);

impl RefusedFlags {
    /// Adds a flag, with or without its dashes. The error is why it cannot be refused.
    pub fn add(&mut self, flag: &str) -> Result<(), Message> {
        let name = flag.trim_start_matches('-');
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            let hint = "give names of flags, for example insecure,skip-tls-verify";
            return Err(Message::new(format!("`{flag}` is not the name of a flag")).with_hint(hint));
        }
        if NEEDED.iter().any(|needed| folded(needed) == folded(name)) {
            let text = format!("`{flag}` cannot be refused: every build needs it");
            return Err(Message::new(text).with_hint("remove it"));
        }
        self.0.insert(folded(name));
        Ok(())
    }

    /// The refused flags that a task sets: the config key that sets each, and why it is refused.
    pub fn set_by(&self, task: &TaskSpec) -> Vec<(&'static str, Message)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let extra =
            task.kaniko.extra_flags.iter().filter_map(|flag| Some(("kaniko.extra-flags", name_of(flag)?)));
        let keys = others(&task.kaniko)
            .into_iter()
            .filter_map(|(key, flag, set)| set.then_some((key, flag)))
            .chain(keys::set(&task.kaniko))
            .map(|(key, flag)| (key, flag.to_owned()));
        let variables =
            task.env.keys().filter_map(|name| Some(("env", name.strip_prefix(VARIABLE)?.to_owned())));
        let mut found: Vec<(&'static str, Message)> = extra
            .chain(keys)
            .chain(variables)
            .filter(|(_, flag)| self.0.contains(&folded(flag)))
            .map(|(key, flag)| (key, refusal(key, &flag)))
            .collect();
        found.dedup();
        found
    }
}

fn refusal(key: &str, flag: &str) -> Message {
    let text = match key {
        "kaniko.extra-flags" => format!("the flag `--{flag}` is refused by this server's operator"),
        "env" => {
            format!("the variable `{VARIABLE}{flag}` sets a flag that is refused by this server's operator")
        }
        _ => format!("this key sets the flag `--{flag}`, which is refused by this server's operator"),
    };
    Message::new(text).with_hint("remove it, or ask the operator (REFUSED_KANIKO_FLAGS)")
}

/// The keys that set a flag and are not in the table of [`keys`], because their values depend on others: the key, the flag,
/// and whether it is set.
fn others(kaniko: &KanikoSpec) -> [(&'static str, &'static str, bool); 9] {
    let cache = &kaniko.cache;
    let cached = |set: bool| cache.enable && set;
    [
        ("kaniko.cache.enable", "cache", cache.enable),
        ("kaniko.cache.repo", "cache-repo", cached(cache.repo.is_some())),
        ("kaniko.cache.ttl", "cache-ttl", cached(cache.ttl_seconds.is_some())),
        ("kaniko.cache.copy-layers", "cache-copy-layers", cached(cache.copy_layers.is_some())),
        ("kaniko.cache.run-layers", "cache-run-layers", cached(cache.run_layers.is_some())),
        ("kaniko.cache.compressed", "compressed-caching", cached(cache.compressed.is_some())),
        ("kaniko.no-push", "no-push", kaniko.no_push),
        ("kaniko.custom-platform", "custom-platform", kaniko.custom_platform.is_some()),
        ("kaniko.dir", "kaniko-dir", kaniko.dir.is_some()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Arch;

    fn refused(flags: &[&str], change: impl FnOnce(&mut TaskSpec)) -> Vec<(&'static str, String)> {
        let mut refused = RefusedFlags::default();
        for flag in flags {
            refused.add(flag).unwrap();
        }
        let mut task = task();
        change(&mut task);
        refused.set_by(&task).into_iter().map(|(key, message)| (key, message.text)).collect()
    }

    fn task() -> TaskSpec {
        let spec = "bake:\n  - arch: amd64\n    kaniko:\n      destination: reg.test/a:1\n";
        let file = crate::config::read("config.yaml", spec).unwrap();
        let resolved =
            file.resolve(crate::spec::Order::default(), &crate::config::Naming::default()).unwrap();
        let task = resolved.spec.services[0].tasks[0].clone();
        assert_eq!(task.arch, Arch::Amd64);
        task
    }

    #[test]
    fn probe_19_a_refused_flag_is_found_however_it_is_set() {
        let all = [
            "--insecure",
            "skip-tls-verify",
            "--registry-map",
            "git",
            "secret",
            "snapshot-mode",
            "-verbosity",
        ];
        for flag in [
            "--insecure",
            "--insecure=false",
            "--skip-tls-verify=true",
            "--registry-map=docker.io=evil.test",
            "--git",
            "--secret",
            "--snapshotMode=time",
            "-vdebug",
            "--verbosity=debug",
        ] {
            let found = refused(&all, |task| task.kaniko.extra_flags = vec!["--label".into(), flag.into()]);
            assert!(found.len() == 1 && found[0].0 == "kaniko.extra-flags", "{flag}: {found:?}");
        }
        let found = refused(&all, |task| {
            task.env.insert("KANIKO_REGISTRY_MAP".into(), "docker.io=evil.test".into());
            task.kaniko.snapshot_mode = Some(crate::spec::SnapshotMode::Time);
        });
        assert_eq!(found.iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["kaniko.snapshot-mode", "env"]);
        let typed = refused(&["--registry-map", "insecure", "registryCertificate", "target"], |task| {
            task.kaniko.registry_map.insert("docker.io".into(), vec!["evil.test".into()]);
            task.kaniko.certificates.insert("reg.test".into(), "ca.pem".into());
            task.kaniko.target = Some("prod".into());
            task.kaniko.reproducible = true;
        });
        let typed: Vec<_> = typed.iter().map(|(key, _)| *key).collect();
        assert_eq!(typed, ["kaniko.target", "kaniko.registry-map", "kaniko.certificates"]);
        insta::assert_snapshot!(found[0].1, @"this key sets the flag `--snapshot-mode`, which is refused by this server's operator");
        let others =
            refused(&all, |task| task.kaniko.extra_flags = vec!["--insecure-pull".into(), "insecure".into()]);
        assert_eq!(others, []);
        assert_eq!(refused(&[], |task| task.kaniko.extra_flags = vec!["--insecure".into()]), []);
    }

    #[test]
    fn what_every_build_needs_cannot_be_refused() {
        for flag in ["--destination", "context", "", "--", "a b", "a=b"] {
            assert!(RefusedFlags::default().add(flag).is_err(), "{flag}");
        }
    }
}
