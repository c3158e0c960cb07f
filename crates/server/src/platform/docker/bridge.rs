//! The bridge network of an installation's tasks.
//!
//! Containers on it do not reach each other: the engine forwards nothing between them (`enable_icc=false`), and the
//! server is reached at the bridge's gateway, which is an address of this machine. Servers before this one made a bridge
//! on which tasks did reach each other. It is removed as soon as no task is on it; until then the server listens at its
//! gateway too.

use std::collections::HashMap;
use std::net::IpAddr;

use bollard::errors::Error;
use bollard::models::{Ipam, NetworkCreateRequest, NetworkInspect};
use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptionsBuilder};

use super::super::labels;
use super::engine::{DockerError, Engine};

/// The engine's option that decides whether containers of a bridge reach each other.
const REACH_EACH_OTHER: &str = "com.docker.network.bridge.enable_icc";

/// The network that tasks join.
#[derive(Debug)]
pub(super) struct Bridge {
    pub(super) name: String,
    pub(super) gateway: IpAddr,
}

impl Engine {
    /// The installation's bridge, which is created if it is not there: one that containers kept alive, or that a killed
    /// server left, is adopted. The engine chooses the subnet.
    pub(super) async fn bridge(&self, installation: &str) -> Result<Bridge, DockerError> {
        let name = network_name(installation);
        let failed = |doing: &str, error: &Error| DockerError {
            text: format!("{doing} the network {name}: {}", self.text_of(error)),
            hint: "`docker network ls` lists the networks; remove those that are not in use".to_owned(),
        };
        let filters = HashMap::from([("label".to_owned(), vec![labels::selector(installation)])]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let found = self.docker.list_networks(Some(options)).await.map_err(|e| failed("listing", &e))?;
        if !found.iter().any(|network| network.name.as_deref() == Some(&name)) {
            let request = NetworkCreateRequest {
                name: name.clone(),
                driver: Some("bridge".to_owned()),
                options: Some(HashMap::from([(REACH_EACH_OTHER.to_owned(), "false".to_owned())])),
                labels: Some(HashMap::from([(labels::INSTALLATION.to_owned(), installation.to_owned())])),
                ..NetworkCreateRequest::default()
            };
            match self.docker.create_network(request).await {
                Ok(_) => tracing::info!(network = name, "created the agents' bridge network"),
                // Somebody was faster; the network is inspected below.
                Err(Error::DockerResponseServerError { status_code: 409, .. }) => {}
                Err(error) => return Err(failed("creating", &error)),
            }
        }
        let network = self.docker.inspect_network(&name, None::<InspectNetworkOptions>).await;
        let network = network.map_err(|e| failed("inspecting", &e))?;
        if !is_isolated(&network) {
            tracing::warn!(
                network = name,
                hint =
                    "run only trusted builds here, or use an engine that supports this option of its bridges",
                "tasks reach each other on this network: the engine has not set {REACH_EACH_OTHER}=false"
            );
        }
        let gateway = gateway_of(&network).ok_or_else(|| DockerError {
            text: format!("the network {name} of the Docker engine at {} has no IPv4 gateway", self.host),
            hint: format!("remove it with `docker network rm {name}`; the server creates it again"),
        })?;
        Ok(Bridge { name, gateway })
    }

    /// Removes the bridge of an earlier version. Returns its gateway if tasks are still on it.
    pub(super) async fn former_bridge(&self, installation: &str) -> Option<IpAddr> {
        let name = former_network_name(installation);
        match self.docker.remove_network(&name).await {
            Ok(()) => {
                tracing::info!(network = name, "removed the bridge network of an earlier version");
                None
            }
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => None,
            Err(_) => {
                let network = self.docker.inspect_network(&name, None::<InspectNetworkOptions>).await.ok()?;
                gateway_of(&network)
            }
        }
    }

    /// Removes the installation's bridges, unless containers still use them: an engine has few subnets. The next start
    /// creates what it needs.
    pub(super) async fn leave_bridges(&self, installation: &str) {
        for name in [network_name(installation), former_network_name(installation)] {
            if let Err(error) = self.docker.remove_network(&name).await {
                tracing::debug!(network = name, %error, "a bridge network was not removed");
            }
        }
    }
}

fn is_isolated(network: &NetworkInspect) -> bool {
    let option = network.options.as_ref().and_then(|options| options.get(REACH_EACH_OTHER));
    option.is_some_and(|value| value == "false")
}

/// The name of the bridge: two servers on one engine have one each.
fn network_name(installation: &str) -> String {
    format!("{}-tasks", former_network_name(installation))
}

/// The name of the bridge before tasks were kept apart.
fn former_network_name(installation: &str) -> String {
    let short: String = installation.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
    format!("bakery-{short}")
}

/// The IPv4 gateway, or the first address of the subnet where the engine leaves it out (20.10 does at times).
fn gateway_of(network: &NetworkInspect) -> Option<IpAddr> {
    let Some(Ipam { config: Some(configs), .. }) = &network.ipam else { return None };
    configs.iter().find_map(|config| {
        let named = config.gateway.as_deref().and_then(|gateway| gateway.split('/').next()?.parse().ok());
        let first = || {
            let (base, _) = config.subnet.as_deref()?.split_once('/')?;
            let base: std::net::Ipv4Addr = base.parse().ok()?;
            Some(IpAddr::V4((u32::from(base) + 1).into()))
        };
        named.or_else(first).filter(IpAddr::is_ipv4)
    })
}

#[cfg(test)]
mod tests {
    use bollard::models::IpamConfig;

    use super::*;

    #[test]
    fn a_gateway_is_read_or_derived_from_the_subnet() {
        let network = |subnet: &str, gateway: Option<&str>| NetworkInspect {
            ipam: Some(Ipam {
                config: Some(vec![IpamConfig {
                    subnet: Some(subnet.to_owned()),
                    gateway: gateway.map(str::to_owned),
                    ..IpamConfig::default()
                }]),
                ..Ipam::default()
            }),
            ..NetworkInspect::default()
        };
        let gateway = |subnet, named| gateway_of(&network(subnet, named)).map(|ip| ip.to_string());
        assert_eq!(gateway("172.18.0.0/16", Some("172.18.0.1")).as_deref(), Some("172.18.0.1"));
        assert_eq!(gateway("172.18.0.0/16", None).as_deref(), Some("172.18.0.1"));
        assert_eq!(gateway("fd00::/64", Some("fd00::1")), None);
    }

    #[test]
    fn a_bridge_is_named_by_its_installation() {
        let name = network_name("0191a2b3-c4d5-7e6f-8a9b-0c1d2e3f4a5b");
        assert_eq!(name, "bakery-0191a2b3c4d5-tasks");
    }

    #[test]
    fn a_network_is_isolated_only_if_the_engine_says_so() {
        let network = |options: &[(&str, &str)]| NetworkInspect {
            options: Some(
                options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ),
            ..NetworkInspect::default()
        };
        assert!(is_isolated(&network(&[(REACH_EACH_OTHER, "false")])));
        assert!(!is_isolated(&network(&[(REACH_EACH_OTHER, "true")])));
        assert!(!is_isolated(&network(&[])));
        assert!(!is_isolated(&NetworkInspect::default()));
    }
}
