//! Disk and time of a task.

use super::*;

#[test]
fn disk_and_timeout_are_inherited_replaced_and_cleared() {
    let text = format!(
        "{}bake:\n- {{}}\n- {{ disk: 1.5T, timeout: 90s }}\n- {{ disk: '', timeout: [] }}\n",
        with("disk: 40G\ntimeout: 1h30m")
    );
    let read: Vec<_> = tasks(&text).iter().map(|task| (task.disk_mib, task.timeout_seconds)).collect();
    let gib = |gib: u32| Some(gib << 10);
    assert_eq!(read, [(gib(40), Some(5400)), (gib(1536), Some(90)), (None, None)]);
    assert_eq!(task(&with("disk: 2048")).disk_mib, gib(2));
}

#[test]
fn mistakes_in_disk_and_timeout_are_named_with_what_is_expected() {
    let entries = "bake:\n- { disk: 40, timeout: 30 }\n- { disk: lots, timeout: 1d }\n- { timeout: 0s }\n- kaniko: { disk: 40G }\n";
    insta::assert_snapshot!(report(&format!("{BASE}{entries}")), @"
    config.yaml:6:11: bake[0].disk: `40` is not a valid amount of disk
      hint: for example `40G` or `40Gi`; at least 1 GiB, at most 16T
    config.yaml:6:24: bake[0].timeout: `30` is not a valid duration
      hint: for example `30m`, `90s` or `1h30m`
    config.yaml:7:11: bake[1].disk: `lots` is not a valid amount of disk
      hint: for example `40G` or `40Gi`; at least 1 GiB, at most 16T
    config.yaml:7:26: bake[1].timeout: `1d` is not a valid duration
      hint: for example `30m`, `90s` or `1h30m`
    config.yaml:8:14: bake[2].timeout: must be greater than 0
      hint: remove it to use the server's default
    config.yaml:9:13: bake[3].kaniko.disk: unknown key
      hint: it belongs beside `kaniko`, one level up
    ");
}
