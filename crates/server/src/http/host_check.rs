//! Which `Host` and `Origin` a request to the public listener may have: no page in a browser uses the server.
//!
//! A page can send requests to every address that its reader's machine reaches. With *DNS rebinding* its own name resolves
//! to that address, so that the browser lets it read the responses as well. It cannot choose two headers: `Host` then is
//! the page's name, and a request that can change something has an `Origin`.
//!
//! * A request with an `Origin` other than the server's own is refused, with or without a token.
//! * Without a token, a request is refused if its `Host` is a name that somebody else's DNS may answer for.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bakery_core::report::shown;
use bakery_core::wire::route;
use http::header::{HOST, ORIGIN};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Uri, Version};

use super::AppState;
use super::problem::{ProblemKind, ProblemResponse};

/// Where the public listener is reached.
#[derive(Debug, Clone)]
pub struct OwnNames {
    /// Its address.
    pub listen: SocketAddr,
    /// `CONTROLLER_URL`.
    pub url: Option<String>,
}

/// The rules of one public listener.
pub(super) struct HostRules {
    listen: SocketAddr,
    url: Option<Uri>,
    /// Only clients with a token are served: then no page can use the server, whatever its name.
    has_token: bool,
}

impl HostRules {
    pub(super) fn new(own: &OwnNames, has_token: bool) -> Self {
        Self { listen: own.listen, url: own.url.as_ref().and_then(|url| url.parse().ok()), has_token }
    }

    fn check(&self, request: &Request) -> Result<(), ProblemResponse> {
        let path = request.uri().path();
        let is_probe = path == route::LIVEZ || path == route::READYZ;
        let mut hosts = request.headers().get_all(HOST).into_iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => Some(authority(host).ok_or_else(|| bad_host("is not valid"))?),
            // The probes of some load balancers use HTTP/1.0, where the header is optional.
            (None, _) if is_probe && request.version() == Version::HTTP_10 => None,
            (None, _) => return Err(bad_host("is missing")),
            (Some(_), Some(_)) => return Err(bad_host("is there more than once")),
        };
        for origin in request.headers().get_all(ORIGIN) {
            if !self.is_own_origin(origin, host.as_ref()) {
                return Err(foreign_origin(origin));
            }
        }
        // Probes of a platform use the address of the container, whatever its network calls it. Agents have a token of
        // their own, and those that run stay on the URL with which they were started.
        if self.has_token || is_probe || path.starts_with("/v1/runs/") {
            return Ok(());
        }
        // A request line with a URL names the host too.
        for host in host.as_ref().into_iter().chain(request.uri().authority()) {
            if !self.is_own_host(host.host()) {
                return Err(foreign_host(host));
            }
        }
        Ok(())
    }

    /// Loopback, the listener's own address, the host of `CONTROLLER_URL`. A listener that other machines reach (with
    /// `BAKERY_OPEN`) is also behind addresses and names that it does not know: there, every address and every name without
    /// a dot is accepted. A page that is reached under one of these has not got it by its own DNS.
    fn is_own_host(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let (own, is_reached) = (self.listen.ip().to_canonical(), !self.listen.ip().is_loopback());
        let is_urls = self.url.as_ref().and_then(Uri::host).is_some_and(|url| url.eq_ignore_ascii_case(host));
        is_urls
            || match ip(host) {
                Some(ip) => is_reached || ip.is_loopback() || ip == own,
                None => is_localhost(host) || is_reached && !host.contains('.'),
            }
    }

    /// The origin of `CONTROLLER_URL`; or that of a page from loopback, at the very host that it asks.
    fn is_own_origin(&self, origin: &HeaderValue, host: Option<&Authority>) -> bool {
        let parsed = origin.to_str().ok().and_then(|text| text.parse::<Uri>().ok());
        let Some(origin) = parsed.filter(|uri| uri.scheme().is_some()) else { return false };
        let is_urls = self.url.as_ref().is_some_and(|own| site(own) == site(&origin));
        let is_local = || {
            let (Some(theirs), Some(asked)) = (origin.authority(), host) else { return false };
            let is_loopback =
                is_localhost(theirs.host()) || ip(theirs.host()).is_some_and(|ip| ip.is_loopback());
            is_loopback && theirs == asked
        };
        is_urls || is_local()
    }
}

/// Refuses what a page of somebody else sends.
pub(super) async fn check(State(app): State<AppState>, request: Request, next: Next) -> Response {
    match app.host_rules.check(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Scheme, host and port, the default port included.
fn site(uri: &Uri) -> (Option<Scheme>, Option<String>, Option<u16>) {
    let default = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let host = uri.host().map(str::to_ascii_lowercase);
    (uri.scheme().cloned(), host, Some(uri.port_u16().unwrap_or(default)))
}

fn authority(host: &HeaderValue) -> Option<Authority> {
    let authority: Authority = host.to_str().ok()?.parse().ok()?;
    (!authority.as_str().contains('@') && !authority.host().is_empty()).then_some(authority)
}

/// The address that a host is, if it is not a name.
fn ip(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

fn is_localhost(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
}

fn bad_host(what: &str) -> ProblemResponse {
    ProblemResponse::new(ProblemKind::BadRequest, format!("the header Host {what}"))
        .hint("send exactly one, with the host of the server's URL")
}

fn foreign_host(host: &Authority) -> ProblemResponse {
    let detail = format!("`{}` is not a name of this server, which requires no token", shown(host.as_str()));
    ProblemResponse::new(ProblemKind::ForeignHost, detail)
        .hint("set CONTROLLER_URL of the server to the URL that clients use, or set a BAKERY_TOKEN")
}

fn foreign_origin(origin: &HeaderValue) -> ProblemResponse {
    let origin = String::from_utf8_lossy(origin.as_bytes());
    let detail = format!("the request comes from a web page of `{}`", shown(&origin));
    ProblemResponse::new(ProblemKind::ForeignOrigin, detail)
        .hint("use bakery-client or curl; only pages at the host of CONTROLLER_URL may call this server")
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn rules(listen: &str, url: Option<&str>, has_token: bool) -> HostRules {
        let own = OwnNames { listen: listen.parse().unwrap(), url: url.map(str::to_owned) };
        HostRules::new(&own, has_token)
    }

    fn ask(rules: &HostRules, path: &str, headers: &[(&str, &str)]) -> Result<(), ProblemKind> {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        rules.check(&request.body(Body::empty()).unwrap()).map_err(|problem| problem.kind())
    }

    const FOREIGN: Result<(), ProblemKind> = Err(ProblemKind::ForeignHost);
    const PAGE: Result<(), ProblemKind> = Err(ProblemKind::ForeignOrigin);
    const BAD: Result<(), ProblemKind> = Err(ProblemKind::BadRequest);

    #[test]
    fn probe_02_without_a_token_a_foreign_host_is_refused() {
        let local = rules("127.0.0.1:3000", Some("https://bakery.example.com"), false);
        let host = |host| ask(&local, route::BUILDS, &[("host", host)]);
        for own in [
            "127.0.0.1:3000",
            "127.0.0.2",
            "localhost",
            "LOCALHOST.:81",
            "[::1]:3000",
            "[::ffff:127.0.0.1]",
            "bakery.example.com",
            "Bakery.Example.com:443",
        ] {
            assert_eq!(host(own), Ok(()), "{own}");
        }
        for foreign in
            ["rebind.evil.test:3000", "localhost.evil.test", "10.0.0.7:3000", "bakery", "[2001:db8::1]:3000"]
        {
            assert_eq!(host(foreign), FOREIGN, "{foreign}");
        }
        for bad in ["", "a b", "me@localhost", "localhost:x:1"] {
            assert_eq!(host(bad), BAD, "{bad}");
        }
        assert_eq!(ask(&local, route::BUILDS, &[]), BAD);
        assert_eq!(ask(&local, route::BUILDS, &[("host", "localhost"), ("host", "localhost")]), BAD);
        assert_eq!(ask(&local, "http://evil.test/v1/builds", &[("host", "localhost")]), FOREIGN);
        // A kubelet asks at the pod's address; agents have their own token.
        for path in [route::LIVEZ, route::READYZ, "/v1/runs/bk-1/order"] {
            assert_eq!(ask(&local, path, &[("host", "10.0.0.7:3000")]), Ok(()), "{path}");
        }
        assert_eq!(ask(&local, route::METRICS, &[("host", "rebind.evil.test")]), FOREIGN);
        let token = rules("127.0.0.1:3000", None, true);
        assert_eq!(ask(&token, route::BUILDS, &[("host", "rebind.evil.test")]), Ok(()), "it has no token");
    }

    #[test]
    fn probe_02_an_open_server_is_reached_by_its_addresses_and_by_controller_url() {
        for listen in ["0.0.0.0:3000", "[::]:3000", "10.0.0.7:3000"] {
            let open = rules(listen, Some("http://bakery.builds.svc:3000"), false);
            let host = |host| ask(&open, route::BUILDS, &[("host", host)]);
            for own in
                ["10.0.0.7:3000", "192.168.1.2", "[fd00::7]:3000", "bakery:3000", "bakery.builds.svc:3000"]
            {
                assert_eq!(host(own), Ok(()), "{own}");
            }
            assert_eq!(host("rebind.evil.test:3000"), FOREIGN);
        }
    }

    #[test]
    fn probe_02_a_foreign_origin_is_refused_with_and_without_a_token() {
        for has_token in [false, true] {
            let rules = rules("127.0.0.1:3000", Some("https://bakery.example.com"), has_token);
            let page = |host, origin| ask(&rules, route::BUILDS, &[("host", host), ("origin", origin)]);
            let (local, public) = ("localhost:3000", "bakery.example.com");
            assert_eq!(page(public, "https://bakery.example.com"), Ok(()));
            assert_eq!(page(public, "https://bakery.example.com:443"), Ok(()));
            assert_eq!(page("127.0.0.1:3000", "http://127.0.0.1:3000"), Ok(()));
            assert_eq!(page(local, "http://localhost:3000"), Ok(()));
            for origin in [
                "http://rebind.evil.test:3000",
                "http://bakery.example.com",
                "https://bakery.example.com:444",
                "http://localhost:8080",
                "http://127.0.0.1:3000",
                "null",
                "",
                "\u{e9}",
            ] {
                assert_eq!(page(local, origin), PAGE, "{origin}");
            }
            let rebound = [("host", public), ("origin", "http://evil.test")];
            assert_eq!(ask(&rules, route::LIVEZ, &rebound), PAGE);
        }
    }
}
