//! Which addresses requests may be sent to, and over which scheme.
//!
//! A client names registries, and registries name token services and redirect targets: none of them may lead this program
//! to internal addresses of the machine or the cloud that it runs in.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bakery_core::host;
use bakery_core::image::DOCKER_HUB;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::RegistrySettings;
use crate::address::{is_link_local, is_loopback, is_metadata, is_metadata_name, is_public};
use crate::site;

/// Where Docker Hub answers the registry protocol.
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// An address that no request is sent to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{host} {detail}")]
pub(crate) struct ForbiddenAddress {
    host: String,
    detail: &'static str,
    pub(crate) hint: &'static str,
}

/// How far a request may reach. Hosts that the operator named are exempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// A registry that somebody named: private ranges are where registries live.
    Registry,
    /// What a registry at a public address names, a token service or the target of a redirect: public addresses only.
    Public,
}

/// The hint for what only the operator can allow.
const NAMED_HINT: &str = "ask the operator to add the host and its port to REGISTRY_TRUSTED_HOSTS, or to \
                          INSECURE_REGISTRIES if it uses plain HTTP";

/// Decides by the operator's settings.
#[derive(Debug)]
pub(crate) struct Guard {
    /// `host[:port]` as named in `INSECURE_REGISTRIES`.
    insecure: BTreeSet<String>,
    /// Hosts that the operator named anywhere, with the port where one was named.
    named: BTreeSet<(String, Option<u16>)>,
    loopback_http: bool,
}

/// A registry's name as logins and settings are compared: without scheme, path and upper case, and one name for
/// Docker Hub.
pub(crate) fn canonical(registry: &str) -> String {
    let lower = registry.trim().to_ascii_lowercase();
    let rest = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://")).unwrap_or(&lower);
    let host = rest.split('/').next().unwrap_or_default();
    match host {
        "index.docker.io" | DOCKER_HUB_HOST => DOCKER_HUB.to_owned(),
        other => other.to_owned(),
    }
}

/// Host and port of `host[:port]` or `[v6]:port`, without brackets.
fn parts(registry: &str) -> (&str, Option<u16>) {
    let v6 = registry.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = v6.unwrap_or_else(|| registry.split_once(':').unwrap_or((registry, "")));
    (host, port.trim_start_matches(':').parse().ok())
}

fn host_of(registry: &str) -> &str {
    parts(registry).0
}

/// The host of a URL, without brackets.
fn bare_host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

fn is_loopback_name(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    host::is_loopback(host) || host.parse().is_ok_and(is_loopback)
}

impl Guard {
    pub(crate) fn new(settings: &RegistrySettings) -> Self {
        let insecure: BTreeSet<String> = settings.insecure.iter().map(|name| canonical(name)).collect();
        let others = settings.trusted.iter().chain(&settings.publish_allow).map(|name| canonical(name));
        let named = |registry: String| {
            let (host, port) = parts(&registry);
            (host.to_owned(), port)
        };
        let named = insecure.iter().cloned().chain(others).map(named).collect();
        Self { insecure, named, loopback_http: settings.loopback_http }
    }

    /// True where plain HTTP is allowed for `registry`.
    pub(crate) fn plain_http(&self, registry: &str) -> bool {
        let registry = canonical(registry);
        self.insecure.contains(&registry) || (self.loopback_http && is_loopback_name(host_of(&registry)))
    }

    /// The root of `registry`'s API under a scheme.
    pub(crate) fn base(registry: &str, scheme: &str) -> Option<Url> {
        let registry = canonical(registry);
        let host = if registry == DOCKER_HUB { DOCKER_HUB_HOST } else { &registry };
        Url::parse(&format!("{scheme}://{host}/v2/")).ok()
    }

    /// Whether a request may be sent to a URL. An address in it is checked here, a name when it is resolved.
    pub(crate) fn check(&self, url: &Url, reach: Reach) -> Result<(), ForbiddenAddress> {
        let host = bare_host(url);
        match host.parse() {
            Ok(ip) => self.check_address(host, ip, self.is_named(url), reach),
            Err(_) if is_metadata_name(host) => Err(ForbiddenAddress::metadata(host)),
            Err(_) => Ok(()),
        }
    }

    /// Whether `registry` may name the token service at a URL: it is on the registry's own site, or the operator named it.
    pub(crate) fn may_name(&self, registry: &str, service: &Url) -> bool {
        self.is_named(service) || site::may_name(host_of(&canonical(registry)), bare_host(service))
    }

    /// Whether the operator named this URL's host and port; a host without a port is named for its scheme's own.
    pub(crate) fn is_named(&self, url: &Url) -> bool {
        let host = bare_host(url);
        [url.port(), url.port_or_known_default()]
            .into_iter()
            .any(|port| self.named.contains(&(host.to_owned(), port)))
    }

    /// Whether the client may see why a connection to this URL failed. Otherwise whoever names a registry could find the
    /// open ports of the server's network.
    pub(crate) fn may_show_cause(&self, url: &Url) -> bool {
        self.is_named(url) || (self.loopback_http && Self::is_direct(url))
    }

    /// Whether requests to this URL bypass the proxies: it is on loopback.
    pub(crate) fn is_direct(url: &Url) -> bool {
        is_loopback_name(bare_host(url))
    }

    fn check_address(
        &self,
        host: &str,
        ip: IpAddr,
        named: bool,
        reach: Reach,
    ) -> Result<(), ForbiddenAddress> {
        let forbid = |detail| Err(ForbiddenAddress { host: host.to_owned(), detail, hint: NAMED_HINT });
        if is_metadata(ip) {
            return Err(ForbiddenAddress::metadata(host));
        }
        if named {
            return Ok(());
        }
        if is_link_local(ip) {
            return forbid("is a link-local address, which is not allowed");
        }
        if is_loopback(ip) && !self.loopback_http {
            return forbid("is a loopback address, which is not allowed");
        }
        if reach == Reach::Public && !is_public(ip) {
            return forbid("is a private address, to which a public registry must not lead");
        }
        Ok(())
    }
}

impl ForbiddenAddress {
    fn metadata(host: &str) -> Self {
        let detail = "is an address of cloud metadata, never of a registry";
        Self { host: host.to_owned(), detail, hint: "name the registry itself" }
    }
}

impl Reach {
    /// How far what a registry names may reach, by the address at which the registry was reached. Behind a proxy that is
    /// the proxy's.
    pub(crate) fn beyond(registry: Option<SocketAddr>) -> Self {
        if registry.is_some_and(|peer| is_public(peer.ip())) { Self::Public } else { Self::Registry }
    }
}

/// Resolves names as the system does, and drops the addresses that the guard forbids.
pub(crate) struct GuardedResolver {
    pub(crate) guard: Arc<Guard>,
    /// Resolves for URLs that the operator named: a resolver is not given the port.
    pub(crate) named: bool,
    pub(crate) reach: Reach,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, named, reach) = (Arc::clone(&self.guard), self.named, self.reach);
        Box::pin(async move {
            let host = name.as_str();
            let mut allowed: Vec<SocketAddr> = Vec::new();
            let mut refused = None;
            for address in tokio::net::lookup_host((host, 0)).await? {
                match guard.check_address(host, address.ip(), named, reach) {
                    Ok(()) => allowed.push(address),
                    Err(forbidden) => refused = Some(forbidden),
                }
            }
            match refused {
                Some(forbidden) if allowed.is_empty() => Err(forbidden.into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(insecure: &[&str], loopback_http: bool) -> Guard {
        Guard::new(&RegistrySettings {
            insecure: insecure.iter().map(ToString::to_string).collect(),
            loopback_http,
            ..RegistrySettings::default()
        })
    }

    fn asks(guard: &Guard, url: &str) -> bool {
        guard.check(&Url::parse(url).unwrap(), Reach::Registry).is_ok()
    }

    #[test]
    fn metadata_is_refused_however_it_is_written_and_whoever_names_it() {
        let guard =
            guard(&["169.254.169.254", "169.254.170.2", "[fd00:ec2::254]", "[::ffff:a9fe:a9fe]"], true);
        for url in [
            "http://169.254.169.254/v2/",
            "http://169.254.170.2:5000/",
            "http://169.254.170.23/",
            "http://[fd00:ec2::254]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[2002:a9fe:a9fe::1]/",
            "http://2852039166/",
            "http://0xa9.0xfe.0xa9.0xfe/",
        ] {
            assert!(!asks(&guard, url), "{url}");
        }
    }

    #[test]
    fn probe_21_metadata_of_every_large_cloud_is_refused() {
        let guard = guard(&["100.100.100.200", "metadata.google.internal"], true);
        for url in [
            "https://100.100.100.200/",
            "https://168.63.129.16/",
            "http://192.0.0.192/",
            "http://169.254.0.23/",
            "http://[fd00:ec2::23]/",
            "http://[fd20:ce::254]/",
            "http://[fd00:c1::a9fe:a9fe]/",
            "http://[fe80::a9fe:a9fe]/",
            "http://[64:ff9b:1::a9fe:a9fe]/",
            "http://metadata.google.internal/computeMetadata/v1/",
            "http://Metadata.Google.Internal./",
        ] {
            assert!(!asks(&guard, url), "{url}");
        }
    }

    #[test]
    fn probe_21_a_public_registry_leads_to_public_addresses_only() {
        let guard = guard(&["10.0.0.9:5000"], true);
        let leads = |url: &str| guard.check(&Url::parse(url).unwrap(), Reach::Public).is_ok();
        for url in [
            "https://10.0.0.5:8443/x",
            "https://127.0.0.1/",
            "https://[fd12::1]/",
            "https://[::ffff:c0a8:1]/",
        ] {
            assert!(!leads(url) && asks(&guard, url), "{url}");
        }
        assert!(leads("https://1.1.1.1/") && leads("https://10.0.0.9:5000/"));
        let beyond = |peer: &str| Reach::beyond(Some(peer.parse().unwrap()));
        assert_eq!([beyond("1.1.1.1:443"), beyond("[2606:4700::1]:443")], [Reach::Public; 2]);
        assert_eq!(
            [beyond("10.0.0.5:443"), beyond("127.0.0.1:443"), Reach::beyond(None)],
            [Reach::Registry; 3]
        );
    }

    #[test]
    fn a_trusted_host_may_have_a_private_address_and_needs_https() {
        let settings =
            RegistrySettings { trusted: vec!["10.0.0.9:8443".into()], ..RegistrySettings::default() };
        let guard = Guard::new(&settings);
        let leads = |url: &str| guard.check(&Url::parse(url).unwrap(), Reach::Public);
        assert!(leads("https://10.0.0.9:8443/").is_ok() && !guard.plain_http("10.0.0.9:8443"));
        assert!(leads("https://10.0.0.9/").unwrap_err().hint.contains("REGISTRY_TRUSTED_HOSTS"));
    }

    #[test]
    fn loopback_and_link_local_are_refused_unless_the_operator_allows_them() {
        let (open, own) = (guard(&["127.0.0.1:5000", "169.254.9.9"], false), guard(&[], true));
        assert!(asks(&open, "http://127.0.0.1:5000/") && asks(&own, "http://127.0.0.1:5000/"));
        assert!(asks(&open, "http://169.254.9.9/") && !asks(&own, "http://169.254.9.9/"));
        for url in ["http://127.0.0.1:5001/", "https://127.0.0.1/", "http://169.254.9.9:8080/"] {
            assert!(!asks(&open, url), "{url}: the operator named another port");
        }
        for url in
            ["http://127.0.0.2/", "http://[::1]:5000/", "http://0.0.0.0:5000/", "http://[::ffff:127.0.0.9]/"]
        {
            assert!(!asks(&open, url), "{url}");
            assert!(asks(&own, url), "{url}");
        }
        assert!(asks(&open, "https://10.0.0.7/"), "private ranges are where registries live");
    }

    #[test]
    fn a_name_is_opened_at_the_port_that_was_named() {
        let guard = guard(&["localhost:5000", "reg.test", "tls.test:443", "[fe80::1]:5000"], false);
        let named = |url: &str| guard.is_named(&Url::parse(url).unwrap());
        for url in [
            "http://localhost:5000/",
            "https://localhost:5000/",
            "https://reg.test/",
            "https://tls.test/",
            "http://[fe80::1]:5000/",
        ] {
            assert!(named(url), "{url}");
        }
        for url in
            ["http://localhost:5001/", "http://localhost/", "http://reg.test:6379/", "http://tls.test/"]
        {
            assert!(!named(url), "{url}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_and_for_named_registries() {
        let guard = guard(&["Reg.test:5000", "[fe80::1]:5000"], true);
        for registry in [
            "reg.test:5000",
            "REG.test:5000",
            "localhost",
            "localhost:5000",
            "127.0.0.1:1",
            "[::1]:5000",
            "[fe80::1]:5000",
        ] {
            assert!(guard.plain_http(registry), "{registry}");
        }
        for registry in ["reg.test", "reg.test:5001", "docker.io", "localhost.test", "10.0.0.1:5000"] {
            assert!(!guard.plain_http(registry), "{registry}");
        }
    }

    #[test]
    fn docker_hub_has_one_name_and_another_address() {
        for name in ["docker.io", "index.docker.io", "https://index.docker.io/v1/", "Registry-1.docker.io"] {
            assert_eq!(canonical(name), "docker.io");
        }
        let url = |registry: &str| Guard::base(registry, "https").unwrap().to_string();
        assert_eq!(url("docker.io"), "https://registry-1.docker.io/v2/");
        assert_eq!(url("[::1]:5000"), "https://[::1]:5000/v2/");
        assert_eq!(url("reg.test:8443"), "https://reg.test:8443/v2/");
    }

    #[tokio::test]
    async fn names_are_checked_by_the_addresses_they_resolve_to() {
        let guard = Arc::new(guard(&[], false));
        let resolver =
            |guard: &Arc<Guard>, named, reach| GuardedResolver { guard: Arc::clone(guard), named, reach };
        let own = resolver(&guard, false, Reach::Registry);
        let Err(error) = own.resolve("localhost".parse().unwrap()).await else {
            panic!("localhost was resolved");
        };
        assert!(error.downcast_ref::<ForbiddenAddress>().is_some(), "{error}");
        let operators = resolver(&guard, true, Reach::Public);
        assert!(operators.resolve("localhost".parse().unwrap()).await.is_ok());
        let guard = Arc::new(self::guard(&[], true));
        assert!(resolver(&guard, false, Reach::Registry).resolve("localhost".parse().unwrap()).await.is_ok());
        let beyond = resolver(&guard, false, Reach::Public).resolve("localhost".parse().unwrap()).await;
        assert!(beyond.is_err(), "a public registry was led to loopback");
    }
}
