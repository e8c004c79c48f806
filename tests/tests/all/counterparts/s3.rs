use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::SdkError;
use tidegate_tests::counterparts::{S3, s3};
use tidegate_tests::skip::is_named;

use super::leftovers::Traces;

#[tokio::test]
async fn a_store_keeps_its_objects_over_a_crash_and_leaves_nothing() {
    let mut store = S3::start().await.unwrap();
    let client = client(&store);
    let key = format!("round-trip-{}/one", std::process::id());
    assert_eq!(create(&client, &store, &key, "first").await, Ok(()));
    assert_eq!(create(&client, &store, &key, "second").await, Err(412));
    assert_eq!(read(&client, &store, &key).await, Ok("first".to_owned()));

    if is_named(s3::VARIABLE) {
        return;
    }
    let traces = Traces::of(store.pid());
    store.kill_9().unwrap();
    assert_eq!(read(&client, &store, &key).await, Err(0));
    store.restart().await.unwrap();
    assert_eq!(create(&client, &store, &key, "third").await, Err(412));
    assert_eq!(read(&client, &store, &key).await, Ok("first".to_owned()));

    // Damage in place meets the stored checksum; an object put in its place has none.
    let file = store.path_of(&key).unwrap();
    std::fs::write(&file, "wrong").unwrap();
    assert_eq!(read(&client, &store, &key).await, Err(0));
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, "wrong").unwrap();
    assert_eq!(read(&client, &store, &key).await, Ok("wrong".to_owned()));
    drop(store);
    assert!(traces.are_gone());
}

#[tokio::test]
async fn a_store_that_refuses_writes_still_reads() {
    if is_named(s3::VARIABLE) {
        return;
    }
    let mut store = S3::start().await.unwrap();
    let client = client(&store);
    assert_eq!(create(&client, &store, "one", "1").await, Ok(()));
    store.refuse_writes().await.unwrap();
    assert_eq!(create(&client, &store, "two", "2").await, Err(403));
    assert_eq!(read(&client, &store, "one").await, Ok("1".to_owned()));
    store.accept_writes().await.unwrap();
    assert_eq!(create(&client, &store, "two", "2").await, Ok(()));
}

fn client(store: &S3) -> Client {
    let (key, secret) = (store.access_key(), store.secret_key());
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(store.endpoint())
        .credentials_provider(Credentials::new(key, secret, None, None, "tests"))
        .force_path_style(true)
        .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

/// Creates an object unless it exists; the error is the HTTP status, 0 for no answer.
async fn create(client: &Client, store: &S3, key: &str, value: &str) -> Result<(), u16> {
    let put = client
        .put_object()
        .bucket(store.bucket())
        .key(key)
        .if_none_match("*")
        .body(value.to_owned().into_bytes().into());
    put.send().await.map(drop).map_err(|error| status(&error))
}

/// The error is the HTTP status, 0 for no answer or one that its checksum belies.
async fn read(client: &Client, store: &S3, key: &str) -> Result<String, u16> {
    let get = client.get_object().bucket(store.bucket()).key(key);
    let get = get.send().await.map_err(|error| status(&error))?;
    let bytes = get.body.collect().await.map_err(|_| 0_u16)?.into_bytes();
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

fn status<E>(error: &SdkError<E>) -> u16 {
    error.raw_response().map_or(0, |response| response.status().as_u16())
}
