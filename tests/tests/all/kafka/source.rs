use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminOptions, NewPartitions},
    consumer::{BaseConsumer, CommitMode, Consumer},
    producer::Producer,
};
use tidegate::{
    ids::{Epoch, SubtaskIndex},
    source::{Fetched, Positions, RawRecords, ReaderContext, Source, SourceReader, SplitState, kafka::KafkaTopic},
};
use tidegate_crds::{HumanDuration, KafkaSource, StartFrom, Until};

use super::broker::{self, PATIENCE, admin, eventually, produce, topic, transactional};

pub(crate) async fn spec(topic: &str) -> KafkaSource {
    KafkaSource {
        bootstrap_servers: broker::bootstrap().await.into(),
        topic: topic.into(),
        group_id: None,
        start_from: StartFrom::Earliest,
        start_timestamp: None,
        until: None,
        partition_discovery_interval: HumanDuration::from_secs(300),
        security: None,
        properties: BTreeMap::new(),
    }
}

pub(crate) const ALONE: ReaderContext = ReaderContext { subtask: SubtaskIndex(0), parallelism: 1 };

pub(crate) async fn open(
    spec: &KafkaSource,
    subtask: u32,
    parallelism: u32,
    restored: Option<Vec<SplitState>>,
) -> Box<dyn SourceReader> {
    let source = KafkaTopic::new("job", "orders", spec).unwrap();
    let from = match restored {
        Some(splits) => Positions::Restored(splits),
        None => Positions::Found(source.find_splits(None).await.unwrap()),
    };
    source.reader(ReaderContext { subtask: SubtaskIndex(subtask), parallelism }, from).await.unwrap()
}

/// Split and position of each, without the rest.
fn places(reader: &dyn SourceReader) -> Vec<(String, u64, Option<u64>)> {
    reader.positions().into_iter().map(|state| (state.split, state.next, state.end)).collect()
}

/// Values by split, of one batch.
fn values(reader: &dyn SourceReader, records: &dyn RawRecords) -> Vec<(String, u64, Option<String>)> {
    let splits = reader.positions();
    let mut values = Vec::new();
    for run in records.runs() {
        for index in run.records.clone() {
            let value = records.payload(index).map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
            values.push((splits[run.split].split.clone(), records.position(index), value));
        }
    }
    assert_eq!(values.len(), records.len(), "the runs cover the records");
    values
}

async fn fetch(reader: &mut dyn SourceReader) -> Fetched {
    loop {
        match tokio::time::timeout(PATIENCE, reader.fetch()).await.expect("fetch hangs").unwrap() {
            Fetched::SplitsKnown => {}
            other => return other,
        }
    }
}

/// The next `count` records at least, fewer at the end.
pub(crate) async fn read(reader: &mut dyn SourceReader, count: usize) -> Vec<(String, u64, Option<String>)> {
    let mut all = Vec::new();
    while all.len() < count {
        match fetch(reader).await {
            Fetched::Records(records) => all.extend(values(reader, &*records)),
            Fetched::Exhausted => break,
            Fetched::SplitsChanged | Fetched::SplitsKnown => {}
            Fetched::Rows { .. } => panic!("a topic has no rows"),
        }
    }
    all
}

pub(crate) fn numbers(range: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    range.map(|number| number.to_string())
}

#[tokio::test]
async fn every_start_becomes_a_number_before_the_first_record() {
    let topic = topic("starts", 2, &[]).await;
    produce(&topic, 0, numbers(0..10)).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let between = chrono_now();
    tokio::time::sleep(Duration::from_millis(20)).await;
    produce(&topic, 0, numbers(10..15)).await;

    let group = broker::unique("group");
    let consumer: BaseConsumer = broker::config().await.set("group.id", &group).create().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&topic, 0, Offset::Offset(7)).unwrap();
    consumer.commit(&offsets, CommitMode::Sync).unwrap();

    for (start_from, group_id, start_timestamp, next) in [
        (StartFrom::Earliest, None, None, 0),
        (StartFrom::Latest, None, None, 15),
        (StartFrom::GroupOffsets, Some(group), None, 7),
        (StartFrom::GroupOffsets, Some(broker::unique("group-without-offsets")), None, 0),
        (StartFrom::Timestamp, None, Some("2020-01-01T00:00:00Z".to_owned()), 0),
        (StartFrom::Timestamp, None, Some(between), 10),
        (StartFrom::Timestamp, None, Some("2100-01-01T00:00:00Z".to_owned()), 15),
    ] {
        let spec = KafkaSource { start_from, group_id, start_timestamp, ..spec(&topic).await };
        let reader = open(&spec, 0, 1, None).await;
        assert_eq!(
            places(&*reader),
            [(format!("{topic}-0"), next, None), (format!("{topic}-1"), 0, None)],
            "{:?} {:?}",
            spec.start_from,
            spec.start_timestamp
        );
    }
}

/// A job that starts once more before its first checkpoint, or a part of it, begins where it began.
#[tokio::test]
async fn what_comes_between_the_first_start_and_the_next_is_read() {
    let topic = topic("starts-again", 1, &[]).await;
    produce(&topic, 0, numbers(0..10)).await;
    let in_future = Some("2100-01-01T00:00:00Z".to_owned());
    for (number, start_from, start_timestamp, until) in [
        (10, StartFrom::Latest, None, None),
        (15, StartFrom::Timestamp, in_future, None),
        (20, StartFrom::Earliest, None, Some(Until::Latest)),
    ] {
        let spec = KafkaSource { start_from, start_timestamp, until, ..spec(&topic).await };
        let source = KafkaTopic::new("job", "orders", &spec).unwrap();
        let found = source.find_splits(None).await.unwrap();
        let place = |state: &SplitState| (state.split.clone(), state.next, state.end);
        let (begin, end) = if until.is_some() { (0, Some(number)) } else { (number, None) };
        assert_eq!(found.iter().map(place).collect::<Vec<_>>(), [(format!("{topic}-0"), begin, end)]);
        produce(&topic, 0, numbers(number as u32..number as u32 + 5)).await;
        // Another process.
        let source = KafkaTopic::new("job", "orders", &spec).unwrap();
        let again = source.find_splits(Some(&found)).await.unwrap();
        assert_eq!(again, found, "{start_from:?}");
        let mut reader = source.reader(ALONE, Positions::Found(again)).await.unwrap();
        let records = read(&mut *reader, end.unwrap_or(5) as usize).await;
        let expected = if until.is_some() { 0..number } else { number..number + 5 };
        let expected: Vec<_> =
            expected.map(|offset| (format!("{topic}-0"), offset, Some(offset.to_string()))).collect();
        assert_eq!(records, expected, "{start_from:?}");
    }
}

fn chrono_now() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    chrono::DateTime::from_timestamp_millis(i64::try_from(now.as_millis()).unwrap()).unwrap().to_rfc3339()
}

#[tokio::test]
async fn a_bounded_run_ends_behind_markers_and_aborted_records() {
    let topic = topic("bounded", 3, &[]).await;
    let producer = transactional(&topic, PATIENCE).await;
    // Partition 0 ends with a commit marker, 1 with aborted records and their marker, 2 is empty.
    producer.begin_transaction().unwrap();
    broker::send(&producer, &topic, 0, numbers(0..100));
    broker::send(&producer, &topic, 1, numbers(0..10));
    producer.commit_transaction(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    broker::send(&producer, &topic, 1, numbers(10..500));
    producer.abort_transaction(PATIENCE).unwrap();
    // The producer does not wait for the markers.
    broker::settled(&topic, &[101, 502, 0]).await;

    let spec = KafkaSource { until: Some(Until::Latest), ..spec(&topic).await };
    let mut reader = open(&spec, 0, 1, None).await;
    let ends = [(0, 101), (1, 502), (2, 0)];
    let at = |next: [u64; 3]| -> Vec<_> {
        ends.iter().map(|(split, end)| (format!("{topic}-{split}"), next[*split as usize], Some(*end))).collect()
    };
    assert_eq!(places(&*reader), at([0, 0, 0]));
    let begun = reader.positions();
    // What comes after the start is not of this run.
    produce(&topic, 0, numbers(900..1000)).await;
    produce(&topic, 2, numbers(900..1000)).await;

    assert_eq!(read(&mut *reader, usize::MAX).await.len(), 110);
    assert_eq!(places(&*reader), at([101, 502, 0]));
    assert!(matches!(fetch(&mut *reader).await, Fetched::Exhausted), "it stays at its end");

    // From the beginning again, and from the end.
    let mut again = open(&spec, 0, 1, Some(begun)).await;
    assert_eq!(read(&mut *again, usize::MAX).await.len(), 110);
    let mut ended = open(&spec, 0, 1, Some(reader.positions())).await;
    assert!(matches!(fetch(&mut *ended).await, Fetched::Exhausted));
}

#[tokio::test]
async fn a_bounded_run_waits_for_transactions_that_are_open_at_its_start() {
    let topic = topic("open", 2, &[]).await;
    let producer = transactional(&topic, PATIENCE).await;
    produce(&topic, 0, numbers(0..3)).await;
    producer.begin_transaction().unwrap();
    broker::send(&producer, &topic, 0, numbers(3..10));
    // Committed, and behind what may yet be.
    produce(&topic, 0, numbers(10..15)).await;
    produce(&topic, 1, numbers(0..2)).await;
    let spec = KafkaSource { until: Some(Until::Latest), ..spec(&topic).await };
    let mut reader = open(&spec, 0, 1, None).await;
    let ends: Vec<_> = places(&*reader).into_iter().map(|(.., end)| end).collect();
    assert_eq!(ends, [Some(15), Some(2)]);
    let mut found = read(&mut *reader, 5).await;
    producer.commit_transaction(PATIENCE).unwrap();
    produce(&topic, 0, numbers(900..910)).await;
    found.extend(read(&mut *reader, usize::MAX).await);
    let mut expected: Vec<_> = (0..15).map(|n| (format!("{topic}-0"), n, Some(n.to_string()))).collect();
    expected.extend((0..2).map(|n| (format!("{topic}-1"), n, Some(n.to_string()))));
    found.sort_unstable();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn readers_go_on_exactly_where_a_checkpoint_was_at_any_parallelism() {
    let topic = topic("resume", 5, &[]).await;
    for partition in 0..5 {
        produce(&topic, partition, numbers(0..20_000)).await;
    }
    let spec = KafkaSource { until: Some(Until::Latest), ..spec(&topic).await };
    let mut seen = Vec::new();
    let mut checkpoint = None;
    for (parallelism, count) in [(1, 9_000), (2, 15_000), (3, usize::MAX)] {
        let mut positions = Vec::new();
        for subtask in 0..parallelism {
            let mut reader = open(&spec, subtask, parallelism, checkpoint.clone()).await;
            seen.extend(read(&mut *reader, count).await);
            positions.extend(reader.positions());
        }
        checkpoint = Some(positions);
    }
    let mut expected: Vec<(String, u64, Option<String>)> = Vec::new();
    for partition in 0..5 {
        expected.extend((0..20_000).map(|n| (format!("{topic}-{partition}"), n, Some(n.to_string()))));
    }
    for partition in 0..5 {
        let split = format!("{topic}-{partition}");
        let order: Vec<u64> = seen.iter().filter(|(name, ..)| *name == split).map(|(_, offset, _)| *offset).collect();
        assert!(order.is_sorted(), "records of a partition come in order");
    }
    seen.sort_unstable();
    expected.sort_unstable();
    assert!(seen == expected, "{} of {}", seen.len(), expected.len());
}

#[tokio::test]
async fn a_fetch_that_is_dropped_has_lost_nothing() {
    let topic = topic("dropped", 2, &[]).await;
    let mut reader = open(&spec(&topic).await, 0, 1, None).await;
    let nothing_yet = tokio::time::timeout(Duration::from_millis(2), reader.fetch()).await;
    assert!(nothing_yet.is_err(), "this one is dropped for certain; others are by chance");
    let writes = tokio::spawn({
        let topic = topic.clone();
        async move {
            for round in 0..50 {
                produce(&topic, round % 2, numbers(0..40)).await;
            }
        }
    });
    let mut offsets = BTreeMap::<String, Vec<u64>>::new();
    while offsets.values().map(Vec::len).sum::<usize>() < 2000 {
        if let Ok(fetched) = tokio::time::timeout(Duration::from_millis(2), reader.fetch()).await {
            let Fetched::Records(records) = fetched.unwrap() else { panic!("only records here") };
            for (split, offset, _) in values(&*reader, &*records) {
                offsets.entry(split).or_default().push(offset);
            }
        }
    }
    writes.await.unwrap();
    let all: Vec<u64> = (0..1000).collect();
    assert_eq!(offsets.into_values().collect::<Vec<_>>(), [all.clone(), all]);
}

#[tokio::test]
async fn a_new_partition_is_found_and_read_from_its_first_record() {
    let topic = topic("grows", 1, &[]).await;
    produce(&topic, 0, numbers(0..3)).await;
    let spec = KafkaSource {
        partition_discovery_interval: HumanDuration(Duration::from_millis(200)),
        start_from: StartFrom::Latest,
        ..spec(&topic).await
    };
    let mut mine = open(&spec, 0, 2, None).await;
    let mut other = open(&spec, 1, 2, None).await;
    assert_eq!(places(&*mine), [(format!("{topic}-0"), 3, None)]);
    assert_eq!(places(&*other), []);

    admin().await.create_partitions(&[NewPartitions::new(&topic, 3)], &AdminOptions::new()).await.unwrap();
    eventually("the new partition takes records", || async {
        let consumer: BaseConsumer = broker::config().await.create().unwrap();
        consumer.fetch_watermarks(&topic, 2, PATIENCE).is_ok() && consumer.fetch_watermarks(&topic, 1, PATIENCE).is_ok()
    })
    .await;
    produce(&topic, 1, numbers(10..12)).await;
    produce(&topic, 2, numbers(20..22)).await;
    for (reader, partition, first) in [(&mut mine, 2, "20"), (&mut other, 1, "10")] {
        assert!(matches!(fetch(&mut **reader).await, Fetched::SplitsChanged));
        let split = format!("{topic}-{partition}");
        assert_eq!(places(&**reader).last(), Some(&(split.clone(), 0, None)));
        let records = read(&mut **reader, 2).await;
        assert_eq!(records.first(), Some(&(split.clone(), 0, Some(first.to_owned()))));
        assert_eq!(places(&**reader).last(), Some(&(split, 2, None)));
    }
}

/// A partition of which nobody knew at the first start has nothing but records that came since.
#[tokio::test]
async fn a_partition_that_is_younger_than_the_first_start_is_read_from_its_first_record() {
    let topic = topic("grows-between-starts", 1, &[]).await;
    produce(&topic, 0, numbers(0..3)).await;
    let spec = KafkaSource { start_from: StartFrom::Latest, ..spec(&topic).await };
    let source = KafkaTopic::new("job", "orders", &spec).unwrap();
    let found = source.find_splits(None).await.unwrap();
    admin().await.create_partitions(&[NewPartitions::new(&topic, 2)], &AdminOptions::new()).await.unwrap();
    eventually("the new partition takes records", || async {
        let consumer: BaseConsumer = broker::config().await.create().unwrap();
        consumer.fetch_watermarks(&topic, 1, PATIENCE).is_ok()
    })
    .await;
    produce(&topic, 1, numbers(10..12)).await;
    let again = source.find_splits(Some(&found)).await.unwrap();
    let reader = source.reader(ALONE, Positions::Found(again)).await.unwrap();
    assert_eq!(places(&*reader), [(format!("{topic}-0"), 3, None), (format!("{topic}-1"), 0, None)]);
}

#[tokio::test]
async fn a_record_without_a_value_is_told_from_an_empty_one() {
    let topic = topic("tombstones", 1, &[]).await;
    let producer: rdkafka::producer::BaseProducer = broker::config().await.create().unwrap();
    for value in [Some("value"), None, Some("")] {
        broker::send_keyed(&producer, &topic, 0, Some("key"), value);
    }
    producer.flush(PATIENCE).unwrap();
    let mut reader = open(&spec(&topic).await, 0, 1, None).await;
    let found: Vec<Option<String>> = read(&mut *reader, 3).await.into_iter().map(|(.., value)| value).collect();
    assert_eq!(found, [Some("value".to_owned()), None, Some(String::new())]);
}

#[tokio::test]
async fn a_completed_checkpoint_shows_in_the_group() {
    let topic = topic("group", 2, &[]).await;
    produce(&topic, 1, numbers(0..9)).await;
    let spec = KafkaSource { group_id: Some(broker::unique("group")), ..spec(&topic).await };
    let mut reader = open(&spec, 0, 1, None).await;
    read(&mut *reader, 9).await;
    let positions = reader.positions();
    reader.checkpoint_completed(Epoch(1), &positions).unwrap();

    let consumer: BaseConsumer =
        broker::config().await.set("group.id", spec.group_id.as_deref().unwrap()).create().unwrap();
    eventually("the group has the offsets", || async {
        let mut list = TopicPartitionList::new();
        list.add_partition(&topic, 0);
        list.add_partition(&topic, 1);
        let found = consumer.committed_offsets(list, PATIENCE).unwrap();
        found.elements().iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::offset).collect::<Vec<_>>()
            == [Offset::Offset(0), Offset::Offset(9)]
    })
    .await;
}

#[tokio::test]
async fn a_full_batch_does_not_wait_and_its_records_outlive_the_reader() {
    let topic = topic("batches", 2, &[]).await;
    for partition in 0..2 {
        produce(&topic, partition, numbers(0..30_000)).await;
    }
    let mut reader = open(&spec(&topic).await, 0, 1, None).await;
    let mut kept = Vec::new();
    let mut count = 0;
    while count < 60_000 {
        let Fetched::Records(records) = fetch(&mut *reader).await else { panic!("only records here") };
        assert!(records.len() <= 8192);
        count += records.len();
        kept.push(records);
    }
    assert!(kept.iter().any(|records| records.len() == 8192), "batches fill up");
    drop(reader);
    let bytes: usize = kept.iter().flat_map(|batch| (0..batch.len()).map(|i| batch.payload(i).unwrap().len())).sum();
    assert_eq!(bytes, 2 * numbers(0..30_000).map(|value| value.len()).sum::<usize>());
}
