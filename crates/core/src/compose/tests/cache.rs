//! `cache_to`, `cache_from` and those of `x-bake`.

use super::*;

/// Kaniko's cache, and what is said about it.
fn cached(lines: &str, config: &str) -> String {
    let config = format!("global: {{ arch: amd64, kaniko: {{ {config} }} }}");
    match ask(&build(lines), &[], Some(&config)) {
        Ok(Resolved { spec, notices, .. }) => {
            let cache = &spec.services[0].tasks[0].kaniko.cache;
            let repo = cache.repo.as_deref().unwrap_or("inferred");
            let shown = if cache.enable { repo.to_owned() } else { "no cache".to_owned() };
            let notices = notices.iter().map(Notice::rendered);
            std::iter::once(shown).chain(notices).collect::<Vec<_>>().join("\n")
        }
        Err(report) => report.to_string(),
    }
}

#[test]
fn one_repository_is_kanikos_cache() {
    for (lines, expected) in [
        ("cache_to: ['type=registry,ref=reg.test/c']", "reg.test/c"),
        ("cache_to: ['type=registry,ref=reg.test:5000/a/c,mode=max']", "reg.test:5000/a/c"),
        ("cache_to: ['Type=registry,REF=me/c']", "docker.io/me/c"),
        ("cache_to: [reg.test/c]", "reg.test/c"),
        ("cache_to: reg.test/c", "reg.test/c"),
        ("cache_to: ['type=registry,ref=reg.test/$TAG', '${EMPTY}']", "reg.test/7"),
        (
            "cache_to: ['type=registry,ref=reg.test/c']\ncache_from: ['type=registry,ref=reg.test/c']",
            "reg.test/c",
        ),
        (
            "x-bake: { cache-to: 'type=registry,ref=reg.test/c', cache-from: ['type=registry,ref=reg.test/c'] }",
            "reg.test/c",
        ),
        ("cache_to: []\ncache_from:\nx-bake: { cache-from: '' }", "no cache"),
    ] {
        assert_eq!(cached(lines, ""), expected, "{lines}");
    }
}

#[test]
fn what_kaniko_does_otherwise_is_said() {
    let all = [
        "cache_to: ['type=registry,ref=reg.test/c:main']\ncache_from: ['type=registry,ref=reg.test/c:pr']",
        "cache_to: ['type=registry,ref=reg.test/c,compression=zstd']",
        "cache_from: ['type=registry,ref=reg.test/c:${TAG}']",
        "cache_from: [myapp:latest]\nx-bake: { cache-to: 'type=gha type=inline' }",
        "cache_to: ['type=registry,ref=reg.test/c']\ncache_from: ['type=registry,ref=reg.test/d']",
    ];
    insta::assert_snapshot!(all.map(|lines| cached(lines, "")).join("\n---\n"), @r#"
    reg.test/c
    deploy/compose.yaml:6:18: services.web.build.cache_to[0]: only the repository is used: Kaniko names its layers itself
    ---
    reg.test/c
    deploy/compose.yaml:6:18: services.web.build.cache_to[0]: only the repository is used: Kaniko names its layers itself
    ---
    reg.test/c
    deploy/compose.yaml:6:20: services.web.build.cache_from[0]: only the repository is used: Kaniko names its layers itself
    deploy/compose.yaml:6:20: services.web.build.cache_from[0]: Kaniko also writes to the repository that it reads, unless `kaniko.extra-flags` has `--no-push-cache`
    ---
    no cache
    deploy/compose.yaml:6:20: services.web.build.cache_from[0]: has no effect here
      hint: Kaniko keeps its layers in a repository: cache_to: ["type=registry,ref=REGISTRY/REPOSITORY"]
    deploy/compose.yaml:7:27: services.web.build.x-bake.cache-to: has no effect here
      hint: Kaniko keeps its layers in a repository: cache_to: ["type=registry,ref=REGISTRY/REPOSITORY"]
    ---
    reg.test/c
    deploy/compose.yaml:7:20: services.web.build.cache_from[0]: has no effect: Kaniko reads its layers where it writes them
      hint: the first one, in deploy/compose.yaml:6:18: services.web.build.cache_to[0], is used; `kaniko.cache.repo` of a config file names another
    "#);
}

#[test]
fn the_config_and_no_cache_win() {
    let lines = "cache_to: ['type=registry,ref=reg.test/c']\ncache_from: ['type=registry,ref=reg.test/d']";
    let same = "cache_to: ['type=registry,ref=reg.test/c']";
    let all = [
        (same, "cache: { enable: true }"),
        (same, "cache: { repo: reg.test/c }"),
        (same, "cache: { ttl: 1h }"),
        (lines, "cache: { enable: true, repo: reg.test/own }"),
        (lines, "cache: { enable: false, repo: reg.test/own }"),
        (&format!("{lines}\nno_cache: true"), ""),
        (&format!("{same}\nno_cache: false"), ""),
    ];
    insta::assert_snapshot!(all.map(|(lines, config)| cached(lines, config)).join("\n---\n"), @r"
    reg.test/c
    ---
    reg.test/c
    ---
    reg.test/c
    ---
    reg.test/own
    deploy/compose.yaml:6:18: services.web.build.cache_to[0]: has no effect: `kaniko.cache.repo` of the config file wins
    ---
    no cache
    deploy/compose.yaml:6:18: services.web.build.cache_to[0]: has no effect: `kaniko.cache.enable` is not true (config.yaml)
    ---
    no cache
    deploy/compose.yaml:6:18: services.web.build.cache_to[0]: has no effect: `no_cache` is set
    ---
    reg.test/c
    ");
}

#[test]
fn what_cannot_be_a_cache_is_a_mistake() {
    let lines = "
cache_to: ['type=registry,ref=reg.test/c', 'type=registry', 'ref=reg.test/c', 'type=registry,ref=', A B, { a: b }, 'type=registry,ref=reg.test/d']
cache_from: ['type=registry,ref=reg.test/${SECRET}', 'type=registry,ref=${SECRET}!', 'type=registry,x', 'type=registry,ref=${NO}']
x-bake: { cache-from: { a: b } }
";
    let report = report(&build(lines.trim()));
    assert!(!report.contains("hunter2"), "{report}");
    insta::assert_snapshot!(report, @"
    deploy/compose.yaml:6:50: services.web.build.cache_to[1]: `ref` is missing
      hint: type=registry,ref=REGISTRY/REPOSITORY
    deploy/compose.yaml:6:67: services.web.build.cache_to[2]: `type` is missing
      hint: type=registry,ref=REGISTRY/REPOSITORY
    deploy/compose.yaml:6:85: services.web.build.cache_to[3]: `ref` is missing
      hint: type=registry,ref=REGISTRY/REPOSITORY
    deploy/compose.yaml:6:107: services.web.build.cache_to[4]: `A B` is not an image reference
      hint: type=registry,ref=REGISTRY/REPOSITORY
    deploy/compose.yaml:6:112: services.web.build.cache_to[5]: expected a single value, found a mapping
    deploy/compose.yaml:6:122: services.web.build.cache_to[6]: another repository: Kaniko writes its layers to one
      hint: the first one, in deploy/compose.yaml:6:18: services.web.build.cache_to[0], is used; `kaniko.cache.repo` of a config file names another
    deploy/compose.yaml:7:60: services.web.build.cache_from[1]: `type=registry,ref=${SECRET}!` is not an image reference
      hint: type=registry,ref=REGISTRY/REPOSITORY
    deploy/compose.yaml:7:92: services.web.build.cache_from[2]: `x` is not `KEY=VALUE`
      hint: type=registry,ref=REGISTRY/REPOSITORY
    deploy/compose.yaml:7:111: services.web.build.cache_from[3]: `ref` is missing
      hint: the variable NO is not set: set it, or write ${NO:-default}
    deploy/compose.yaml:8:29: services.web.build.x-bake.cache-from: expected a list, found a mapping
    ");
}
