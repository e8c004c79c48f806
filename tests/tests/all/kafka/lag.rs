//! How far a reader is behind, by its brokers.

use std::time::{Duration, Instant};

use rdkafka::producer::Producer;
use tidegate::source::SourceReader;
use tidegate_crds::{KafkaSource, Until};

use super::{
    broker::{self, PATIENCE, produce, topic, transactional},
    source::{numbers, open, read, spec},
};

/// Lets the reader go on until it has no lag; the records it found on the way.
async fn catch_up(reader: &mut dyn SourceReader) -> usize {
    let probe = reader.lag_probe().unwrap();
    let (deadline, mut records) = (Instant::now() + PATIENCE, 0);
    while probe.lag().await.unwrap() > 0 {
        assert!(Instant::now() < deadline, "a lag of {} stays", probe.lag().await.unwrap());
        // Behind the last record a fetch finds nothing to return, and takes in where the partition ends.
        if let Ok(fetched) = tokio::time::timeout(Duration::from_millis(100), reader.fetch()).await
            && let tidegate::source::Fetched::Records(found) = fetched.unwrap()
        {
            records += found.len();
        }
    }
    records
}

#[tokio::test]
async fn a_lag_is_what_lies_between_the_reader_and_the_end() {
    let topic = topic("lag", 3, &[]).await;
    produce(&topic, 0, numbers(0..1000)).await;
    produce(&topic, 2, numbers(0..500)).await;
    let (mut first, mut second) =
        (open(&spec(&topic).await, 0, 2, None).await, open(&spec(&topic).await, 1, 2, None).await);
    let lag = async |reader: &dyn SourceReader| reader.lag_probe().unwrap().lag().await.unwrap();
    assert_eq!((lag(&*first).await, lag(&*second).await), (1500, 0));
    assert_eq!(read(&mut *first, 1500).await.len(), 1500);
    assert_eq!(lag(&*first).await, 0);
    // Nobody fetches, and the lag is known all the same.
    produce(&topic, 0, numbers(0..7)).await;
    produce(&topic, 1, numbers(0..5)).await;
    assert_eq!((lag(&*first).await, lag(&*second).await), (7, 5));
    assert_eq!((catch_up(&mut *first).await, catch_up(&mut *second).await), (7, 5));
}

#[tokio::test]
async fn a_reader_that_has_caught_up_has_no_lag_whatever_the_topic_ends_with() {
    let topic = topic("lag-transactions", 2, &[]).await;
    let producer = transactional(&topic, PATIENCE).await;
    producer.begin_transaction().unwrap();
    broker::send(&producer, &topic, 0, numbers(0..100));
    producer.commit_transaction(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    broker::send(&producer, &topic, 1, numbers(0..50));
    producer.abort_transaction(PATIENCE).unwrap();
    broker::settled(&topic, &[101, 51]).await;

    let mut reader = open(&spec(&topic).await, 0, 1, None).await;
    let probe = reader.lag_probe().unwrap();
    assert_eq!(probe.lag().await.unwrap(), 101 + 51, "places, markers and aborted records among them");
    assert_eq!(catch_up(&mut *reader).await, 100);

    // What nobody can read yet is no lag; when it is decided, it is passed.
    producer.begin_transaction().unwrap();
    broker::send(&producer, &topic, 1, numbers(50..80));
    assert_eq!(probe.lag().await.unwrap(), 0, "the transaction is open");
    producer.abort_transaction(PATIENCE).unwrap();
    broker::settled(&topic, &[101, 82]).await;
    assert_eq!(probe.lag().await.unwrap(), 31);
    assert_eq!(catch_up(&mut *reader).await, 0);
}

#[tokio::test]
async fn a_bounded_run_is_behind_its_own_end() {
    let topic = topic("lag-bounded", 1, &[]).await;
    produce(&topic, 0, numbers(0..20)).await;
    let spec = KafkaSource { until: Some(Until::Latest), ..spec(&topic).await };
    let mut reader = open(&spec, 0, 1, None).await;
    produce(&topic, 0, numbers(20..90)).await;
    assert_eq!(reader.lag_probe().unwrap().lag().await.unwrap(), 20);
    assert_eq!(catch_up(&mut *reader).await, 20);
}
