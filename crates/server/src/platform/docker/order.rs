//! The container of a launch order, and the exit of a container that has ended. Pure.

use std::collections::HashMap;

use bakery_core::limits;
use bakery_core::names::{Arch, RunName};
use bakery_core::reason::Reason;
use bakery_core::units::format_mib;
use bollard::models::{ContainerCreateBody, ContainerState, HostConfig, HostConfigLogConfig};

use super::super::capabilities::Capabilities;
use super::super::exit::End;
use super::super::{Exit, LaunchOrder, labels};

/// Seconds between SIGTERM and SIGKILL: the agent ends Kaniko's process tree in that time.
pub(super) const STOP_SECONDS: i32 = 2;

/// What all containers of this installation have in common.
#[derive(Debug, Clone)]
pub(super) struct ContainerTemplate {
    pub(super) installation: String,
    pub(super) network: String,
    /// Cpus of the engine, in thousandths: it refuses containers with more.
    pub(super) cpu_millis: u32,
    pub(super) capabilities: Capabilities,
}

impl ContainerTemplate {
    /// The cpus that an order gets here.
    pub(super) fn cpu(&self, order: &LaunchOrder) -> u32 {
        order.cpu_millis.clamp(10, self.cpu_millis.max(10))
    }

    /// The container of an order.
    ///
    /// Without `NET_RAW` a RUN step cannot read or redirect its neighbours' traffic. `no-new-privileges` stays off: RUN
    /// steps may use `su` and `sudo`. The log is kept small: it holds what an agent writes before it can ship, and never
    /// the build's own log.
    pub(super) fn container(&self, order: &LaunchOrder, image: &str) -> ContainerCreateBody {
        let memory = i64::from(order.memory_mib) << 20;
        let log = HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([("max-size".to_owned(), "1m".to_owned())])),
        };
        ContainerCreateBody {
            image: Some(image.to_owned()),
            env: Some(order.env.iter().map(|(name, value)| format!("{name}={}", value.expose())).collect()),
            labels: Some(self.labels(order.run)),
            stop_signal: Some("SIGTERM".to_owned()),
            stop_timeout: Some(i64::from(STOP_SECONDS)),
            host_config: Some(HostConfig {
                nano_cpus: Some(i64::from(self.cpu(order)) * 1_000_000),
                memory: Some(memory),
                // Memory and swap together: none on top.
                memory_swap: Some(memory),
                network_mode: Some(self.network.clone()),
                cap_drop: Some(vec!["ALL".to_owned()]),
                cap_add: Some(self.capabilities.added()),
                pids_limit: Some(i64::from(limits::TASK_PROCESSES)),
                log_config: Some(log),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }

    fn labels(&self, run: RunName) -> HashMap<String, String> {
        HashMap::from(labels::of(&self.installation, run).map(|(name, value)| (name.to_owned(), value)))
    }

    /// The run of one of our containers, from its labels.
    pub(super) fn run_of(&self, labels: Option<&HashMap<String, String>>) -> Option<RunName> {
        labels::run_of(&self.installation, |name| labels?.get(name))
    }
}

/// The notice for a task that requests a disk. Only some storage drivers limit a container's disk, and which ones depends
/// on the file system below them.
pub(super) fn disk_notice(mib: u32) -> String {
    format!(
        "`disk` ({}) has no effect on the Docker platform: tasks share the engine's disk",
        format_mib(mib)
    )
}

/// The architecture that the engine names: as `uname -m` does, or as OCI does.
pub(super) fn arch_of(text: &str) -> Option<Arch> {
    match text {
        "x86_64" => Some(Arch::Amd64),
        "aarch64" => Some(Arch::Arm64),
        other => other.parse().ok(),
    }
}

/// The exit of a container: `state` as the engine keeps it, `code` from its event, `tail` the last lines that the container
/// wrote itself.
pub(super) fn exit_of(state: Option<&ContainerState>, code: Option<i32>, tail: &[String]) -> Exit {
    let kept = state.and_then(|state| state.exit_code).and_then(|code| i32::try_from(code).ok());
    let code = code.or(kept);
    let oom = state.and_then(|state| state.oom_killed).unwrap_or_default();
    let error = state.and_then(|state| state.error.as_deref());
    Exit::of(&End {
        code,
        reason: oom.then_some(Reason::OutOfMemory),
        detail: error,
        tail,
        arch_hint: "this engine cannot run that architecture; emulation needs qemu-user-static and binfmt",
        ..End::default()
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bakery_core::names::{BuildId, TaskId};

    use super::*;

    fn order() -> LaunchOrder {
        LaunchOrder {
            run: RunName { task: TaskId { build: BuildId::new(1_763_800_000_000, 7), index: 1 }, attempt: 1 },
            arch: Arch::Amd64,
            cpu_millis: 500,
            memory_mib: 2048,
            disk_mib: Some(40 << 10),
            env: vec![
                ("BAKERY_URL".to_owned(), "http://172.18.0.1:4000".into()),
                ("BAKERY_LAUNCH_TOKEN".to_owned(), "t0ken".into()),
            ],
            deadline: Duration::from_mins(10),
        }
    }

    fn template() -> ContainerTemplate {
        ContainerTemplate {
            installation: "1f0c".to_owned(),
            network: "bakery-1f0c".to_owned(),
            cpu_millis: 2000,
            capabilities: Capabilities::default(),
        }
    }

    #[test]
    fn an_order_becomes_a_container() {
        let json = serde_json::to_value(template().container(&order(), "docker.io/me/agent:1")).unwrap();
        insta::assert_json_snapshot!(json, @r#"
        {
          "Env": [
            "BAKERY_URL=http://172.18.0.1:4000",
            "BAKERY_LAUNCH_TOKEN=t0ken"
          ],
          "HostConfig": {
            "CapAdd": [
              "CHOWN",
              "DAC_OVERRIDE",
              "FOWNER",
              "FSETID",
              "KILL",
              "SETFCAP",
              "SETGID",
              "SETUID"
            ],
            "CapDrop": [
              "ALL"
            ],
            "LogConfig": {
              "Config": {
                "max-size": "1m"
              },
              "Type": "json-file"
            },
            "Memory": 2147483648,
            "MemorySwap": 2147483648,
            "NanoCpus": 500000000,
            "NetworkMode": "bakery-1f0c",
            "PidsLimit": 4096
          },
          "Image": "docker.io/me/agent:1",
          "Labels": {
            "bakery.build": "01kanar9g00000000000000007",
            "bakery.installation": "1f0c",
            "bakery.run": "bk-01kanar9g00000000000000007-1-1"
          },
          "StopSignal": "SIGTERM",
          "StopTimeout": 2
        }
        "#);
    }

    #[test]
    fn no_more_cpus_are_requested_than_the_engine_has() {
        let mut order = order();
        order.cpu_millis = 64_000;
        let host = template().container(&order, "x").host_config.unwrap();
        assert_eq!(host.nano_cpus, Some(2_000_000_000));
    }

    #[test]
    fn a_container_is_ours_by_its_labels() {
        let (template, run) = (template(), order().run);
        let labels = template.labels(run);
        assert_eq!(template.run_of(Some(&labels)), Some(run));
        let other = ContainerTemplate { installation: "other".to_owned(), ..template };
        assert_eq!(other.run_of(Some(&labels)), None);
    }

    #[test]
    fn a_container_that_ran_out_of_memory_has_a_reason() {
        let state = |oom, error: &str| ContainerState {
            exit_code: Some(137),
            oom_killed: Some(oom),
            error: Some(error.to_owned()),
            ..ContainerState::default()
        };
        let killed = exit_of(Some(&state(true, "")), None, &[]);
        assert_eq!((killed.code, killed.reason), (Some(137), Some(Reason::OutOfMemory)));
    }
}
