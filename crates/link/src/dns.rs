//! Name resolution for agents, with the configuration of the moment at which the agent starts.
//!
//! A `RUN` step is root in the agent's container and can change `/etc/hosts` and `/etc/resolv.conf` there. Both are read
//! once, before the first step, so that a reconnect cannot be redirected to the step. The address itself is not kept: a
//! server may have another one after a restart.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, TokioResolver};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Resolves with the system's configuration as it was when this was made.
#[derive(Debug, Clone)]
pub(crate) struct InitialResolver(TokioResolver);

impl InitialResolver {
    /// Reads the system's configuration. Must be called inside a tokio runtime.
    pub(crate) fn from_system() -> Result<Arc<Self>, String> {
        Self::read(Path::new("/etc/hosts"), Path::new("/etc/resolv.conf")).map(Arc::new)
    }

    fn read(hosts: &Path, resolv_conf: &Path) -> Result<Self, String> {
        let failed = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let mut servers = fs::read_to_string(resolv_conf).unwrap_or_default();
        if !servers.lines().any(|line| line.starts_with("nameserver")) {
            // What the system assumes.
            servers.push_str("\nnameserver 127.0.0.1\n");
        }
        let (config, mut options) =
            parse_resolv_conf(servers).map_err(|error| failed(resolv_conf, &error))?;
        options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
        // A server that starts just now must not be missed because its name was unknown before.
        options.cache_size = 0;
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let mut resolver = builder.build().map_err(|error| failed(resolv_conf, &error))?;
        let mut known = Hosts::default();
        known
            .read_hosts_conf(fs::read(hosts).unwrap_or_default().as_slice())
            .map_err(|error| failed(hosts, &error))?;
        resolver.set_hosts(Arc::new(known));
        Ok(Self(resolver))
    }
}

impl Resolve for InitialResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.0.clone();
        Box::pin(async move {
            let found = resolver.lookup_ip(name.as_str()).await?;
            let addresses: Vec<_> = found.iter().map(|address| SocketAddr::new(address, 0)).collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn probe_05_later_changes_of_the_configuration_are_not_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (hosts, servers) = (folder.path().join("hosts"), folder.path().join("resolv.conf"));
        fs::write(&hosts, "192.0.2.1 bakery.test bakery\n192.0.2.2 agents.bakery.test\n").unwrap();
        fs::write(
            &servers,
            "nameserver 127.0.0.1\nsearch bakery.test\noptions ndots:5 timeout:1 attempts:1\n",
        )
        .unwrap();
        let resolver = InitialResolver::read(&hosts, &servers).unwrap();
        let resolve = async |resolver: &InitialResolver, name: &str| -> Vec<String> {
            let found = resolver.resolve(name.parse().unwrap()).await.unwrap();
            found.map(|address| address.ip().to_string()).collect()
        };
        let names = ["bakery.test", "bakery", "agents"];
        // The last one is found by the domain to search, which is in the other file.
        let addresses = ["192.0.2.1", "192.0.2.1", "192.0.2.2"];
        for (name, address) in names.into_iter().zip(addresses) {
            assert_eq!(resolve(&resolver, name).await, [address]);
        }
        fs::write(
            &hosts,
            "127.0.0.1 bakery.test bakery\n127.0.0.2 agents.evil.test\n192.0.2.2 agents.bakery.test\n",
        )
        .unwrap();
        fs::write(
            &servers,
            "nameserver 127.0.0.66\nsearch evil.test\noptions ndots:5 timeout:1 attempts:1\n",
        )
        .unwrap();
        for (name, address) in names.into_iter().zip(addresses) {
            assert_eq!(resolve(&resolver, name).await, [address]);
        }
        // Whoever reads the files now sees both changes.
        let later = InitialResolver::read(&hosts, &servers).unwrap();
        assert_eq!(resolve(&later, "bakery.test").await, ["127.0.0.1"]);
        assert_eq!(resolve(&later, "agents").await, ["127.0.0.2"]);
    }

    #[tokio::test]
    async fn a_machine_without_the_files_has_a_resolver_all_the_same() {
        let nowhere = Path::new("/nonexistent");
        assert!(InitialResolver::read(nowhere, nowhere).is_ok());
    }
}
