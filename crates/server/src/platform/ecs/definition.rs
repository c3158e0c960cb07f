//! The task definition of each architecture and size, with its family's name. Pure.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_ecs::operation::register_task_definition::builders::RegisterTaskDefinitionInputBuilder;
use aws_sdk_ecs::types::{
    Compatibility, ContainerDefinition, CpuArchitecture, EphemeralStorage, KernelCapabilities,
    LinuxParameters, LogConfiguration, LogDriver, NetworkMode, OsFamily, RepositoryCredentials,
    RuntimePlatform, TaskDefinition,
};
use bakery_core::names::Arch;

use super::super::capabilities::Capabilities;
use super::size::{LEAST_DISK, Size};

/// The name of a task's one container.
pub(super) const CONTAINER: &str = "agent";
/// Prefix of the agents' log streams.
const STREAM_PREFIX: &str = "agent";
/// Seconds between SIGTERM and SIGKILL, the most that Fargate gives: a Spot task has two minutes to report.
const STOP_SECONDS: i32 = 120;
/// What all task definitions of this server have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DefinitionTemplate {
    /// `AGENT_TASK_FAMILY`.
    pub(super) family: String,
    /// `AGENT_IMAGE`.
    pub(super) image: String,
    /// `ECS_EXEC_ROLE_ARN`.
    pub(super) execution_role: String,
    /// `ECS_TASK_ROLE_ARN`.
    pub(super) task_role: Option<String>,
    /// `ECS_LOG_GROUP`, in this region.
    pub(super) log_group: Option<(String, String)>,
    /// The secret with which the image is pulled.
    pub(super) pull_secret: Option<String>,
    /// `ECS_EPHEMERAL_STORAGE`, in GiB: of tasks that request no disk.
    pub(super) storage: Option<i32>,
    /// `AGENT_CAPABILITIES`.
    pub(super) capabilities: Capabilities,
}

impl DefinitionTemplate {
    /// The family of an architecture and a size: `bakery-agent-arm64-1024-2048`, or `bakery-agent-arm64-1024-2048-40` if
    /// the task requests a disk. The setting is not in it: a restart with another one must not change a `RunTask` request.
    pub(super) fn family(&self, arch: Arch, size: Size) -> String {
        let disk = size.disk.map(|gib| format!("-{gib}")).unwrap_or_default();
        format!("{}-{arch}-{}-{}{disk}", self.family, size.cpu, size.memory)
    }

    /// Architecture and size of a family name that [`DefinitionTemplate::family`] made; `None` for any other.
    pub(super) fn parse_family(&self, family: &str) -> Option<(Arch, Size)> {
        let rest = family.strip_prefix(&self.family)?.strip_prefix('-')?;
        let parts: Vec<&str> = rest.split('-').collect();
        let [arch, cpu, memory, disk @ ..] = parts.as_slice() else { return None };
        let disk = match disk {
            [] => None,
            [gib] => Some(gib.parse().ok()?),
            _ => return None,
        };
        Some((arch.parse().ok()?, Size { cpu: cpu.parse().ok()?, memory: memory.parse().ok()?, disk }))
    }

    /// The disk that a definition sets, in GiB; `None` = Fargate's own.
    fn storage(&self, size: Size) -> Option<i32> {
        size.disk.map_or(self.storage, |gib| (gib > LEAST_DISK).then(|| gib.into()))
    }

    /// The `RegisterTaskDefinition` request.
    pub(super) fn input(&self, arch: Arch, size: Size) -> RegisterTaskDefinitionInputBuilder {
        let storage = self.storage(size).map(|gib| EphemeralStorage::builder().size_in_gib(gib).build());
        aws_sdk_ecs::operation::register_task_definition::RegisterTaskDefinitionInput::builder()
            .family(self.family(arch, size))
            .network_mode(NetworkMode::Awsvpc)
            .requires_compatibilities(Compatibility::Fargate)
            .cpu(size.cpu.to_string())
            .memory(size.memory.to_string())
            .runtime_platform(
                RuntimePlatform::builder()
                    .operating_system_family(OsFamily::Linux)
                    .cpu_architecture(cpu_architecture(arch))
                    .build(),
            )
            .execution_role_arn(&self.execution_role)
            .set_task_role_arn(self.task_role.clone())
            .set_ephemeral_storage(storage)
            .container_definitions(self.container())
    }

    fn container(&self) -> ContainerDefinition {
        // Dropping all would leave none: Fargate adds no other than `SYS_PTRACE`.
        let dropped = KernelCapabilities::builder().set_drop(Some(self.capabilities.dropped())).build();
        let log = self.log_group.as_ref().and_then(|(group, region)| {
            LogConfiguration::builder()
                .log_driver(LogDriver::Awslogs)
                .options("awslogs-group", group)
                .options("awslogs-region", region)
                .options("awslogs-stream-prefix", STREAM_PREFIX)
                .build()
                .ok()
        });
        let pull = self.pull_secret.as_ref();
        let pull =
            pull.and_then(|arn| RepositoryCredentials::builder().credentials_parameter(arn).build().ok());
        ContainerDefinition::builder()
            .name(CONTAINER)
            .image(&self.image)
            .essential(true)
            .stop_timeout(STOP_SECONDS)
            .linux_parameters(LinuxParameters::builder().capabilities(dropped).build())
            .set_log_configuration(log)
            .set_repository_credentials(pull)
            .build()
    }

    /// Whether a registered definition equals what would be registered now. AWS adds fields of its own; ours must match.
    pub(super) fn matches(&self, found: &TaskDefinition, arch: Arch, size: Size) -> bool {
        let [container] = found.container_definitions() else { return false };
        let wanted = self.container();
        let platform = found.runtime_platform();
        let storage = found.ephemeral_storage().map(EphemeralStorage::size_in_gib);
        let stated = |list: &[Compatibility]| list.contains(&Compatibility::Fargate);
        found.cpu() == Some(size.cpu.to_string().as_str())
            && found.memory() == Some(size.memory.to_string().as_str())
            && found.network_mode() == Some(&NetworkMode::Awsvpc)
            && stated(found.requires_compatibilities())
            && platform.and_then(RuntimePlatform::cpu_architecture) == Some(&cpu_architecture(arch))
            && found.execution_role_arn() == Some(self.execution_role.as_str())
            && found.task_role_arn().filter(|arn| !arn.is_empty()) == self.task_role.as_deref()
            && storage == self.storage(size)
            && container.name() == wanted.name()
            && container.image() == wanted.image()
            && container.stop_timeout() == wanted.stop_timeout()
            && dropped(container) == dropped(&wanted)
            && logged(container) == logged(&wanted)
            && pulled(container) == pulled(&wanted)
    }
}

/// The capabilities that a container drops: AWS may add empty lists beside them.
fn dropped(container: &ContainerDefinition) -> BTreeSet<&str> {
    let capabilities = container.linux_parameters().and_then(LinuxParameters::capabilities);
    capabilities.map_or(&[][..], KernelCapabilities::drop).iter().map(String::as_str).collect()
}

fn logged(container: &ContainerDefinition) -> Option<(&LogDriver, Option<&HashMap<String, String>>)> {
    container.log_configuration().map(|log| (log.log_driver(), log.options()))
}

fn pulled(container: &ContainerDefinition) -> Option<&str> {
    container.repository_credentials().map(RepositoryCredentials::credentials_parameter)
}

fn cpu_architecture(arch: Arch) -> CpuArchitecture {
    match arch {
        Arch::Amd64 => CpuArchitecture::X8664,
        Arch::Arm64 => CpuArchitecture::Arm64,
    }
}

#[cfg(test)]
mod tests;
