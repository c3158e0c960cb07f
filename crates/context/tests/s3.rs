//! A bucket that s3s-fs serves in this process; it verifies signatures.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bakery_context::s3::{PutOutcome, S3Error, S3Settings, S3Store, StaticKeys};
use bakery_core::message::Hint as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

const SECRET: &str = "hunter2-hunter2";

/// A store with one bucket, `builds`, that records its requests.
struct Served {
    folder: tempfile::TempDir,
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    count: watch::Receiver<usize>,
    _server: JoinSet<()>,
}

impl Served {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("store/builds")).unwrap();
        let mut service =
            S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path().join("store")).unwrap());
        service.set_auth(SimpleAuth::from_single("baker", SECRET));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (counter, count) = watch::channel(0);
        let mut server = JoinSet::new();
        let record = Arc::clone(&asked);
        server.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (service, record, counter) = (service.clone(), Arc::clone(&record), counter.clone());
                connections.spawn(async move {
                    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                        let line = format!("{} {}", request.method(), request.uri());
                        record.lock().unwrap().push(line);
                        counter.send_modify(|count| *count += 1);
                        let service = service.clone();
                        async move { service.call(request.map(s3s::Body::from)).await }
                    });
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { folder, address, asked, count, _server: server }
    }

    fn settings(address: SocketAddr) -> S3Settings {
        S3Settings {
            bucket: "builds".to_owned(),
            region: "us-east-1".to_owned(),
            endpoint: Some(format!("http://{address}")),
            keys: Some(StaticKeys::new("baker", SECRET)),
        }
    }

    async fn store(&self) -> S3Store {
        S3Store::new(&Self::settings(self.address)).await
    }

    fn file(&self, name: &str, len: usize) -> (PathBuf, Vec<u8>) {
        let bytes: Vec<u8> = (0..len).map(|at| ((at / 4096 * 31 + at) % 251).to_le_bytes()[0]).collect();
        let path = self.folder.path().join(name);
        fs::write(&path, &bytes).unwrap();
        (path, bytes)
    }

    fn object(&self, key: &str) -> PathBuf {
        self.folder.path().join("store/builds").join(key)
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

async fn read(store: &S3Store, key: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.get(key).await.unwrap().into_reader().read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn a_key_is_written_once_with_one_request_and_one_permission() {
    let served = Served::start().await;
    let store = served.store().await;
    let (file, bytes) = served.file("blob", 300_000);
    assert_eq!(store.put_if_absent("contexts/a.tar.gz", &file).await.unwrap(), PutOutcome::Stored);
    assert_eq!(served.asked(), ["PUT /builds/contexts/a.tar.gz?x-id=PutObject"]);
    let (other, _) = served.file("other", 10);
    assert_eq!(store.put_if_absent("contexts/a.tar.gz", &other).await.unwrap(), PutOutcome::Present);
    assert_eq!(served.asked(), ["PUT /builds/contexts/a.tar.gz?x-id=PutObject"]);
    assert_eq!(read(&store, "contexts/a.tar.gz").await, bytes);
    store.put("contexts/a.tar.gz", &other, std::future::pending()).await.unwrap();
    assert_eq!(fs::read(served.object("contexts/a.tar.gz")).unwrap(), fs::read(other).unwrap());
}

#[tokio::test]
async fn a_large_file_is_sent_in_parts_and_written_once() {
    let served = Served::start().await;
    let store = served.store().await;
    let (file, bytes) = served.file("blob", (64 << 20) + 5);
    assert_eq!(store.put_if_absent("large", &file).await.unwrap(), PutOutcome::Stored);
    let parts = served.asked().iter().filter(|line| line.contains("partNumber=")).count();
    assert_eq!(parts, 9);
    assert!(read(&store, "large").await == bytes);
    served.asked();
    assert_eq!(store.put_if_absent("large", &file).await.unwrap(), PutOutcome::Present);
    let asked = served.asked();
    assert!(asked.last().unwrap().starts_with("DELETE /builds/large?"), "{asked:?}");
    assert!(asked.iter().all(|line| !line.starts_with("HEAD")), "{asked:?}");
}

#[tokio::test]
async fn a_stopped_upload_is_aborted() {
    let served = Served::start().await;
    let store = served.store().await;
    let (file, _) = served.file("blob", (64 << 20) + 5);
    let mut count = served.count.clone();
    let two_asked = async move {
        count.wait_for(|count| *count >= 2).await.unwrap();
    };
    let stopped = store.put_if_absent_until("large", &file, two_asked).await;
    assert!(matches!(stopped, Err(S3Error::Stopped { .. })), "{stopped:?}");
    let asked = served.asked();
    assert!(asked.last().unwrap().starts_with("DELETE /builds/large?"), "{asked:?}");
    assert!(!served.object("large").exists());
}

#[tokio::test]
async fn an_interrupted_download_is_resumed() {
    let served = Served::start().await;
    let (file, bytes) = served.file("blob", 3 << 20);
    served.store().await.put_if_absent("blob", &file).await.unwrap();
    served.asked();
    let cutting = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = S3Store::new(&Served::settings(cutting.local_addr().unwrap())).await;
    let upstream = served.address;
    let mut proxy = JoinSet::new();
    proxy.spawn(async move {
        // The first two connections are closed after a megabyte of the answer.
        for left in [1 << 20, 1 << 20, u64::MAX] {
            let (mut down, _) = cutting.accept().await.unwrap();
            let (mut from, mut to) = down.split();
            let mut up = TcpStream::connect(upstream).await.unwrap();
            let (answer, mut request) = up.split();
            let mut answer = answer.take(left);
            tokio::select! {
                _ = copy(&mut from, &mut request) => {}
                _ = copy(&mut answer, &mut to) => {}
            }
            let _ = to.shutdown().await;
        }
    });
    // The request is signed for the host of the proxy, and the store verifies it under that name.
    assert!(read(&store, "blob").await == bytes);
    assert_eq!(served.asked().len(), 3);
}

#[tokio::test]
async fn errors_name_the_setting_to_check_and_no_key() {
    let served = Served::start().await;
    let (file, _) = served.file("blob", 1000);
    let with = |change: &dyn Fn(&mut S3Settings)| {
        let mut settings = Served::settings(served.address);
        change(&mut settings);
        settings
    };
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = unused.local_addr().unwrap();
    drop(unused);
    let table = [
        (
            with(&|s| s.keys = Some(StaticKeys::new("baker", "wrong"))),
            "SignatureDoesNotMatch",
            "S3_SECRET_KEY",
        ),
        (with(&|s| s.keys = Some(StaticKeys::new("thief", "wrong"))), "403", "s3:PutObject"),
        (with(&|s| s.endpoint = Some(format!("http://{nobody}"))), "no answer", "S3_ENDPOINT"),
        (with(&|s| s.endpoint = Some(format!("https://{}", served.address))), "no answer", "S3_SSL"),
    ];
    for (settings, text, hint) in table {
        let error = S3Store::new(&settings).await.put_if_absent("k", &file).await;
        let error = error.expect_err(text);
        let shown = format!("{error}\nhint: {}\n{error:?}", error.hint().unwrap_or_default());
        assert!(shown.contains(text) && shown.contains(hint), "{shown}");
        assert!(!shown.contains(SECRET) && !shown.contains("Signature="), "{shown}");
    }
    let store = served.store().await;
    let gone = store.get("absent").await.unwrap_err();
    assert!(gone.to_string().contains("NoSuchKey") && gone.hint().unwrap().contains("again"), "{gone}");
    let no_file = store.put_if_absent("k", Path::new("/nowhere/at/all")).await.unwrap_err();
    assert!(no_file.to_string().contains("/nowhere/at/all"), "{no_file}");
}
