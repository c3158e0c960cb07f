//! Whether a registry and a token service belong to one site, so that the one may name the other.
//!
//! Two hosts are of one site if they are equal, or if both are below (or are) one name that somebody has registered. `co.uk`
//! and `github.io` are public suffixes: everybody can register names below them. They are those of the Public Suffix List
//! (<https://publicsuffix.org>), which the crate `psl` contains as it was when that crate was released, and a few more.

/// Token services that a provider runs on another site than its registry: the end of the registry's name, and the host.
const KNOWN: [(&str, &str); 1] = [("scw.cloud", "api.scaleway.com")];

/// Names below which anybody can have a server, directly or several labels deep, and which the list lacks, as a whole or
/// in part.
const SHARED: [&str; 18] = [
    "amazonaws.com",
    "azure.com",
    "azurecontainerapps.io",
    "azurecr.io",
    "github.dev",
    "glitch.me",
    "jfrog.io",
    "koyeb.app",
    "lhr.life",
    "loca.lt",
    "localhost.run",
    "nip.io",
    "pkg.dev",
    "railway.app",
    "run.app",
    "sslip.io",
    "traefik.me",
    "windows.net",
];

/// Whether the registry at `registry` may name the token service at `service`. Both are hosts without port and brackets.
pub(crate) fn may_name(registry: &str, service: &str) -> bool {
    let (registry, service) = (plain(registry), plain(service));
    let known = |(end, host): &(&str, &str)| is_at_or_below(&registry, end) && service == *host;
    registry == service || KNOWN.iter().any(known) || are_one_site(&registry, &service)
}

fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

fn is_at_or_below(host: &str, name: &str) -> bool {
    host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn are_one_site(a: &str, b: &str) -> bool {
    let is_address = |host: &str| host.parse::<std::net::IpAddr>().is_ok();
    if is_address(a) || is_address(b) {
        return false;
    }
    let registered = psl::domain_str(a).filter(|name| psl::domain_str(b) == Some(name));
    registered.is_some_and(|name| !SHARED.iter().any(|shared| is_at_or_below(name, shared)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_21_a_registry_names_token_services_of_its_own_site_only() {
        for (registry, service) in [
            ("docker.io", "auth.docker.io"),
            ("ghcr.io", "ghcr.io"),
            ("gcr.io", "gcr.io"),
            ("eu.gcr.io", "eu.gcr.io"),
            ("europe-docker.pkg.dev", "europe-docker.pkg.dev"),
            ("quay.io", "quay.io"),
            ("registry.gitlab.com", "gitlab.com"),
            ("registry.example.com", "gitlab.example.com"),
            ("registry.example.co.uk", "gitlab.example.co.uk"),
            ("shop.azurecr.io", "shop.azurecr.io"),
            ("public.ecr.aws", "public.ecr.aws"),
            ("registry.connect.redhat.com", "sso.redhat.com"),
            ("docker.elastic.co", "docker-auth.elastic.co"),
            ("registry.digitalocean.com", "api.digitalocean.com"),
            ("rg.fr-par.scw.cloud", "api.scaleway.com"),
            ("registry.cn-hangzhou.aliyuncs.com", "dockerauth.cn-hangzhou.aliyuncs.com"),
            ("Reg.Corp.Local.", "auth.corp.local"),
            ("10.0.0.5", "10.0.0.5"),
            ("::1", "::1"),
            ("registry", "registry"),
        ] {
            assert!(may_name(registry, service), "{registry} -> {service}");
        }
        for (registry, service) in [
            ("evil.test", "vault.internal"),
            ("evil.test", "victim.test"),
            ("evil.co.uk", "victim.co.uk"),
            ("evil.co.uk", "co.uk"),
            ("evil.com.br", "victim.com.br"),
            ("evil.uk.com", "victim.uk.com"),
            ("evil.supabase.co", "victim.supabase.co"),
            ("evil.app.github.dev", "victim.app.github.dev"),
            ("evil.eu-west-1.awsapprunner.com", "victim.eu-west-1.awsapprunner.com"),
            ("evil.github.io", "victim.github.io"),
            ("1.dkr.ecr.eu-central-1.amazonaws.com", "evil.s3.eu-central-1.amazonaws.com"),
            ("a.eastus.cloudapp.azure.com", "b.eastus.cloudapp.azure.com"),
            ("evil.azurecr.io", "shop.azurecr.io"),
            ("evilscw.cloud", "api.scaleway.com"),
            ("rg.fr-par.scw.cloud", "api.scaleway.com.evil.test"),
            ("registry.gitlab.com", "gitlab.com.evil.test"),
            ("notdocker.io", "docker.io"),
            ("1.2.3.4", "9.2.3.4"),
            ("registry", "auth"),
            ("a..", "b.."),
            ("", "a.test"),
        ] {
            assert!(!may_name(registry, service), "{registry} -> {service}");
        }
    }
}
