//! Where a registry's challenge may lead: probes 21 and 22.

use super::*;

/// A registry that names a token service on another host, and that service.
async fn deputy(path: &'static str) -> (StandIn, StandIn) {
    let service = StandIn::start(|_, _| token("good")).await;
    // The same machine under another name.
    let realm = format!("http://localhost:{}{path}", service.addr.port());
    let registry = StandIn::start(move |seen, _| match seen.authorization.as_deref() {
        Some("Bearer good") => status(404),
        _ => with_header(401, "www-authenticate", &format!(r#"Bearer realm="{realm}",service="x""#)),
    })
    .await;
    (registry, service)
}

#[tokio::test]
async fn probe_21_a_token_service_on_another_site_gets_no_request() {
    let (registry, service) = deputy("/any/path?x=y").await;
    let error = client().digest_of(&registry.image("a:1"), &[]).await.unwrap_err();
    assert_eq!((error.reason, service.seen().len()), (Reason::CredentialsRefused, 0));
    let host = format!("localhost:{}", service.addr.port());
    assert!(error.text.contains(&format!("on another site, {host}: it was not asked")), "{error}");
    assert!(error.hint.unwrap().contains("ask the operator to add it to REGISTRY_TRUSTED_HOSTS"));
    assert!(registry.seen().iter().all(|seen| seen.authorization.is_none()), "nothing was passed on");
}

#[tokio::test]
async fn probe_22_a_login_goes_to_another_site_only_if_the_operator_names_it() {
    let (registry, service) = deputy("/token").await;
    let image = registry.image("a:1");
    assert!(client().digest_of(&image, &login(&registry, "ci")).await.is_err());
    assert_eq!(service.seen().len(), 0);
    let named = vec![format!("localhost:{}", service.addr.port())];
    for settings in [
        RegistrySettings { trusted: named.clone(), ..RegistrySettings::default() },
        RegistrySettings { insecure: named.clone(), ..RegistrySettings::default() },
        RegistrySettings { publish_allow: named.clone(), ..RegistrySettings::default() },
    ] {
        let before = service.seen().len();
        let client = Registry::new(RegistrySettings { loopback_http: true, ..settings });
        assert_eq!(client.digest_of(&image, &login(&registry, "ci")).await.unwrap(), None);
        let asked = service.seen().split_off(before);
        assert!(asked.len() == 1 && asked[0].authorization.is_some(), "{asked:?}");
    }
}

#[tokio::test]
async fn probe_22_a_write_is_not_redirected_and_takes_no_login_elsewhere() {
    let elsewhere = StandIn::start(|_, _| status(201)).await;
    for code in [301, 302, 303, 307, 308] {
        let (content, images) = two_images();
        let target = format!("http://{}/v2/shop/cart/manifests/7", elsewhere.addr);
        let server = StandIn::start(move |seen, before| match (&seen.authorization, seen.method.as_str()) {
            (None, _) => with_header(401, "www-authenticate", "Basic realm=x"),
            (Some(_), "PUT") => with_header(code, "location", &target),
            _ => content.serve(seen, before),
        })
        .await;
        let destination = server.image("shop/cart:7");
        let members = members(&destination, &images);
        let published = client().publish_index(&destination, &members, &login(&server, "me"), &never()).await;
        let error = published.unwrap_err();
        assert!(error.text.contains("redirects a write"), "{code}: {error}");
    }
    assert_eq!(elsewhere.seen().len(), 0);
}

#[tokio::test]
async fn probe_21_a_token_service_redirects_nowhere_else() {
    let elsewhere = StandIn::start(|_, _| token("good")).await;
    for code in [301, 302, 303, 307, 308] {
        // The same host as the registry's, so that the service itself may be asked, and then another port.
        let target = format!("http://{}/v1/secret", elsewhere.addr);
        let server = with_tokens(move |_| with_header(code, "location", &target)).await;
        for user in ["me", "<token>"] {
            let image = server.image("shop/cart:7");
            let error = client().digest_of(&image, &login(&server, user)).await.unwrap_err();
            assert_eq!(error.reason, Reason::CredentialsRefused, "{code}: {error}");
            assert!(error.text.contains("the token service: it redirects, which is not followed"), "{error}");
        }
        assert_eq!(server.seen().iter().filter(|seen| seen.path == "/token").count(), 2);
    }
    assert_eq!(elsewhere.seen().len(), 0);
}
