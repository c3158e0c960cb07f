//! The dependencies between crates point down only, and no banned crate is used.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// The crates of ours that each one may use (ARCHITECTURE.md, "Crates, arrows down only").
const ARROWS: &[(&str, &[&str])] = &[
    ("bakery-core", &[]),
    ("bakery-context", &["bakery-core"]),
    ("bakery-link", &["bakery-core"]),
    ("bakery-registry", &["bakery-core"]),
    ("bakery-client", &["bakery-context", "bakery-core", "bakery-link"]),
    ("bakery-agent", &["bakery-context", "bakery-core", "bakery-link"]),
    ("bakery-server", &["bakery-context", "bakery-core", "bakery-registry"]),
];

/// The crates of others that the pure core may use: no async, no sockets, no files.
const CORE_MAY_USE: &[&str] = &[
    "aho-corasick",
    "base64",
    "bytes",
    "granit-parser",
    "jiff",
    "memchr",
    "regex",
    "secrecy",
    "serde",
    "serde_json",
    "sha2",
    "thiserror",
    "ulid",
    "yaml_serde",
];

/// Crates that the three programs must not contain, and why.
const BANNED: &[(&str, &str)] = &[
    ("openssl", "one TLS provider: aws-lc-rs"),
    ("openssl-sys", "one TLS provider: aws-lc-rs"),
    ("native-tls", "one TLS provider: aws-lc-rs"),
    ("rsa", "RUSTSEC-2023-0071 has no fix"),
    ("serde_yml", "RUSTSEC-2025-0068"),
    ("backoff", "RUSTSEC-2025-0012"),
    ("dotenv", "unmaintained"),
];

/// Name and smallest version that may be used: older ones are second copies with advisories.
const NOT_OLDER: &[(&str, u64, u64)] = &[("hyper", 1, 0), ("h2", 0, 4), ("rustls", 0, 23), ("http", 1, 0)];

fn metadata() -> Value {
    let cargo = env!("CARGO");
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    let out = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--locked", "--manifest-path", manifest])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().unwrap().iter()
}

/// The names of a package's direct dependencies, without those for tests only.
fn dependencies(package: &Value) -> BTreeSet<&str> {
    let all = package["dependencies"].as_array().unwrap().iter();
    all.filter(|dep| dep["kind"].as_str() != Some("dev")).map(|dep| dep["name"].as_str().unwrap()).collect()
}

#[test]
fn our_crates_use_only_those_below_them() {
    let metadata = metadata();
    let allowed: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    for package in packages(&metadata) {
        let name = package["name"].as_str().unwrap();
        let Some(allowed) = allowed.get(name) else { continue };
        for dep in dependencies(package).into_iter().filter(|dep| dep.starts_with("bakery-")) {
            assert!(allowed.contains(&dep), "{name} must not use {dep}");
        }
    }
}

#[test]
fn the_core_stays_pure() {
    let metadata = metadata();
    let core = packages(&metadata).find(|package| package["name"] == "bakery-core").unwrap();
    for dep in dependencies(core) {
        assert!(CORE_MAY_USE.contains(&dep), "bakery-core must not use {dep}");
    }
}

#[test]
fn every_crate_of_ours_is_listed() {
    let metadata = metadata();
    let ours = packages(&metadata).map(|package| package["name"].as_str().unwrap());
    let ours: BTreeSet<_> =
        ours.filter(|name| name.starts_with("bakery-") && *name != "bakery-testkit").collect();
    assert_eq!(ours, ARROWS.iter().map(|(name, _)| *name).collect());
}

#[test]
fn the_programs_contain_no_banned_crate() {
    let metadata = metadata();
    let shipped = shipped(&metadata);
    for package in packages(&metadata).filter(|package| shipped.contains(package["id"].as_str().unwrap())) {
        let name = package["name"].as_str().unwrap();
        let version = package["version"].as_str().unwrap();
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            panic!("{name} {version} is banned: {why}");
        }
        let mut parts = version.split(['.', '-', '+']).map(|part| part.parse::<u64>().unwrap_or(0));
        let (major, minor) = (parts.next().unwrap(), parts.next().unwrap());
        for (old, least_major, least_minor) in NOT_OLDER.iter().filter(|(old, ..)| *old == name) {
            assert!(
                (major, minor) >= (*least_major, *least_minor),
                "{old} {version} is a second, older copy"
            );
        }
    }
}

/// The ids of all packages that the three programs contain.
fn shipped(metadata: &Value) -> BTreeSet<&str> {
    let nodes: BTreeMap<&str, &Value> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| (node["id"].as_str().unwrap(), node))
        .collect();
    let programs = ["bakery-client", "bakery-agent", "bakery-server"];
    let roots = packages(metadata).filter(|package| programs.contains(&package["name"].as_str().unwrap()));
    let mut open: Vec<&str> = roots.map(|package| package["id"].as_str().unwrap()).collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        for dep in nodes[id]["deps"].as_array().unwrap() {
            let kinds = dep["dep_kinds"].as_array().unwrap();
            if kinds.iter().any(|kind| kind["kind"].as_str() != Some("dev")) {
                open.push(dep["pkg"].as_str().unwrap());
            }
        }
    }
    seen
}
