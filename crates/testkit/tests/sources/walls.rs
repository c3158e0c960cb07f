//! The walls inside the server: which module may name which other (ARCHITECTURE.md).

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::modules::Modules;

/// What each module of the server may name: modules of the server, and crates of ours (`bakery_...`).
const WALLS: &[(&str, &[&str])] = &[
    ("http", &["bakery_core", "builds", "clock", "contexts", "logs", "metrics", "random", "spawn"]),
    ("metrics", &["builds", "logs"]),
    ("builds", &["bakery_core", "bakery_registry", "clock", "disk", "logs", "platform", "random", "spawn"]),
    ("platform", &["bakery_core", "clock", "spawn"]),
    ("logs", &["bakery_core", "clock", "disk", "spawn"]),
    ("contexts", &["bakery_context", "bakery_core", "clock", "disk", "spawn"]),
    ("settings", &["bakery_context", "bakery_core"]),
    ("clock", &[]),
    ("disk", &["bakery_core"]),
    ("random", &["bakery_context"]),
    ("spawn", &[]),
    ("environment", &["bakery_context", "bakery_core", "settings"]),
    ("process", &[]),
    ("server_log", &["bakery_core", "clock", "settings"]),
    ("health", &["bakery_core"]),
    ("cli", &[]),
];

/// Those that put the program together: they may name everything.
const FREE: &[&str] = &["check", "wiring"];

#[test]
fn modules_of_the_server_use_only_allowed_modules() -> Result<()> {
    let modules = Modules::read("server")?;
    let mut wrong = Vec::new();
    let mut found = BTreeSet::new();
    for (module, file) in &modules.files {
        let Some(top) = module.first() else { continue };
        found.insert(top.as_str());
        let Some((_, allowed)) = WALLS.iter().find(|(name, _)| name == top) else { continue };
        let named = modules.named_by(module).into_iter().filter_map(|named| named.into_iter().next());
        let named: BTreeSet<String> = named.chain(modules.crates[module].iter().cloned()).collect();
        let forbidden = named.iter().filter(|named| *named != top && !allowed.contains(&named.as_str()));
        wrong.extend(forbidden.map(|named| format!("{file}: {top} must not name {named}")));
    }
    ensure!(wrong.is_empty(), "the server's modules:\n{}", wrong.join("\n"));
    let listed: BTreeSet<&str> = WALLS.iter().map(|(name, _)| *name).chain(FREE.iter().copied()).collect();
    ensure!(found == listed, "the server has the modules {found:?}, and the list names {listed:?}");
    Ok(())
}
