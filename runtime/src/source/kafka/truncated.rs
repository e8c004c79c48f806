//! A partition that lost what was read of it: a leader was elected that did not have it, and took other records in.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    ClientConfig,
    mocking::MockCluster,
    producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer},
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use tidegate_crds::{HumanDuration, KafkaSource, StartFrom};

use super::{
    KafkaTopic,
    reader::{KafkaReader, KnownTopic},
    split::Split,
};
use crate::{
    env,
    ids::SubtaskIndex,
    source::{Fetched, ReaderContext, RecordPlace, SourceError, SourceReader},
};

const PATIENCE: Duration = Duration::from_mins(1);

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn produce(cluster: &Cluster, count: u64) {
    produce_values(cluster, count, "{}");
}

fn produce_values(cluster: &Cluster, count: u64, value: &str) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap();
    for _ in 0..count {
        producer.send(BaseRecord::<(), str>::to("orders").partition(0).payload(value)).unwrap();
        // Each is a batch of its own.
        producer.flush(PATIENCE).unwrap();
    }
}

/// A reader of the partition from `next` on. The cluster has no ids of topics.
fn open(cluster: &Cluster, next: u64, newest: Option<RecordPlace>) -> KafkaReader {
    let spec = KafkaSource {
        bootstrap_servers: cluster.bootstrap_servers(),
        topic: "orders".into(),
        group_id: None,
        start_from: StartFrom::Earliest,
        start_timestamp: None,
        until: None,
        partition_discovery_interval: HumanDuration::from_secs(0),
        security: None,
        properties: BTreeMap::new(),
    };
    let topic = KafkaTopic::new("job", "orders", &spec).unwrap();
    let context = ReaderContext { subtask: SubtaskIndex(0), parallelism: 1 };
    let known = KnownTopic { id: None, partitions: 1, asked_at: env::monotonic() };
    let splits = vec![Split::new(0, next, None).after(newest)];
    KafkaReader::new(topic, context, splits, known).unwrap()
}

/// Where the reader is when it has read so many records.
async fn read(mut reader: KafkaReader, mut count: usize) -> Result<(u64, Option<RecordPlace>), SourceError> {
    while count > 0 {
        if let Fetched::Records(records) = env::within(PATIENCE, reader.fetch()).await.expect("records")? {
            count = count.saturating_sub(records.len());
        }
    }
    let state = reader.positions().remove(0);
    Ok((state.next, state.provenance.and_then(|provenance| provenance.newest_record)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_another_leader_put_in_place_of_those_read_are_not_read_past() {
    let cluster = MockCluster::new(2).unwrap();
    cluster.create_topic("orders", 1, 2).unwrap();
    cluster.partition_leader("orders", 0, Some(1)).unwrap();
    produce(&cluster, 5);
    let (next, before) = read(open(&cluster, 0, None), 5).await.unwrap();
    assert_eq!(next, 5);
    cluster.partition_leader("orders", 0, Some(2)).unwrap();
    produce(&cluster, 5);
    let (next, after) = read(open(&cluster, 5, before), 5).await.unwrap();
    assert_eq!(next, 10);
    let (before, after) = (before.unwrap(), after.unwrap());
    assert_eq!((before.offset, after.offset), (4, 9));
    assert!(before.leader_epoch < after.leader_epoch, "{before:?} {after:?}");

    // Of the first leader, eight had been read, and the second one had five.
    let lost = RecordPlace { offset: 7, ..before };
    let error = read(open(&cluster, 8, Some(lost)), 2).await.unwrap_err().to_string();
    for part in ["partition 0", "`orders`", "offset 8", "unclean leader election"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    // A checkpoint of before these were kept goes on, and learns.
    assert_eq!(read(open(&cluster, 8, None), 2).await.unwrap(), (10, Some(after)));
    // Five of the first leader were read, and markers of the second one.
    assert_eq!(read(open(&cluster, 8, Some(before)), 2).await.unwrap(), (10, Some(after)));
}

/// The mock cluster has one log for all leaders, and forgets what is oldest when it has more than 5 MiB. So the record of the
/// first leader goes, and the next leader knows nothing of it, while the place behind it is one that it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_reader_does_not_go_on_with_a_leader_that_does_not_have_what_was_read() {
    let large = "x".repeat(100_000);
    let cluster = MockCluster::new(2).unwrap();
    cluster.create_topic("orders", 1, 2).unwrap();
    cluster.partition_leader("orders", 0, Some(1)).unwrap();
    produce_values(&cluster, 1, &large);
    let mut reader = open(&cluster, 0, None);
    let fetched = env::within(PATIENCE, reader.fetch()).await.expect("a record").unwrap();
    assert!(matches!(fetched, Fetched::Records(records) if records.len() == 1));

    // The reader can't ask before all is as it is to be.
    let no_answer = vec![RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE; 1_000_000];
    cluster.request_errors(RDKafkaApiKey::OffsetForLeaderEpoch, &no_answer);
    cluster.partition_leader("orders", 0, Some(2)).unwrap();
    produce_values(&cluster, 52, &large);
    cluster.clear_request_errors(RDKafkaApiKey::OffsetForLeaderEpoch);
    let error = match env::within(PATIENCE, reader.fetch()).await.expect("an answer") {
        Ok(Fetched::Records(records)) => panic!("{} records behind those that are lost", records.len()),
        Ok(_) => panic!("neither records nor an error"),
        Err(error) => error.to_string(),
    };
    for part in ["partition 0", "`orders`", "offset 1,", "1 to 53", "unclean leader election"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!(reader.positions()[0].next, 1);
}
