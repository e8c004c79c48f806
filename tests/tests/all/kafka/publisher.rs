use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray},
    datatypes::SchemaRef,
};
use rdkafka::{
    error::KafkaError,
    producer::{BaseProducer, Producer},
    types::RDKafkaErrorCode,
};
use tidegate::{
    checkpoint::{
        CommitPermit,
        store::{ObjectPath, Store, memory::MemoryStore},
    },
    ids::Epoch,
    sink::{Chunk, ChunkId, Preflight, Publisher, SinkError, kafka::KafkaPublisher},
};
use tidegate_crds::{HumanDuration, KafkaSink};

use super::broker::{self, PATIENCE, committed, send_keyed, topic, transactional};

pub(crate) async fn spec(topic: &str) -> KafkaSink {
    KafkaSink {
        bootstrap_servers: broker::bootstrap().await.into(),
        topic: topic.into(),
        key: vec!["store".into()],
        progress_topic: None,
        transaction_timeout: HumanDuration::from_secs(60),
        security: None,
        properties: BTreeMap::new(),
    }
}

pub(crate) fn rows(numbers: std::ops::Range<i64>) -> RecordBatch {
    let stores: ArrayRef = Arc::new(StringArray::from_iter_values(numbers.clone().map(|n| format!("s{}", n % 10))));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
    RecordBatch::try_from_iter([("store", stores), ("n", numbers)]).unwrap()
}

pub(crate) fn schema() -> SchemaRef {
    rows(0..0).schema()
}

/// Tests share a broker, so each has a lineage of its own.
fn chunk(lineage: &str, slot: u32, epoch: u64, index: u32, numbers: std::ops::Range<i64>) -> Chunk {
    let middle = i64::midpoint(numbers.start, numbers.end);
    Chunk {
        id: ChunkId { lineage: lineage.into(), sink: "out".into(), slot, epoch: Epoch(epoch), index },
        schema: schema(),
        rows: vec![rows(numbers.start..middle), rows(middle..numbers.end)],
        checksum: format!("{numbers:?}"),
    }
}

/// Of a job with two slots.
async fn publisher(topic: &str) -> KafkaPublisher {
    let publisher = KafkaPublisher::new("out", &spec(topic).await).unwrap();
    publisher.preflight(&schema(), 2, Preflight::default()).await.unwrap();
    publisher
}

async fn publish(publisher: &KafkaPublisher, chunk: &Chunk) -> Result<(), SinkError> {
    let permit = CommitPermit::for_test(chunk.id.epoch);
    tokio::time::timeout(PATIENCE, publisher.publish(&permit, chunk)).await.expect("publish hangs")
}

/// The numbers that readers see, sorted; a repeat would show.
async fn numbers(topic: &str, partitions: i32) -> Vec<i64> {
    let mut numbers: Vec<i64> = committed(topic, partitions)
        .await
        .into_iter()
        .map(|(key, value)| {
            let row: serde_json::Value = serde_json::from_str(&value).unwrap();
            let n = row["n"].as_i64().unwrap();
            assert_eq!((row["store"].as_str(), key), (Some(&*format!("s{}", n % 10)), Some(format!("s{}", n % 10))));
            n
        })
        .collect();
    numbers.sort_unstable();
    numbers
}

fn range(numbers: std::ops::Range<i64>) -> Vec<i64> {
    numbers.collect()
}

/// What a publisher writes, by hand: a transaction of the slot up to before its commit.
async fn begin(topic: &str, progress: &str, chunk: &Chunk) -> BaseProducer {
    let ChunkId { lineage, sink, slot, epoch, index } = &chunk.id;
    let producer = transactional(&format!("tidegate-{lineage}-{sink}-{slot}"), PATIENCE).await;
    producer.begin_transaction().unwrap();
    for batch in &chunk.rows {
        let numbers = batch.column(1).as_any().downcast_ref::<Int64Array>().unwrap();
        for n in numbers.values() {
            let store = format!("s{}", n % 10);
            send_keyed(&producer, topic, 0, Some(&store), Some(&format!(r#"{{"store":"{store}","n":{n}}}"#)));
        }
    }
    let marker = format!(r#"{{"epoch":{epoch},"index":{index}}}"#);
    send_keyed(&producer, progress, *slot as i32, Some(&format!("{lineage}/{sink}/{slot}")), Some(&marker));
    producer.flush(PATIENCE).unwrap();
    producer
}

async fn with_progress(name: &str) -> (String, String) {
    let topic = topic(name, 1, &[]).await;
    let progress = format!("{topic}-tidegate-progress");
    broker::make(&progress, 2, &[("cleanup.policy", "compact")]).await;
    (topic, progress)
}

#[tokio::test]
async fn a_chunk_is_there_once_however_often_it_is_published() {
    let topic = topic("repeat", 3, &[]).await;
    let first = publisher(&topic).await;
    let (a, b) = (chunk(&topic, 0, 1, 0, 0..100), chunk(&topic, 0, 1, 1, 100..150));
    for publisher in [&first, &first, &publisher(&topic).await] {
        publish(publisher, &a).await.unwrap();
    }
    for _ in 0..2 {
        publish(&first, &b).await.unwrap();
        publish(&first, &a).await.unwrap();
    }
    // The same place of another slot, epoch and lineage is another chunk.
    publish(&first, &chunk(&topic, 1, 1, 0, 150..160)).await.unwrap();
    publish(&first, &chunk(&topic, 0, 2, 0, 160..170)).await.unwrap();
    publish(&first, &chunk(&format!("{topic}-copy"), 0, 1, 0, 170..180)).await.unwrap();
    // A later attempt settles what it may have to: it owns epoch 2, which was published, too.
    publisher(&topic).await.publish(&CommitPermit::for_test(Epoch(2)), &b).await.unwrap();
    assert_eq!(numbers(&topic, 3).await, range(0..180));
}

#[tokio::test]
async fn a_transaction_that_died_open_is_ended_and_its_chunk_published() {
    let (topic, progress) = with_progress("died-open").await;
    let chunk = chunk(&topic, 0, 1, 0, 0..50);
    std::mem::forget(begin(&topic, &progress, &chunk).await);
    publish(&publisher(&topic).await, &chunk).await.unwrap();
    assert_eq!(numbers(&topic, 1).await, range(0..50));
}

#[tokio::test]
async fn a_zombie_can_not_commit_after_its_successor_began() {
    let (topic, progress) = with_progress("zombie").await;
    let chunk = chunk(&topic, 0, 1, 0, 0..50);
    let zombie = begin(&topic, &progress, &chunk).await;
    publish(&publisher(&topic).await, &chunk).await.unwrap();
    let error = zombie.commit_transaction(PATIENCE).unwrap_err();
    assert!(matches!(&error, KafkaError::Transaction(error) if error.code() == RDKafkaErrorCode::Fenced), "{error}");
    assert_eq!(numbers(&topic, 1).await, range(0..50));
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_found_by_its_marker() {
    let (topic, progress) = with_progress("lost-answer").await;
    let chunk = chunk(&topic, 1, 4, 2, 0..50);
    begin(&topic, &progress, &chunk).await.commit_transaction(PATIENCE).unwrap();
    publish(&publisher(&topic).await, &chunk).await.unwrap();
    assert_eq!(numbers(&topic, 1).await, range(0..50));
}

/// A job that shares the progress topic died between its marker and its commit. Our marker lies behind its record, where
/// no read-committed reader sees it.
/// A checkpoint store that was restored from a backup: the log owns less than what was published from it.
#[tokio::test]
async fn what_a_restored_log_does_not_know_is_refused_and_not_skipped() {
    let topic = topic("restored", 1, &[]).await;
    let before = publisher(&topic).await;
    for epoch in 1..=3 {
        let first = epoch as i64 * 10;
        publish(&before, &chunk(&topic, 0, epoch, 0, first..first + 10)).await.unwrap();
    }
    let told = |error: SinkError| {
        let SinkError::Refused { message, .. } = &error else { panic!("not a refusal: {error:?}") };
        assert!(message.contains("is ahead of the job's log"), "{message}");
    };
    // The log owns epoch 1, the first attempt after that begins, and nothing is published for it yet.
    let after = publisher(&topic).await;
    told(after.take_over(&CommitPermit::for_test(Epoch(1)), &topic).await.unwrap_err());
    publisher(&topic).await.take_over(&CommitPermit::for_test(Epoch(3)), &topic).await.unwrap();
    publisher(&topic).await.take_over(&CommitPermit::for_test(Epoch(1)), "another").await.unwrap();
    // Epochs come again with other rows.
    told(publish(&after, &chunk(&topic, 0, 2, 0, 100..110)).await.unwrap_err());
    told(publish(&after, &chunk(&topic, 0, 3, 0, 110..120)).await.unwrap_err());
    publish(&after, &chunk(&topic, 0, 3, 0, 30..40)).await.unwrap();
    assert_eq!(numbers(&topic, 1).await, range(10..40));
}

/// Its successor went on: what the zombie has to publish is there, and it must not come between for ever.
#[tokio::test]
async fn a_zombie_finds_the_marker_of_its_successor_and_is_done() {
    let topic = topic("late-zombie", 1, &[]).await;
    let successor = publisher(&topic).await;
    for epoch in 1..=2 {
        let first = epoch as i64 * 10;
        publish(&successor, &chunk(&topic, 0, epoch, 0, first..first + 10)).await.unwrap();
    }
    let store = Arc::new(MemoryStore::default());
    store.create(&ObjectPath("log/00000002/000000000000".into()), "{}".into()).await.unwrap();
    let permit = CommitPermit::for_test_in(Epoch(1), store);
    let zombie = publisher(&topic).await;
    zombie.take_over(&permit, &topic).await.unwrap();
    zombie.publish(&permit, &chunk(&topic, 0, 1, 0, 10..20)).await.unwrap();
    assert_eq!(numbers(&topic, 1).await, range(10..30));
}

#[tokio::test]
async fn a_progress_topic_that_is_gone_is_not_made_anew_for_rows_that_may_be_there() {
    let topic = topic("gone", 1, &[]).await;
    let progress = format!("{topic}-tidegate-progress");
    let publisher = || async { KafkaPublisher::new("out", &spec(&topic).await).unwrap() };
    let told = |error: SinkError| {
        let SinkError::Refused { message, .. } = &error else { panic!("not a refusal: {error:?}") };
        assert!(message.contains(&format!("the progress topic `{progress}` is gone")), "{message}");
    };
    told(publisher().await.preflight(&schema(), 1, Preflight { awaited: true, dry_run: false }).await.unwrap_err());
    told(publish(&publisher().await, &chunk(&topic, 0, 1, 0, 0..10)).await.unwrap_err());
    publisher().await.preflight(&schema(), 1, Preflight::default()).await.unwrap();
    publish(&publisher().await, &chunk(&topic, 0, 1, 0, 0..10)).await.unwrap();
    publisher().await.preflight(&schema(), 1, Preflight { awaited: true, dry_run: false }).await.unwrap();
    assert_eq!(numbers(&topic, 1).await, range(0..10));
}

#[tokio::test]
async fn a_marker_behind_a_foreign_open_transaction_is_waited_for() {
    let (topic, progress) = with_progress("hidden").await;
    let foreign = transactional(&broker::unique("foreign"), PATIENCE).await;
    foreign.begin_transaction().unwrap();
    send_keyed(&foreign, &progress, 0, Some("other/out/0"), Some(r#"{"epoch":1,"index":0}"#));
    foreign.flush(PATIENCE).unwrap();
    let chunk = chunk(&topic, 0, 1, 0, 0..50);
    begin(&topic, &progress, &chunk).await.commit_transaction(PATIENCE).unwrap();

    // A publisher without patience fails rather than guess.
    let hasty = KafkaSink { transaction_timeout: HumanDuration::from_secs(1), ..spec(&topic).await };
    let hasty = KafkaPublisher::new("out", &hasty).unwrap();
    let error = publish(&hasty, &chunk).await.unwrap_err();
    assert!(matches!(error, SinkError::Failed { .. }), "{error:?}");
    assert_eq!(numbers(&topic, 1).await, range(0..50));

    // One with patience gets on when the other has ended.
    let patient = publisher(&topic).await;
    let published = publish(&patient, &chunk);
    let ended = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        tokio::task::spawn_blocking(move || foreign.commit_transaction(PATIENCE)).await.unwrap().unwrap();
    };
    let (published, ()) = tokio::join!(published, ended);
    published.unwrap();
    assert_eq!(numbers(&topic, 1).await, range(0..50));
}

#[tokio::test]
async fn a_slot_does_not_wait_for_another_that_died() {
    let (topic, progress) = with_progress("siblings").await;
    std::mem::forget(begin(&topic, &progress, &chunk(&topic, 1, 1, 0, 0..50)).await);
    let ours = chunk(&topic, 0, 1, 0, 50..60);
    let hasty = KafkaSink { transaction_timeout: HumanDuration::from_secs(2), ..spec(&topic).await };
    publish(&KafkaPublisher::new("out", &hasty).unwrap(), &ours).await.unwrap();
    // Readers of the topic itself see nothing behind the open transaction until its slot is settled.
    publish(&publisher(&topic).await, &chunk(&topic, 1, 1, 0, 0..50)).await.unwrap();
    assert_eq!(numbers(&topic, 1).await, range(0..60));
}

#[tokio::test]
async fn slots_are_published_side_by_side() {
    let topic = topic("side-by-side", 4, &[]).await;
    let publisher = KafkaPublisher::new("out", &spec(&topic).await).unwrap();
    publisher.preflight(&schema(), 6, Preflight::default()).await.unwrap();
    for epoch in 1..4_u64 {
        let chunks: Vec<Chunk> = (0..6)
            .map(|slot| {
                let first = (epoch as i64 * 6 + i64::from(slot)) * 100;
                chunk(&topic, slot, epoch, 0, first..first + 100)
            })
            .collect();
        let mut all = tokio::task::JoinSet::new();
        let publisher = Arc::new(KafkaPublisher::new("out", &spec(&topic).await).unwrap());
        for chunk in chunks {
            let publisher = Arc::clone(&publisher);
            all.spawn(async move { publish(&publisher, &chunk).await.unwrap() });
        }
        all.join_all().await;
    }
    publish(&publisher, &chunk(&topic, 5, 3, 0, 2300..2400)).await.unwrap();
    assert_eq!(numbers(&topic, 4).await, range(600..2400));
}

#[tokio::test]
async fn a_big_chunk_fits() {
    let topic = topic("big", 2, &[]).await;
    let chunk = chunk(&topic, 0, 1, 0, 0..100_000);
    let publisher = publisher(&topic).await;
    publish(&publisher, &chunk).await.unwrap();
    publish(&publisher, &chunk).await.unwrap();
    assert_eq!(numbers(&topic, 2).await, range(0..100_000));
}

#[tokio::test]
async fn a_chunk_that_can_not_be_delivered_fails_and_leaves_nothing() {
    let topic = topic("too-large", 1, &[("max.message.bytes", "2000")]).await;
    let publisher = publisher(&topic).await;
    let long: ArrayRef = Arc::new(StringArray::from(vec!["short", &*"x".repeat(5000)]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let mut chunk = chunk(&topic, 0, 1, 0, 0..10);
    chunk.rows.push(RecordBatch::try_from_iter([("store", long), ("n", numbers)]).unwrap());
    let error = publish(&publisher, &chunk).await.unwrap_err();
    assert!(error.to_string().contains("deliver a record"), "{error}");
    assert_eq!(committed(&topic, 1).await, []);
}
