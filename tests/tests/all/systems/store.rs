use bytes::Bytes;
use tidegate::checkpoint::store::{Create, ObjectPath, S3Store, Store, StoreError, conformance, prove};
use tidegate_crds::S3Storage;
use tidegate_tests::counterparts::{
    S3, Toxiproxy,
    toxiproxy::{Direction, Toxic},
};

fn path(text: &str) -> ObjectPath {
    ObjectPath(text.to_owned())
}

async fn store_at(s3: &S3, endpoint: &str, job: &str) -> S3Store {
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
    S3Store::with_keys(&spec, &format!("{job}-{}", std::process::id()), Some(keys)).await.unwrap()
}

async fn store(s3: &S3, job: &str) -> S3Store {
    store_at(s3, s3.endpoint(), job).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_keeps_every_promise_and_jobs_do_not_see_each_other() {
    let s3 = S3::start().await.unwrap();
    let (one, two) = (store(&s3, "one").await, store(&s3, "two").await);
    two.put(&path("hint"), Bytes::from_static(b"theirs")).await.unwrap();
    conformance::every_promise(&one).await;
    assert_eq!(two.get(&path("hint")).await.unwrap().unwrap(), "theirs");
    assert!(one.location().starts_with("s3://") && one.location().contains("/jobs/one-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_object_goes_in_parts_and_comes_back_whole() {
    let s3 = S3::start().await.unwrap();
    let store = store(&s3, "large").await;
    let bytes: Bytes = (0..(40 << 20_u32)).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let object = path("data/1/1/state");
    for _ in 0..2 {
        store.put(&object, bytes.clone()).await.unwrap();
    }
    assert!(store.get(&object).await.unwrap().unwrap() == bytes);
    let (from, to) = (16 << 20, (16 << 20) + 10);
    let some = store.get_range(&object, from - 10..to).await.unwrap().unwrap();
    assert_eq!(some, bytes.slice((from - 10) as usize..to as usize));
    assert_eq!(store.list("data/", None).await.unwrap()[0].bytes, 40 << 20);
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
    let store = store_at(&s3, &format!("http://{}", proxy.address()), "lost").await;
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
