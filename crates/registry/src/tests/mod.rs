//! The client against stand-ins; the real registry is in the testkit.

mod push;
mod pushed;
mod realm;
mod stand_in;

use bakery_core::image::Digest;
use bakery_core::names::Arch;
use bakery_core::reason::Reason;
use bakery_core::spec::Credential;
use serde_json::json;

use super::{Registry, RegistrySettings};
use stand_in::{OCI, StandIn, StoredContent, client, members, never, ok, status, two_images, with_header};

const PASSWORD: &str = "ge/h+eim 7";

fn login(server: &StandIn, username: &str) -> Vec<Credential> {
    vec![Credential {
        registry: server.addr.to_string(),
        username: username.to_owned(),
        password: PASSWORD.into(),
    }]
}

#[tokio::test]
async fn an_index_is_pushed_last_and_once() {
    let (content, images) = two_images();
    let server = StandIn::start(move |seen, before| content.serve(seen, before)).await;
    let (registry, destination) = (client(), server.image("shop/cart:7"));
    let members = members(&destination, &images);
    let digest = registry.publish_index(&destination, &members, &[], &never()).await.unwrap();
    let seen = server.seen();
    let put = seen.last().unwrap();
    assert_eq!((put.method.as_str(), put.path.as_str()), ("PUT", "/v2/shop/cart/manifests/7"));
    assert_eq!(Digest::of(put.body.as_bytes()), digest);
    assert_eq!(registry.publish_index(&destination, &members, &[], &never()).await.unwrap(), digest);
    assert_eq!(server.count("PUT"), 1, "what is there is not pushed again");
    assert_eq!(registry.digest_of(&destination, &[]).await.unwrap(), Some(digest));
    assert_eq!(registry.digest_of(&server.image("shop/cart:8"), &[]).await.unwrap(), None);
    let platforms = registry.platforms_of(&destination, &[]).await.unwrap();
    assert_eq!(platforms.into_iter().map(|(arch, digest)| (digest, arch)).collect::<Vec<_>>(), images);
}

#[tokio::test]
async fn a_plain_image_has_the_architecture_of_its_config() {
    let mut content = StoredContent::default();
    let digest = content.image("a", "arm64", OCI);
    let server = StandIn::start(move |seen, before| content.serve(seen, before)).await;
    let image = server.image("a").with_digest(digest.clone());
    assert_eq!(client().platforms_of(&image, &[]).await.unwrap(), [(Arch::Arm64, digest)].into());
    let missing = client().platforms_of(&server.image("a:nowhere"), &[]).await.unwrap_err();
    assert_eq!(missing.reason, Reason::ImagePull);
}

#[tokio::test]
async fn an_image_of_another_architecture_publishes_nothing() {
    let mut content = StoredContent::default();
    let amd64 = content.image("shop/cart", "amd64", OCI);
    let s390x = content.image("shop/cart", "s390x", OCI);
    let server = StandIn::start(move |seen, before| content.serve(seen, before)).await;
    let destination = server.image("shop/cart:7");
    let publish = async |digest: Digest| {
        let images = [(amd64.clone(), Arch::Amd64), (digest, Arch::Arm64)];
        client()
            .publish_index(&destination, &members(&destination, &images), &[], &never())
            .await
            .unwrap_err()
    };
    let wrong = publish(s390x).await;
    assert_eq!(wrong.reason, Reason::WrongArch);
    assert!(wrong.text.contains("linux/s390x") && wrong.text.contains("shop/cart:7_arm64"), "{wrong}");
    let missing = publish(Digest::of(b"nothing")).await;
    assert_eq!(missing.reason, Reason::PushRefused);
    assert_eq!(server.count("PUT"), 0);
}

#[tokio::test]
async fn content_that_does_not_match_its_digest_is_refused() {
    let (content, images) = two_images();
    let server = StandIn::start(move |seen, before| {
        let lie = seen.path.contains("/manifests/sha256:");
        if lie {
            ok(OCI, json!({ "schemaVersion": 2, "config": {}, "layers": [] }).to_string())
        } else {
            content.serve(seen, before)
        }
    })
    .await;
    let destination = server.image("shop/cart:7");
    let error = client()
        .publish_index(&destination, &members(&destination, &images), &[], &never())
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::PushRefused);
    assert_eq!(server.count("PUT"), 0);
}

#[tokio::test]
async fn a_busy_registry_is_asked_again() {
    let (content, images) = two_images();
    let server = StandIn::start(move |seen, before| match (seen.method.as_str(), before.len()) {
        ("PUT", _) if before.last().is_some_and(|last| last.method != "PUT") => {
            with_header(429, "retry-after", "0")
        }
        ("GET", 1) => status(503),
        _ => content.serve(seen, before),
    })
    .await;
    let destination = server.image("shop/cart:7");
    client().publish_index(&destination, &members(&destination, &images), &[], &never()).await.unwrap();
    assert_eq!(server.count("PUT"), 2);
}

#[tokio::test]
async fn patience_has_an_end() {
    let server = StandIn::start(|_, _| status(503)).await;
    let error = client().digest_of(&server.image("a:1"), &[]).await.unwrap_err();
    assert_eq!((error.reason, server.seen().len()), (Reason::RegistryUnreachable, 5));
    let server = StandIn::start(|_, _| with_header(429, "retry-after", "3600")).await;
    let error = client().digest_of(&server.image("a:1"), &[]).await.unwrap_err();
    assert_eq!((error.reason, server.seen().len()), (Reason::RegistryUnreachable, 1));
    assert!(error.text.contains("too many requests"), "{error}");
}

#[tokio::test]
async fn an_unreachable_registry_is_named_in_the_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let image = format!("{addr}/a:1").parse().unwrap();
    let error = client().digest_of(&image, &[]).await.unwrap_err();
    assert_eq!(error.reason, Reason::RegistryUnreachable);
    assert!(error.text.contains(&addr.to_string()) && error.hint.is_some(), "{error}");
}

/// A registry whose own paths want `Bearer good`, with its token service beside it; `issue` answers that.
async fn with_tokens(
    issue: impl Fn(&stand_in::RecordedRequest) -> axum::response::Response + Send + Sync + 'static,
) -> StandIn {
    let (content, _) = two_images();
    let realm = std::sync::Arc::new(std::sync::OnceLock::new());
    let known = std::sync::Arc::clone(&realm);
    let server = StandIn::start(move |seen, before| {
        if seen.path == "/token" {
            return issue(seen);
        }
        if seen.authorization.as_deref() == Some("Bearer good") {
            return content.serve(seen, before);
        }
        let realm = known.get().cloned().unwrap_or_default();
        let challenge =
            format!(r#"Bearer realm="{realm}",service="reg & co",scope="repository:shop/cart:pull""#);
        with_header(401, "www-authenticate", &challenge)
    })
    .await;
    realm.set(format!("http://{}/token", server.addr)).unwrap();
    server
}

fn token(text: &str) -> axum::response::Response {
    ok("application/json", json!({ "token": text, "expires_in": 300 }).to_string())
}

#[tokio::test]
async fn one_token_serves_a_whole_publication_and_one_login_only() {
    let server = with_tokens(|seen| {
        let right = seen.query.contains("scope=repository%3Ashop%2Fcart%3Apull%2Cpush")
            && seen.query.contains("service=reg+%26+co");
        let known = seen.authorization.as_deref().is_some_and(|basic| basic.starts_with("Basic "));
        if right && known { token("good") } else { status(401) }
    })
    .await;
    let (_, images) = two_images();
    let (registry, destination) = (client(), server.image("shop/cart:7"));
    let members = members(&destination, &images);
    registry.publish_index(&destination, &members, &login(&server, "me"), &never()).await.unwrap();
    let asked = |server: &StandIn| server.seen().iter().filter(|seen| seen.path == "/token").count();
    assert_eq!(asked(&server), 1);
    registry.publish_index(&destination, &members, &login(&server, "you"), &never()).await.unwrap();
    assert_eq!(asked(&server), 2, "another login has a token of its own");
    let error = registry.publish_index(&destination, &members, &[], &never()).await.unwrap_err();
    assert_eq!(error.reason, Reason::CredentialsRefused, "nor does none");
    assert!(error.hint.unwrap().contains("kaniko-credentials"));
}

#[tokio::test]
async fn refused_logins_are_reported_without_their_secrets() {
    let (_, images) = two_images();
    for issue in [|_: &stand_in::RecordedRequest| status(401), |_: &stand_in::RecordedRequest| token("bad")] {
        let server = with_tokens(issue).await;
        let destination = server.image("shop/cart:7");
        let members = members(&destination, &images);
        let error = client()
            .publish_index(&destination, &members, &login(&server, "me"), &never())
            .await
            .unwrap_err();
        assert_eq!(error.reason, Reason::CredentialsRefused);
        assert!(error.text.contains("`me`") && !format!("{error:?}").contains(PASSWORD), "{error:?}");
    }
    let server = StandIn::start(|seen, _| {
        let body = json!({ "errors": [{ "code": "DENIED", "message": format!("{} {:?}", PASSWORD, seen.authorization) }] });
        let mut response = ok("application/json", body.to_string());
        *response.status_mut() = http::StatusCode::UNAUTHORIZED;
        response.headers_mut().insert("www-authenticate", "Basic realm=x".parse().unwrap());
        response
    })
    .await;
    let error = client().platforms_of(&server.image("a:1"), &login(&server, "me")).await.unwrap_err();
    let sent = server.seen().last().unwrap().authorization.clone().unwrap();
    let encoded = sent.strip_prefix("Basic ").unwrap();
    assert!(
        error.text.contains("DENIED") && !error.text.contains(PASSWORD) && !error.text.contains(encoded),
        "{error}"
    );
}

#[tokio::test]
async fn issuers_without_a_get_are_asked_by_post_and_identity_tokens_are_refreshed() {
    let server = with_tokens(|seen| {
        let password = "grant_type=password&username=me&password=ge%2Fh%2Beim+7&";
        let refresh = "grant_type=refresh_token&refresh_token=ge%2Fh%2Beim+7&";
        match seen.method.as_str() {
            "POST" if seen.body.starts_with(password) || seen.body.starts_with(refresh) => {
                ok("application/json", json!({ "access_token": "good" }).to_string())
            }
            _ => status(405),
        }
    })
    .await;
    for user in ["me", "<token>"] {
        let digest = client().digest_of(&server.image("shop/cart:7"), &login(&server, user)).await;
        assert_eq!(digest.unwrap(), None, "{user}");
    }
}

#[tokio::test]
async fn a_token_that_ran_out_is_renewed_once() {
    let (content, images) = two_images();
    let server = StandIn::start(move |seen, before| {
        let issued = before.iter().filter(|old| old.path == "/token").count();
        if seen.path == "/token" {
            return token(&format!("t{issued}"));
        }
        // The first token is good for two answers only.
        let used = before.iter().filter(|old| old.authorization.as_deref() == Some("Bearer t0")).count();
        let good = match seen.authorization.as_deref() {
            Some("Bearer t0") => used < 2,
            Some("Bearer t1") => true,
            _ => false,
        };
        if good {
            return content.serve(seen, before);
        }
        // The host header would do in a real one; the stand-in's own address is only known to its caller.
        let realm = before.iter().find_map(|old| old.query.strip_prefix("me=")).unwrap_or_default();
        with_header(
            401,
            "www-authenticate",
            &format!(r#"Bearer realm="http://{realm}/token",error="invalid_token""#),
        )
    })
    .await;
    reqwest::get(format!("http://{0}/hello?me={0}", server.addr)).await.unwrap();
    let destination = server.image("shop/cart:7");
    client().publish_index(&destination, &members(&destination, &images), &[], &never()).await.unwrap();
    assert_eq!(server.seen().iter().filter(|seen| seen.path == "/token").count(), 2);
}

#[tokio::test]
async fn a_realm_or_redirect_cannot_lead_inside() {
    for realm in
        ["http://169.254.169.254/latest", "http://[fd00:ec2::254]/", "ftp://x/", "http://169.254.1.1/"]
    {
        let challenge = format!(r#"Bearer realm="{realm}""#);
        let server = StandIn::start(move |_, _| with_header(401, "www-authenticate", &challenge)).await;
        let error = client().digest_of(&server.image("a:1"), &login(&server, "me")).await.unwrap_err();
        assert_eq!(error.reason, Reason::CredentialsRefused, "{realm}: {error}");
    }
    for target in
        ["http://169.254.169.254/latest", "https://169.254.170.2/", "http://10.0.0.1/plain", "gopher://x"]
    {
        let server = StandIn::start(move |_, _| with_header(307, "location", target)).await;
        let error = client().digest_of(&server.image("a:1"), &[]).await.unwrap_err();
        assert_eq!((error.reason, server.seen().len()), (Reason::PushRefused, 1), "{target}: {error}");
    }
    // A login in an address would be sent as one.
    let server = StandIn::start(|_, _| with_header(307, "location", "http://u:p@127.0.0.1:9/z")).await;
    let error = client().digest_of(&server.image("a:1"), &[]).await.unwrap_err();
    assert!(error.text.contains("an address with a login in it") && server.seen().len() == 1, "{error}");
    let other = Registry::new(RegistrySettings::default());
    let error = other.digest_of(&"127.0.0.1:1/a:1".parse().unwrap(), &[]).await.unwrap_err();
    assert!(
        error.hint.unwrap().contains("REGISTRY_TRUSTED_HOSTS"),
        "a server for others keeps off its own loopback"
    );
    let insecure = vec!["localhost:5000".to_owned()];
    let other = Registry::new(RegistrySettings { insecure, ..RegistrySettings::default() });
    let error = other.digest_of(&"localhost:1/a:1".parse().unwrap(), &[]).await.unwrap_err();
    assert!(
        error.text.contains("is a loopback address, which is not allowed"),
        "a named port opens no other: {error}"
    );
}

#[tokio::test]
async fn blobs_may_be_on_another_host_and_the_login_is_not_sent_there() {
    let mut content = StoredContent::default();
    let digest = content.image("a", "amd64", OCI);
    let store = content.clone();
    let elsewhere = StandIn::start(move |seen, before| store.serve(seen, before)).await;
    let away = format!("http://{}", elsewhere.addr);
    let server = StandIn::start(move |seen, before| match &seen.authorization {
        None => with_header(401, "www-authenticate", "Basic realm=x"),
        Some(_) if seen.path.contains("/blobs/") => {
            with_header(307, "location", &format!("{away}{}", seen.path))
        }
        Some(_) => content.serve(seen, before),
    })
    .await;
    let image = server.image("a").with_digest(digest);
    assert_eq!(client().platforms_of(&image, &login(&server, "me")).await.unwrap().len(), 1);
    let asked = elsewhere.seen();
    assert_eq!((asked.len(), asked[0].authorization.as_deref()), (1, None));
}

#[tokio::test]
async fn an_endless_response_is_cut_off() {
    let server = StandIn::start(|_, _| ok(OCI, vec![b' '; 5 << 20])).await;
    let error = client().platforms_of(&server.image("a:1"), &[]).await.unwrap_err();
    assert!(error.text.contains("larger than"), "{error}");
}

#[tokio::test]
async fn publishing_can_be_narrowed() {
    let publish_allow = vec!["reg.test/shop".to_owned()];
    let registry = Registry::new(RegistrySettings { publish_allow, ..RegistrySettings::default() });
    assert!(registry.may_publish(&"reg.test/shop/cart:7".parse().unwrap()).is_ok());
    let elsewhere = "reg.test/other:7".parse().unwrap();
    let error = registry.publish_index(&elsewhere, &[], &[], &never()).await.unwrap_err();
    assert_eq!(error.reason, Reason::PushRefused);
    assert!(error.text.contains("published: reg.test/shop"), "{error}");
}
