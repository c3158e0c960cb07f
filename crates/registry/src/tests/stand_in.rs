//! A stand-in for a registry: responds as a test defines, and records the requests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use bakery_core::image::{Digest, ImageRef};
use bakery_core::names::Arch;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Member, Registry, RegistrySettings};

pub(super) const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

/// One request, as received.
#[derive(Debug, Clone)]
pub(super) struct RecordedRequest {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) authorization: Option<String>,
    pub(super) body: String,
}

type Handler = dyn Fn(&RecordedRequest, &[RecordedRequest]) -> Response + Send + Sync;

/// The server. Ends when it is dropped.
pub(super) struct StandIn {
    pub(super) addr: SocketAddr,
    seen: Arc<Mutex<Vec<RecordedRequest>>>,
    _task: JoinSet<()>,
}

impl StandIn {
    /// `answer` gets the request and all that came before it.
    pub(super) async fn start(
        answer: impl Fn(&RecordedRequest, &[RecordedRequest]) -> Response + Send + Sync + 'static,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<RecordedRequest>>> = Arc::default();
        let answer: Arc<Handler> = Arc::new(answer);
        let all = Arc::clone(&seen);
        let app = axum::Router::new().fallback(move |request: Request| {
            let (answer, all) = (Arc::clone(&answer), Arc::clone(&all));
            async move {
                let (head, body) = request.into_parts();
                let text = |name| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
                let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
                let seen = RecordedRequest {
                    method: head.method.to_string(),
                    path: head.uri.path().to_owned(),
                    query: head.uri.query().unwrap_or_default().to_owned(),
                    authorization: text("authorization"),
                    body: String::from_utf8(body.to_vec()).unwrap(),
                };
                let response = {
                    let mut all = all.lock().unwrap();
                    let response = answer(&seen, &all);
                    all.push(seen);
                    response
                };
                if response.extensions().get::<NoResponse>().is_some() {
                    std::future::pending::<()>().await;
                }
                response
            }
        });
        let mut task = JoinSet::new();
        task.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { addr, seen, _task: task }
    }

    pub(super) fn image(&self, rest: &str) -> ImageRef {
        format!("{}/{rest}", self.addr).parse().unwrap()
    }

    /// The requests so far, without the probe for the scheme.
    pub(super) fn seen(&self) -> Vec<RecordedRequest> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.path != "/v2/").cloned().collect()
    }

    pub(super) fn count(&self, method: &str) -> usize {
        self.seen().iter().filter(|seen| seen.method == method).count()
    }
}

pub(super) fn client() -> Registry {
    Registry::new(RegistrySettings { loopback_http: true, ..RegistrySettings::default() })
}

#[derive(Clone)]
struct NoResponse;

/// No response at all, for as long as the client waits.
pub(super) fn silence() -> Response {
    Response::builder().extension(NoResponse).body(Body::empty()).unwrap()
}

pub(super) fn never() -> CancellationToken {
    CancellationToken::new()
}

pub(super) fn status(code: u16) -> Response {
    Response::builder().status(code).body(Body::empty()).unwrap()
}

pub(super) fn with_header(code: u16, name: &str, value: &str) -> Response {
    Response::builder().status(code).header(name, value).body(Body::empty()).unwrap()
}

pub(super) fn ok(content_type: &str, body: impl Into<Bytes>) -> Response {
    Response::builder().header("content-type", content_type).body(Body::from(body.into())).unwrap()
}

/// What the registry stores: paths below `/v2/`.
#[derive(Clone, Default)]
pub(super) struct StoredContent(BTreeMap<String, (String, Vec<u8>)>);

impl StoredContent {
    /// One image in `repository`; gives the digest of its manifest.
    pub(super) fn image(&mut self, repository: &str, arch: &str, media_type: &str) -> Digest {
        let config = json!({ "os": "linux", "architecture": arch, "rootfs": {} }).to_string().into_bytes();
        let config_digest = Digest::of(&config);
        let descriptor =
            json!({ "mediaType": "x/y", "digest": config_digest.as_str(), "size": config.len() });
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": media_type, "config": descriptor, "layers": [] });
        let manifest = manifest.to_string().into_bytes();
        let digest = Digest::of(&manifest);
        self.0.insert(format!("{repository}/blobs/{config_digest}"), ("octets".to_owned(), config));
        self.0.insert(format!("{repository}/manifests/{digest}"), (media_type.to_owned(), manifest));
        digest
    }

    /// Answers reads; a write is remembered by the stand-in and read back from there.
    pub(super) fn serve(&self, seen: &RecordedRequest, before: &[RecordedRequest]) -> Response {
        if seen.method == "PUT" {
            return status(201);
        }
        let path = seen.path.trim_start_matches("/v2/");
        let written = before.iter().rev().find(|old| old.method == "PUT" && old.path == seen.path);
        if let Some(written) = written {
            let body = written.body.clone();
            let digest = Digest::of(body.as_bytes());
            let mut response = ok("application/vnd.oci.image.index.v1+json", body);
            response.headers_mut().insert("docker-content-digest", digest.as_str().parse().unwrap());
            return response;
        }
        self.0.get(path).map_or_else(|| status(404), |(media_type, bytes)| ok(media_type, bytes.clone()))
    }
}

/// Two images in `shop/cart`, ready to be published.
pub(super) fn two_images() -> (StoredContent, Vec<(Digest, Arch)>) {
    let mut content = StoredContent::default();
    let digests =
        [Arch::Amd64, Arch::Arm64].map(|arch| (content.image("shop/cart", arch.as_str(), OCI), arch));
    (content, digests.to_vec())
}

pub(super) fn members(destination: &ImageRef, images: &[(Digest, Arch)]) -> Vec<Member> {
    let member = |(digest, arch): &(Digest, Arch)| Member {
        image: destination.for_arch(*arch, 1),
        digest: digest.clone(),
        arch: *arch,
    };
    images.iter().map(member).collect()
}
