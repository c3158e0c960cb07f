//! The Docker platform. It is on where no other platform is, or where `DOCKER_HOST` names an engine.

use std::net::SocketAddr;

use super::reader::VarReader;

/// What the operator decides about the Docker platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerSettings {
    /// `ALLOW_EMULATION`: an engine of one architecture may take tasks of another.
    pub allow_emulation: bool,
    /// `BAKERY_AGENT_LISTEN`: the agent listener's address; `None` = the gateway of our bridge, at a port kept in the
    /// data folder.
    pub agent_listen: Option<SocketAddr>,
    /// `BAKERY_AGENT_URL`: that listener as agents reach it; `None` = from its address.
    pub agent_url: Option<String>,
}

impl VarReader<'_> {
    /// `others`: another platform is on. Then an engine that happens to run on this machine is not used unless
    /// `DOCKER_HOST` names it.
    pub(super) fn docker(&mut self, others: bool) -> Option<DockerSettings> {
        let settings = DockerSettings {
            allow_emulation: self.flag("ALLOW_EMULATION"),
            agent_listen: self.address("BAKERY_AGENT_LISTEN"),
            agent_url: self.url("BAKERY_AGENT_URL"),
        };
        (!others || self.is_set("DOCKER_HOST")).then_some(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;

    #[test]
    fn beside_another_platform_docker_is_on_only_where_an_engine_is_named() {
        let k8s = [
            ("K8S_NAMESPACE", "builds"),
            ("CONTROLLER_URL", "http://10.0.0.1:3000"),
            ("AGENT_IMAGE", "reg.test/agent:1"),
        ];
        assert!(read(&[]).unwrap().docker.is_some());
        assert_eq!(read(&k8s).unwrap().docker, None);
        let host = ("DOCKER_HOST", "unix:///run/docker.sock");
        assert!(read(&[&k8s[..], &[host]].concat()).unwrap().docker.is_some());
    }
}
