//! Whether a registry and a token service belong to one site, so that the one may name the other.
//!
//! Two hosts are of one site if they are equal, or if both are below (or are) one name of at least two labels under which
//! not everybody can register names of their own. `co.uk` and `github.io` are such public names; the list here has those
//! under which strangers offer servers, and the usual second levels of countries. It is not the whole Public Suffix List.

/// Token services that a provider runs on another site than its registry: the end of the registry's name, and the host.
const KNOWN: [(&str, &str); 1] = [("scw.cloud", "api.scaleway.com")];

/// Second levels under which countries register names, such as `co` in `co.uk`.
const COUNTRY_LEVELS: [&str; 22] = [
    "ac", "asso", "co", "com", "edu", "firm", "gob", "gouv", "gov", "go", "gv", "ltd", "mil", "ne", "net",
    "nom", "or", "org", "plc", "sch", "web", "k12",
];

/// Names below which anybody can have a server, directly or several labels deep.
const SHARED: [&str; 56] = [
    "amazonaws.com",
    "appspot.com",
    "awsapprunner.com",
    "azure-api.net",
    "azure.com",
    "azurecontainer.io",
    "azurecontainerapps.io",
    "azurecr.io",
    "azureedge.net",
    "azurefd.net",
    "azurewebsites.net",
    "blogspot.com",
    "cloudapp.net",
    "cloudfront.net",
    "cloudfunctions.net",
    "code.run",
    "ddns.net",
    "deno.dev",
    "digitaloceanspaces.com",
    "duckdns.org",
    "dyndns.org",
    "eu.org",
    "firebaseapp.com",
    "fly.dev",
    "github.io",
    "gitlab.io",
    "glitch.me",
    "herokuapp.com",
    "hf.space",
    "jfrog.io",
    "koyeb.app",
    "lhr.life",
    "loca.lt",
    "localhost.run",
    "myqnapcloud.com",
    "netlify.app",
    "ngrok-free.app",
    "ngrok.app",
    "ngrok.io",
    "nip.io",
    "no-ip.org",
    "ondigitalocean.app",
    "onrender.com",
    "pages.dev",
    "pkg.dev",
    "railway.app",
    "run.app",
    "sslip.io",
    "synology.me",
    "traefik.me",
    "trycloudflare.com",
    "ts.net",
    "vercel.app",
    "web.app",
    "windows.net",
    "workers.dev",
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
    let equal = a.rsplit('.').zip(b.rsplit('.')).take_while(|(a, b)| a == b && !a.is_empty());
    let mut shared: Vec<&str> = equal.map(|(label, _)| label).collect();
    shared.reverse();
    shared.len() >= 2 && !is_public_name(&shared)
}

/// Whether strangers can register names directly below this one.
fn is_public_name(labels: &[&str]) -> bool {
    let name = labels.join(".");
    let of_country = match labels {
        [level, country] => country.len() == 2 && COUNTRY_LEVELS.contains(level),
        _ => false,
    };
    of_country || SHARED.iter().any(|shared| is_at_or_below(&name, shared))
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
