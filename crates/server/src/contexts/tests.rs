//! Tests of what owners and agents rely on.

use futures_util::{Stream, stream};
use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

use super::*;

struct TestStore {
    folder: TempDir,
    clock: Clock,
    contexts: Contexts,
}

fn store(bucket: Option<&str>) -> TestStore {
    let folder = TempDir::new().unwrap();
    let clock = Clock::standing_at(Timestamp::from_second(1_763_800_000).unwrap());
    let contexts =
        Contexts::open(folder.path(), bucket.map(own), DataDisk::of(folder.path()), clock.clone()).unwrap();
    TestStore { folder, clock, contexts }
}

fn own(name: &str) -> Bucket {
    Bucket { endpoint: None, region: "eu-central-1".into(), name: name.into() }
}

fn id() -> Digest {
    Digest::of(b"the canonical tar")
}

fn offer_of(bytes: &[u8]) -> ContextOffer {
    ContextOffer {
        id: id(),
        sha256: Digest::of(bytes),
        len: bytes.len() as u64,
        location: ContextLocation::Store,
    }
}

fn s3(bucket: &str, key: String) -> ContextOffer {
    ContextOffer { location: ContextLocation::S3 { bucket: bucket.into(), key }, ..offer_of(b"blob") }
}

fn pieces(bytes: &[u8]) -> impl Stream<Item = io::Result<bytes::Bytes>> + Send + Unpin + use<> {
    let pieces: Vec<_> = bytes.chunks(7).map(|piece| Ok(bytes::Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces)
}

async fn put(contexts: &Contexts, owner: &str, bytes: &[u8]) -> ContextRef {
    let expected = ExpectedBlob { sha256: Digest::of(bytes), len: bytes.len() as u64 };
    contexts.receive(owner, id(), expected, pieces(bytes)).await.unwrap()
}

fn files(store: &TestStore) -> Vec<String> {
    let mut all = Vec::new();
    for folder in ["blobs", "records", "incoming"] {
        for entry in std::fs::read_dir(store.folder.path().join(folder)).unwrap() {
            all.push(format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap()));
        }
    }
    all
}

#[tokio::test]
async fn a_context_is_sent_once_and_read_back() {
    let store = store(None);
    let answer = store.contexts.offer("local", &offer_of(b"a blob")).await.unwrap();
    let ContextAnswer::Upload { path } = answer else { panic!("{answer:?}") };
    assert!(path.starts_with(&route::context(id().hex())), "{path}");
    let context = put(&store.contexts, "local", b"a blob").await;
    store.contexts.check("local", &context).await.unwrap();

    // Another gzip of the same identity is not needed; what is there is what may be submitted.
    let present = store.contexts.offer("local", &offer_of(b"another gzip")).await.unwrap();
    assert_eq!(present, ContextAnswer::Present { context: context.clone() });
    assert_eq!(store.contexts.puts(), 1);

    let (mut file, len) = store.contexts.open_blob(&context).await.unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).await.unwrap();
    assert_eq!((bytes.as_slice(), len), (b"a blob".as_slice(), 6));

    // So it is after a restart.
    let again =
        Contexts::open(store.folder.path(), None, DataDisk::of(store.folder.path()), store.clock.clone())
            .unwrap();
    assert_eq!(again.offer("local", &offer_of(b"a blob")).await.unwrap(), present);
    assert_eq!(again.puts(), 0);
}

#[tokio::test]
async fn one_owner_cannot_find_out_what_another_has_sent() {
    let store = store(None);
    put(&store.contexts, "alice", b"a blob").await;
    let answer = store.contexts.offer("bob", &offer_of(b"a blob")).await.unwrap();
    assert!(matches!(answer, ContextAnswer::Upload { .. }), "{answer:?}");
    // And what bob sends under the same name does not replace what alice has sent.
    put(&store.contexts, "bob", b"poison").await;
    let answer = store.contexts.offer("alice", &offer_of(b"a blob")).await.unwrap();
    let ContextAnswer::Present { context } = answer else { panic!("{answer:?}") };
    assert_eq!(context.sha256, Digest::of(b"a blob"));
}

#[tokio::test]
async fn an_owner_cannot_build_from_the_context_of_another() {
    let store = store(Some("ours"));
    let stored = put(&store.contexts, "alice", b"a blob").await;
    store.contexts.check("alice", &stored).await.unwrap();
    let missing = store.contexts.check("bob", &stored).await;
    assert!(matches!(missing, Err(ContextError::Missing(_))), "{missing:?}");
    store.contexts.check_taken(&stored).await.unwrap();

    let offer = s3("ours", object_key(&id()));
    store.contexts.offer("alice", &offer).await.unwrap();
    let ContextOffer { id, location, .. } = offer;
    let regzipped = ContextRef { id, sha256: Digest::of(b"another gzip"), len: 12, location };
    store.contexts.check("alice", &regzipped).await.unwrap();
    let missing = store.contexts.check("bob", &regzipped).await;
    assert!(matches!(missing, Err(ContextError::Missing(_))), "{missing:?}");
    store.contexts.check_taken(&regzipped).await.unwrap();
}

#[tokio::test]
async fn an_upload_that_differs_from_its_offer_leaves_nothing_behind() {
    let store = store(None);
    let good = ExpectedBlob { sha256: Digest::of(b"a blob"), len: 6 };
    let receive = |expected: ExpectedBlob, bytes: &[u8]| {
        let (contexts, body) = (store.contexts.clone(), pieces(bytes));
        async move { contexts.receive("local", id(), expected, body).await.unwrap_err() }
    };
    assert!(matches!(receive(good.clone(), b"a blub").await, ContextError::WrongDigest { .. }));
    assert!(matches!(receive(good.clone(), b"a blo").await, ContextError::WrongLength { got: 5, .. }));
    assert!(matches!(receive(good.clone(), b"a blob and more").await, ContextError::WrongLength { .. }));
    let huge = ExpectedBlob { len: limits::CONTEXT_BYTES + 1, ..good.clone() };
    assert!(matches!(receive(huge, b"a blob").await, ContextError::TooLarge(_)));
    let broken = stream::iter([Ok(bytes::Bytes::from_static(b"a b")), Err(io::Error::other("reset"))]);
    let error = store.contexts.receive("local", id(), good, broken).await.unwrap_err();
    assert!(matches!(error, ContextError::Interrupted(_)));
    assert_eq!(files(&store), Vec::<String>::new());
    let never =
        ContextRef { id: id(), sha256: Digest::of(b"a blob"), len: 6, location: ContextLocation::Store };
    assert!(matches!(store.contexts.check("local", &never).await, Err(ContextError::Missing(_))));
    assert!(matches!(store.contexts.open_blob(&never).await, Err(ContextError::Missing(_))));
}

/// A store on a disk of 1 TiB with this much free space.
fn store_with(free: &Arc<AtomicU64>) -> TestStore {
    let (folder, free) = (TempDir::new().unwrap(), Arc::clone(free));
    let space = move || Ok(disk::DiskSpace { total: 1 << 40, free: free.load(Ordering::Relaxed) });
    let clock = Clock::standing_at(Timestamp::from_second(1_763_800_000).unwrap());
    let contexts =
        Contexts::open(folder.path(), Some(own("ours")), DataDisk::measured_by(space), clock.clone())
            .unwrap();
    TestStore { folder, clock, contexts }
}

#[tokio::test]
async fn probe_20_uploads_leave_the_reserve_of_the_disk_free() {
    let free = Arc::new(AtomicU64::new(limits::DISK_RESERVE_BYTES + 5));
    let store = store_with(&free);
    let offered = store.contexts.offer("local", &offer_of(b"a blob")).await;
    assert!(matches!(offered, Err(ContextError::DiskFull)), "{offered:?}");
    let expected = |len| ExpectedBlob { sha256: Digest::of(b"a blob"), len };
    let refused = store.contexts.receive("local", id(), expected(6), pieces(b"a blob")).await;
    assert!(matches!(refused, Err(ContextError::DiskFull)), "{refused:?}");
    put(&store.contexts, "local", b"5 fit").await;

    // It gets full while an upload is under way.
    let (megabyte, shrinking) = (bytes::Bytes::from(vec![7; 1 << 20]), Arc::clone(&free));
    free.store(1 << 40, Ordering::Relaxed);
    let body = stream::iter((0..8).map(move |nth| {
        if nth == 2 {
            shrinking.store(limits::DISK_RESERVE_BYTES - 1, Ordering::Relaxed);
        }
        io::Result::Ok(megabyte.clone())
    }));
    let cut = store.contexts.receive("local", Digest::of(b"big"), expected(8 << 20), body).await;
    assert!(matches!(cut, Err(ContextError::DiskFull)), "{cut:?}");
    let records = store.contexts.offer("local", &s3("ours", object_key(&id()))).await;
    assert!(matches!(records, Err(ContextError::DiskFull)), "{records:?}");
    assert_eq!(files(&store).len(), 2, "the one that fitted: {:?}", files(&store));
}

#[tokio::test]
async fn probe_20_a_write_on_a_full_disk_leaves_nothing_behind() {
    let store = store(None);
    let record = store.folder.path().join(format!("records/local-{}.new", id().hex()));
    std::os::unix::fs::symlink("/dev/full", &record).unwrap();
    let expected = ExpectedBlob { sha256: Digest::of(b"a blob"), len: 6 };
    let full = store.contexts.receive("local", id(), expected, pieces(b"a blob")).await;
    assert!(matches!(full, Err(ContextError::DiskFull)), "{full:?}");
    assert_eq!(files(&store), Vec::<String>::new());
    put(&store.contexts, "local", b"a blob").await;
}

#[tokio::test]
async fn only_the_own_bucket_and_the_key_of_the_identity_are_accepted() {
    let store = store(Some("ours"));
    let offered = store.contexts.offer("local", &s3("ours", object_key(&id()))).await.unwrap();
    assert_eq!(offered, ContextAnswer::OwnCredentials);
    for (bucket, key) in [
        ("theirs", object_key(&id())),
        ("ours", "secrets/key.pem".to_owned()),
        ("ours", object_key(&Digest::of(b"another"))),
    ] {
        let offer = s3(bucket, key);
        let context =
            ContextRef { id: id(), sha256: offer.sha256.clone(), len: 4, location: offer.location.clone() };
        assert!(store.contexts.offer("local", &offer).await.is_err());
        assert!(store.contexts.check("local", &context).await.is_err());
    }
    let without = self::store(None);
    let error = without.contexts.offer("local", &s3("ours", object_key(&id()))).await.unwrap_err();
    assert!(error.to_string().contains("it has none"), "{error}");
}

#[tokio::test]
async fn a_lookup_in_the_bucket_is_cached_for_half_of_its_expiry() {
    let store = store(Some("ours"));
    let offer = s3("ours", object_key(&id()));
    let ask = || store.contexts.offer("local", &offer);
    let context = ContextRef {
        id: id(),
        sha256: offer.sha256.clone(),
        len: offer.len,
        location: offer.location.clone(),
    };
    assert_eq!(ask().await.unwrap(), ContextAnswer::OwnCredentials);
    assert_eq!(ask().await.unwrap(), ContextAnswer::OwnCredentials, "nobody has seen it there");
    store.contexts.used(&context).await.unwrap();
    let present = ContextAnswer::Present { context: context.clone() };
    assert_eq!(ask().await.unwrap(), present);
    store.clock.advance((EXPIRY / 2).saturating_sub(Duration::from_secs(1)));
    store.contexts.used(&context).await.unwrap();
    assert_eq!(ask().await.unwrap(), present);
    store.clock.advance(Duration::from_secs(1));
    assert_eq!(ask().await.unwrap(), ContextAnswer::OwnCredentials, "use does not renew an object");
    store.contexts.used(&context).await.unwrap();
    assert_eq!(ask().await.unwrap(), present);
    store.contexts.forget(&context).await.unwrap();
    assert_eq!(ask().await.unwrap(), ContextAnswer::OwnCredentials);
    assert!(matches!(
        store.contexts.source(&context),
        ContextSource::S3 { endpoint: None, bucket, .. } if bucket == "ours"
    ));
}

#[tokio::test]
async fn unused_contexts_are_swept() {
    let store = store(None);
    let old = put(&store.contexts, "alice", b"a blob").await;
    store.clock.advance(EXPIRY / 2);
    put(&store.contexts, "bob", b"another").await;
    store.clock.advance(EXPIRY / 2);
    assert_eq!(store.contexts.sweep(EXPIRY).await.unwrap(), 1);
    assert!(store.contexts.check("alice", &old).await.is_err());
    assert_eq!(files(&store).len(), 2, "{:?}", files(&store));
    store.clock.advance(EXPIRY);
    assert_eq!(store.contexts.sweep(EXPIRY).await.unwrap(), 1);
    assert_eq!(files(&store).len(), 0);
}

#[tokio::test]
async fn a_restart_removes_what_was_half_received() {
    let store = store(None);
    std::fs::write(record::incoming_path(store.folder.path(), 3), "half").unwrap();
    std::fs::write(store.folder.path().join("records/nonsense.json"), "{").unwrap();
    Contexts::open(store.folder.path(), None, DataDisk::of(store.folder.path()), store.clock.clone())
        .unwrap();
    assert_eq!(files(&store), Vec::<String>::new());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_blob_comes_back_as_it_was_sent(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = store(None);
            let context = put(&store.contexts, "local", &bytes).await;
            let (mut file, _) = store.contexts.open_blob(&context).await.unwrap();
            let mut back = Vec::new();
            file.read_to_end(&mut back).await.unwrap();
            assert_eq!(back, bytes);
        });
    }
}
