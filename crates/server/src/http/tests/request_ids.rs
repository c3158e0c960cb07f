//! Request ids: in the response, in problem documents and in the server's log.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use bakery_core::image::Digest;
use bakery_core::wire::{REQUEST_ID_HEADER, route};

use super::{TestServer, good, refused, request_id};

/// The lines that a subscriber has written.
#[derive(Clone, Default)]
struct CapturedLog(Arc<Mutex<Vec<u8>>>);

impl Write for CapturedLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn every_request_has_an_id_of_its_own_or_the_callers() {
    let server = TestServer::open(None).await;
    let info = || server.call("GET", route::INFO);
    let (first, second) = (good(info()).await, good(info()).await);
    assert_ne!(request_id(&first), request_id(&second));
    let kept = good(info().header(REQUEST_ID_HEADER, "ci-job-42")).await;
    assert_eq!(request_id(&kept), "ci-job-42");
    let lost =
        refused(server.call("GET", "/nowhere").header(REQUEST_ID_HEADER, "ci-job-43"), 404, "no-such-route");
    assert_eq!(lost.await.request_id.as_deref(), Some("ci-job-43"));
}

#[tokio::test]
async fn a_malformed_id_is_replaced() {
    let server = TestServer::open(None).await;
    let too_long = "x".repeat(129);
    for hostile in ["two words", "a\tb", "<script>", "caf\u{e9}", &too_long] {
        let answer =
            good(server.call("GET", route::INFO).header(REQUEST_ID_HEADER, hostile.as_bytes())).await;
        let id = request_id(&answer);
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hostile:?}: {id}");
    }
}

#[tokio::test]
async fn an_internal_error_has_the_id_under_which_the_log_has_its_cause() {
    let log = CapturedLog::default();
    let out = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || out.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    // With a single subscriber, a span is on or off for all threads as it is for the first that reaches it: another test.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let server = TestServer::open(None).await;
    std::fs::remove_dir_all(server.folder.path().join("contexts/incoming")).unwrap();

    let (id, sha256) = (Digest::of(b"i"), Digest::of(b"blob"));
    let path = format!("{}?sha256={}&len=4", route::context(id.hex()), sha256.hex());
    let problem = refused(server.call("PUT", &path).body("blob"), 500, "internal").await;
    let id = problem.request_id.unwrap();
    assert_eq!(problem.detail, format!("internal error, request {id}: the server's log has the cause"));
    assert!(problem.hint.is_some());

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line = log.lines().find(|line| line.contains("internal error")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains(&id) && line.contains("the context store cannot be written"), "{line}");
}
