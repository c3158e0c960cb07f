//! The messages about mistakes in config files.

use super::*;

#[test]
fn all_mistakes_are_reported_at_once_with_their_locations() {
    let text = r#"
global:
  platform: k9s
  cpu: lots
  memory: 2X
  arhc: amd64
  dockerfile: x
  env:
    KANIKO_DIR: /x
    LD_PRELOAD: /x
    9A: x
    NOTHING:
    LIST: [a]
  kaniko-credentials:
  - { registry: ghcr.io/me, username: me, password: hunter2 }
  - { registry: reg.test, username: "", pasword: hunter2 }
  kaniko:
    context-path: ../other
    destination: https://me:hunter2@reg.test/a
    build-args: [A=b]
    cache: { enable: yes, ttl: 1d, repo: cache }
    snapshot-mode: fast
    custom-platform: windows/amd64
    dir: /kaniko/mine
    extra-flags: --label 'x --destination=y
bake:
- arch: x86_64
  kaniko:
    dockerfile: /etc/passwd
    extra-flags: --single-snapshot -d reg.test/b --no-push --tar-path=x -v warn
- kaniko: { destination: Reg/A }
- []
"#;
    let report = report(text);
    assert!(!report.contains("hunter2"), "{report}");
    insta::assert_snapshot!(report, @r"
    config.yaml:3:13: global.platform: `k9s` is not a valid value
      hint: did you mean `k8s`?
    config.yaml:4:8: global.cpu: `lots` is not a valid amount of cpu
      hint: for example `0.5`, `2` or `500m`; at most 1024
    config.yaml:5:11: global.memory: `2X` is not a valid amount of memory
      hint: for example `2G`, `512Mi` or `2048` (MiB); at least 32 MiB, at most 16T
    config.yaml:6:3: global.arhc: unknown key
      hint: did you mean `arch`?
    config.yaml:7:3: global.dockerfile: unknown key
      hint: it belongs below `kaniko`
    config.yaml:9:17: global.env.KANIKO_DIR: the variable `KANIKO_DIR` is reserved
      hint: use `kaniko.dir`, which moves the agent as well
    config.yaml:10:17: global.env.LD_PRELOAD: the variable `LD_PRELOAD` is reserved
      hint: set it inside the script that needs it
    config.yaml:11:9: global.env.9A: not a valid variable name
      hint: use letters, digits and `_`, with no digit first
    config.yaml:12:12: global.env.NOTHING: has no value
      hint: write '' for an empty string
    config.yaml:13:11: global.env.LIST: expected a single value, found a list
    config.yaml:15:17: global.kaniko-credentials[0].registry: `ghcr.io/me` is not a registry
      hint: HOST or HOST:PORT
    config.yaml:16:5: global.kaniko-credentials[1]: `password` is missing
    config.yaml:16:27: global.kaniko-credentials[1].username: is empty
      hint: if it comes from a variable, check that the variable is set
    config.yaml:16:41: global.kaniko-credentials[1].pasword: unknown key
      hint: did you mean `password`?
    config.yaml:18:19: global.kaniko.context-path: leaves the source root
      hint: only files below --repo are packed: set --repo to a parent folder
    config.yaml:19:18: global.kaniko.destination: `https://me:***@reg.test/a` is not an image reference
      hint: leave out the scheme: REGISTRY/REPOSITORY:TAG
    config.yaml:20:17: global.kaniko.build-args: expected a mapping, found a list
      hint: write `NAME: value`, one per line
    config.yaml:21:22: global.kaniko.cache.enable: `yes` is not true or false
      hint: write true or false
    config.yaml:21:32: global.kaniko.cache.ttl: `1d` is not a valid duration
      hint: for example `24h`, `90m` or `1h30m`; a day is 24h
    config.yaml:21:42: global.kaniko.cache.repo: not a repository
      hint: HOST/REPOSITORY, without a tag
    config.yaml:22:20: global.kaniko.snapshot-mode: `fast` is not a valid value
      hint: one of full, redo, time
    config.yaml:23:22: global.kaniko.custom-platform: not a valid platform
      hint: for example `linux/arm64` or `linux/arm64/v8`
    config.yaml:24:10: global.kaniko.dir: not a valid folder for Kaniko
      hint: an absolute path that does not exist in the image, not below /kaniko, such as `/kaniko2`
    config.yaml:25:18: global.kaniko.extra-flags: a single quote is not closed
      hint: close it, or escape it
    config.yaml:27:9: bake[0].arch: `x86_64` is not a valid value
      hint: did you mean `amd64`?
    config.yaml:29:17: bake[0].kaniko.dockerfile: an absolute path is not in the archive
      hint: write it relative to the source root (--repo)
    config.yaml:30:18: bake[0].kaniko.extra-flags: the flag `--destination` is reserved
      hint: use `kaniko.destination`
    config.yaml:30:18: bake[0].kaniko.extra-flags: the flag `--no-push` is reserved
      hint: use `kaniko.no-push: true`
    config.yaml:30:18: bake[0].kaniko.extra-flags: the flag `--tar-path` is reserved
      hint: use `kaniko.destination`, or `kaniko.no-push: true`
    config.yaml:30:18: bake[0].kaniko.extra-flags: `--verbosity` must be one of info, debug, trace
      hint: write `--verbosity=debug` as one argument; at a lower verbosity Kaniko does not print when its push begins
    config.yaml:31:3: bake[1].arch: no architecture is set
      hint: set `arch` here or in `global` (config.yaml:3:3)
    config.yaml:31:26: bake[1].kaniko.destination: `Reg/A` is not an image reference
      hint: image names must be lower case
    config.yaml:32:3: bake[2]: expected a mapping, found a list
    ");
}

#[test]
fn mistakes_of_the_whole_build_have_locations() {
    insta::assert_snapshot!(report("bake:\n- kaniko: {}\n- arch: arm64\n"), @r"
    config.yaml:2:3: bake[0].arch: no architecture is set
      hint: set `arch` here or in `global` (config.yaml:1:1)
    config.yaml:2:3: bake[0].kaniko.destination: no destination
      hint: set `kaniko.destination` (Compose: `image`), or `kaniko.no-push: true`
    config.yaml:3:3: bake[1].kaniko.destination: no destination
      hint: set `kaniko.destination` (Compose: `image`), or `kaniko.no-push: true`
    ");
    let digest = format!("destination: reg.test/a@sha256:{}", "0".repeat(64));
    assert!(
        report(&BASE.replace("destination: reg.test/a:1", &digest))
            .contains("config.yaml:4:18: global.kaniko.destination: a destination cannot have a digest")
    );
    insta::assert_snapshot!(report(&format!("{BASE}bake:\n- arch: arm64\n- {{}}\n- kaniko: {{ destination: reg.test/a:1_arm64 }}\n")), @r"
    config.yaml:8:26: bake[2].kaniko.destination: reg.test/a:1_arm64 is also pushed by reg.test/a:1
      hint: give each a destination of its own
    ");
    insta::assert_snapshot!(report("global: { arch: amd64, kaniko: { no-push: true, cache: { enable: true } } }"), @r"
    config.yaml:1:66: global.kaniko.cache.enable: with `no-push` Kaniko cannot infer the cache's repository
      hint: set `kaniko.cache.repo`, or `kaniko.cache.enable: false`
    ");
    assert!(
        report(&baked("context-path: a\ndockerfile: ../../Dockerfile"))
            .contains("config.yaml:6:17: global.kaniko.dockerfile: leaves the source root")
    );
    let many = format!("{BASE}bake:\n{}", "- {}\n".repeat(513));
    assert_eq!(
        report(&many),
        "config.yaml:2:3: global: the build has 513 tasks; the limit is 512\n  hint: split the build"
    );
}

#[test]
fn an_empty_file_and_an_empty_entry_are_one_mistake_each() {
    insta::assert_snapshot!(report(""), @r"
    config.yaml:1:1: the file is empty
      hint: add `global`, `bake` or both
    ");
    insta::assert_snapshot!(report(&format!("{BASE}bake:\n- arch: arm64\n-\n- ~\n")), @r"
    config.yaml:7:2: bake[1]: the entry is empty
      hint: remove it, or write `{}` for a task that inherits everything from `global`
    config.yaml:8:3: bake[2]: the entry is empty
      hint: remove it, or write `{}` for a task that inherits everything from `global`
    ");
}

#[test]
fn the_hint_of_an_invalid_destination_names_the_reason() {
    for (text, why) in [
        ("Reg/A", "image names must be lower case"),
        ("reg.test/a b:1", "remove the blanks"),
        ("reg.test/a:${TAG}", "written in braces, `${NAME}`, and replaced by bakery-client"),
        ("reg.test/a:", "a part of it is empty"),
        ("https://reg.test/a", "leave out the scheme"),
        ("reg.test/a:-x", "hint: REGISTRY/REPOSITORY:TAG"),
    ] {
        let report = report(&BASE.replace("reg.test/a:1", &format!("'{text}'")));
        assert!(report.contains("is not an image reference") && report.contains(why), "{text}: {report}");
    }
}

#[test]
fn invalid_files_are_reported() {
    for (text, message) in [
        ("# nothing yet\n", "the file is empty"),
        ("- a", "config.yaml:1:1: expected a mapping, found a list"),
        ("global: x", "expected a mapping, found a single value"),
        ("bake: { arch: amd64 }", "config.yaml:1:7: bake: expected a list, found a mapping"),
        ("arch: amd64", "it belongs below `global`"),
        ("global: !x {}", "the tag `!x` is not supported"),
        ("a: [", "not valid YAML"),
    ] {
        let report = report(text);
        assert!(report.contains(message), "{text}: {report}");
    }
}

#[test]
fn notices_warn_and_do_not_stop() {
    insta::assert_snapshot!(notices(&with("post-script: echo\nenv: {}\ncpu:")), @r"
    config.yaml:6:8: global.env: `{}` adds nothing: inherited entries are kept
      hint: write '' to clear the inherited entries
    config.yaml:7:3: global.cpu: has no value, ignored
      hint: write '' to clear an inherited value
    ");
    insta::assert_snapshot!(notices(&baked("build-args: { NPM_TOKEN: x }\ncustom-platform: linux/arm64\nignore-path: [var]")), @r"
    config.yaml:5:30: global.kaniko.build-args.NPM_TOKEN: a build argument can be read in the image's history
      hint: do not pass a secret this way
    config.yaml:6:22: global.kaniko.custom-platform: the task runs on amd64, but its image will be marked as linux/arm64
      hint: remove it to use the platform of `arch`
    config.yaml:7:19: global.kaniko.ignore-path[0]: not an absolute path: it matches nothing
      hint: write the path in the image, such as /var/cache
    ");
    assert!(
        notices(&format!("{}  post-script: echo\n", baked("cleanup: true")))
            .contains("Kaniko deletes the container")
    );
}
