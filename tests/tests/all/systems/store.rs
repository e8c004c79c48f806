use std::time::Duration;

use bytes::Bytes;
use tidegate::checkpoint::store::{Create, ObjectPath, S3Patience, S3Store, Store, StoreError, conformance, prove};
use tidegate_crds::S3Storage;
use tidegate_tests::{
    counterparts::{
        S3, Toxiproxy, Wire, s3,
        toxiproxy::{Direction, Toxic},
        wire::Fault,
    },
    skip::is_named,
};

fn path(text: &str) -> ObjectPath {
    ObjectPath(text.to_owned())
}

/// Short, so that tests of answers that never come are.
const PATIENCE: S3Patience =
    S3Patience { connect: Duration::from_secs(5), small: Duration::from_secs(1), large: Duration::from_secs(3) };

async fn store_at(s3: &S3, endpoint: &str, job: &str, patience: S3Patience) -> S3Store {
    let spec = S3Storage {
        bucket: s3.bucket().to_owned(),
        prefix: "jobs".to_owned(),
        endpoint: Some(endpoint.to_owned()),
        region: None,
        path_style: None,
        access_key_id: None,
        secret_access_key: None,
    };
    let keys = (s3.access_key().to_owned(), s3.secret_key().to_owned());
    S3Store::with_patience(&spec, &format!("{job}-{}", std::process::id()), Some(keys), patience).await.unwrap()
}

async fn store(s3: &S3, job: &str) -> S3Store {
    store_at(s3, s3.endpoint(), job, S3Patience::default()).await
}

/// A store behind a wire to the service, and the same without the wire between.
async fn wired(s3: &S3, job: &str) -> (Wire, S3Store, S3Store) {
    let wire = Wire::to(s3.endpoint().trim_start_matches("http://")).await.unwrap();
    let faulty = store_at(s3, &format!("http://{}", wire.address()), job, PATIENCE).await;
    (wire, faulty, store(s3, job).await)
}

/// An answer to any request.
fn answer(status: &str, headers: &str, body: &[u8]) -> Fault {
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    Fault::Answer([head.as_bytes(), body].concat())
}

fn busy() -> Fault {
    answer("503 Slow Down", "", b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>")
}

fn noise(bytes: u32) -> Bytes {
    (0..bytes).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_keeps_every_promise_and_jobs_do_not_see_each_other() {
    let s3 = S3::start().await.unwrap();
    let (one, two) = (store(&s3, "one").await, store(&s3, "two").await);
    two.put(&path("hint"), Bytes::from_static(b"theirs")).await.unwrap();
    conformance::every_promise(&one).await;
    conformance::half_an_object_is_never_seen(&one).await;
    assert_eq!(two.get(&path("hint")).await.unwrap().unwrap(), "theirs");
    assert!(one.location().starts_with("s3://") && one.location().contains("/jobs/one-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_objects_than_one_page_are_all_listed() {
    let s3 = S3::start().await.unwrap();
    let store = store(&s3, "many").await;
    let all: Vec<ObjectPath> = (0..1100).map(|n| path(&format!("log/1/{n:05}"))).collect();
    for object in &all {
        store.put(object, Bytes::from_static(b"x")).await.unwrap();
    }
    let listed: Vec<ObjectPath> =
        store.list("log/", None).await.unwrap().into_iter().map(|listed| listed.path).collect();
    assert!(listed == all, "{} of {}", listed.len(), all.len());
    assert_eq!(store.list("log/", Some(&all[1049])).await.unwrap().len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_whose_answer_is_lost_is_found_by_reading_back() {
    let s3 = S3::start().await.unwrap();
    let toxiproxy = Toxiproxy::start().await.unwrap();
    let proxy = toxiproxy.proxy(s3.endpoint().trim_start_matches("http://")).await.unwrap();
    let store = store_at(&s3, &format!("http://{}", proxy.address()), "lost", S3Patience::default()).await;
    store.put(&path("hint"), Bytes::from_static(b"x")).await.unwrap();

    // The request arrives, its answer never does; the client's own repeats find the object.
    proxy.add("lost", Toxic::LimitData { bytes: 0 }, Direction::ToClient).await.unwrap();
    let object = path("log/1/0");
    let answer = store.create(&object, Bytes::from_static(b"ours")).await;
    assert!(matches!(answer, Err(StoreError::Failed { .. })), "{answer:?}");
    proxy.remove("lost").await.unwrap();

    assert_eq!(store.create(&object, Bytes::from_static(b"ours")).await.unwrap(), Create::Exists);
    assert_eq!(store.get(&object).await.unwrap().unwrap(), "ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_or_read_only_fails_and_comes_back() {
    if is_named(s3::VARIABLE) {
        return;
    }
    let mut s3 = S3::start().await.unwrap();
    let store = store(&s3, "away").await;
    let object = path("log/1/0");
    s3.refuse_writes().await.unwrap();
    let error = store.create(&object, Bytes::from_static(b"x")).await.unwrap_err();
    assert!(matches!(error, StoreError::Failed { .. }), "{error}");
    s3.kill_9().unwrap();
    assert!(matches!(store.get(&object).await.unwrap_err(), StoreError::Failed { .. }));
    s3.restart().await.unwrap();
    assert_eq!(store.create(&object, Bytes::from_static(b"x")).await.unwrap(), Create::Created);
    prove(&store).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_and_buckets_are_refused_in_clear_words() {
    let s3 = S3::start().await.unwrap();
    let open = async |bucket: &str, id: &str, secret: &str| {
        let spec = S3Storage {
            bucket: bucket.to_owned(),
            prefix: String::new(),
            endpoint: Some(s3.endpoint().to_owned()),
            region: None,
            path_style: None,
            access_key_id: None,
            secret_access_key: None,
        };
        let store = S3Store::with_keys(&spec, "job", Some((id.to_owned(), secret.to_owned()))).await.unwrap();
        store.create(&path("log/1/0"), Bytes::from_static(b"x")).await.unwrap_err().to_string()
    };
    for (error, words) in [
        (open("nothing-here", s3.access_key(), s3.secret_key()).await, "there is no bucket `nothing-here`"),
        (open(s3.bucket(), "nobody", s3.secret_key()).await, "does not know the access key"),
        (open(s3.bucket(), s3.access_key(), "wrong").await, "secret key is not the one"),
    ] {
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_on_the_wire_break_no_promise() {
    let s3 = S3::start().await.unwrap();
    let (wire, faulty, honest) = wired(&s3, "faults").await;
    let faults = [busy(), Fault::LoseAnswer, Fault::CutAnswer(40), Fault::Delay(Duration::from_millis(20))];
    let mut met = 0;
    conformance::faults_break_no_promise(&faulty, &honest, 16, |round| {
        met += wire.heal();
        let fault = faults[round % faults.len()].clone();
        wire.fail(["PUT /", "GET /"][round / faults.len() % 2], fault, 1 + round % 4);
    })
    .await;
    assert!(met > 16, "only {met} requests suffered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_service_is_asked_again_and_a_slow_one_waited_for() {
    let s3 = S3::start().await.unwrap();
    let (wire, store, honest) = wired(&s3, "busy").await;
    for (fault, times) in [(busy(), 2), (Fault::Delay(Duration::from_millis(50)), 1), (Fault::Hold, 1)] {
        let object = path("data/1/1/state");
        wire.fail("PUT /", fault.clone(), times);
        store.put(&object, Bytes::from_static(b"x")).await.unwrap();
        wire.fail("GET /", fault.clone(), times);
        assert_eq!(store.get(&object).await.unwrap().unwrap(), "x");
        assert_eq!(wire.heal(), 2 * times, "{fault:?}");
    }

    // Slower than anybody waits: the request took place, and nobody said so.
    let object = path("log/1/0");
    wire.fail("PUT /", Fault::Hold, usize::MAX);
    let error = store.create(&object, Bytes::from_static(b"ours")).await.unwrap_err();
    assert!(matches!(error, StoreError::Failed { .. }), "{error}");
    wire.heal();
    assert_eq!(honest.get(&object).await.unwrap().unwrap(), "ours");
    assert_eq!(store.create(&object, Bytes::from_static(b"theirs")).await.unwrap(), Create::Exists);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_or_is_too_short_is_asked_for_again() {
    let s3 = S3::start().await.unwrap();
    let (wire, store, _) = wired(&s3, "short").await;
    let (object, bytes) = (path("data/1/1/state"), noise(20 << 20));
    store.put(&object, bytes.clone()).await.unwrap();

    wire.fail("GET /", Fault::CutAnswer(1 << 20), 2);
    assert!(store.get(&object).await.unwrap().unwrap() == bytes, "cut");
    // It says that it is whole, and is not.
    let range = "content-range: bytes 0-9/20971520\r\n";
    wire.fail("GET /", answer("206 Partial Content", range, &bytes[..4]), 1);
    assert!(store.get_range(&object, 0..10).await.unwrap().unwrap() == bytes[..10], "short");
    // The object was replaced between two parts: this is of the new one.
    let range = "content-range: bytes 16777216-20971519/20971520\r\netag: \"new\"\r\n";
    wire.fail("bytes=16777216-", answer("206 Partial Content", range, &vec![0; 4 << 20]), 1);
    assert!(store.get(&object).await.unwrap().unwrap() == bytes, "replaced");
    assert_eq!(wire.heal(), 4);

    wire.fail("GET /", Fault::CutAnswer(1 << 20), usize::MAX);
    let error = store.get(&object).await.unwrap_err();
    assert!(matches!(error, StoreError::Failed { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_parts_gets_over_faults_or_leaves_nothing() {
    let s3 = S3::start().await.unwrap();
    let (wire, store, honest) = wired(&s3, "parts").await;
    let bytes = noise(40 << 20);
    for (round, completed) in [Create::Created, Create::Exists].into_iter().enumerate() {
        wire.fail("partNumber=1&", busy(), 1);
        wire.fail("partNumber=2&", Fault::LoseAnswer, 1);
        wire.fail("partNumber=3&", Fault::Hold, 1);
        // Of its completion: the service has forgotten the upload by the time it is asked again.
        wire.fail("?uploadId=", Fault::LoseAnswer, 1);
        let object = path("data/1/1/state");
        let body = if round == 0 { bytes.clone() } else { bytes.slice(1..) };
        assert_eq!(store.create(&object, body).await.unwrap(), completed);
        assert!(wire.heal() >= 3);
        assert!(honest.get(&object).await.unwrap().unwrap() == bytes, "round {round}");
    }

    wire.fail("partNumber=2&", busy(), usize::MAX);
    let object = path("data/1/2/state");
    let error = store.put(&object, bytes).await.unwrap_err();
    assert!(matches!(error, StoreError::Failed { .. }), "{error}");
    wire.heal();
    assert_eq!(honest.get(&object).await.unwrap(), None);
    let uploads = s3.path_of(".sgwtmp/multipart").unwrap();
    let left: Vec<_> = walk(&uploads).into_iter().filter(|file| file.is_file()).collect();
    assert!(left.is_empty(), "parts of unfinished uploads: {left:?}");
}

/// Every file and folder below a folder, which need not be there.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| [walk(&path), vec![path]].concat()).collect()
}
