//! A topic that has got partitions since the reader was opened: what the reader says that it knows.

use std::time::Duration;

use rdkafka::{mocking::MockCluster, producer::DefaultProducerContext};
use tidegate_crds::{HumanDuration, KafkaSource};

use super::{
    KafkaTopic,
    reader::{KafkaReader, KnownTopic},
    split::Split,
};
use crate::{
    env,
    ids::SubtaskIndex,
    source::{Fetched, ReaderContext, SourceReader},
};

const PATIENCE: Duration = Duration::from_mins(1);

/// A topic of two partitions.
fn cluster() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("orders", 2, 1).unwrap();
    cluster
}

fn fields(cluster: &MockCluster<'static, DefaultProducerContext>) -> KafkaSource {
    let fields = serde_json::json!({ "bootstrapServers": cluster.bootstrap_servers(), "topic": "orders" });
    serde_json::from_value(fields).unwrap()
}

/// The first of `parallelism` readers, from when the topic had one partition.
fn open(fields: &KafkaSource, parallelism: u32, discovery: Option<Duration>) -> KafkaReader {
    let interval = HumanDuration(discovery.unwrap_or_default());
    let fields = KafkaSource { partition_discovery_interval: interval, ..fields.clone() };
    let topic = KafkaTopic::new("job", "orders", &fields).unwrap();
    let context = ReaderContext { subtask: SubtaskIndex(0), parallelism };
    let known = KnownTopic { id: None, partitions: 1, asked_at: env::monotonic() };
    KafkaReader::new(topic, context, vec![Split::new(0, 0, None)], known).unwrap()
}

fn splits(reader: &KafkaReader) -> Vec<String> {
    reader.positions().into_iter().map(|state| state.split).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looks_for_partitions_knows_all_that_there_were_when_it_was_asked() {
    let cluster = cluster();
    let fields = fields(&cluster);
    // As it is where nobody sets it.
    let discovery = fields.partition_discovery_interval.0;
    for (parallelism, is_mine) in [(1, true), (2, false)] {
        let mut reader = open(&fields, parallelism, Some(discovery));
        let asked_at = env::monotonic();
        assert!(reader.splits_known_at().expect("the watermark waits for looks") <= asked_at);
        assert_eq!(reader.look_for_splits().await.unwrap(), is_mine, "parallelism {parallelism}");
        assert!(reader.splits_known_at().unwrap() >= asked_at, "parallelism {parallelism}");
        assert_eq!(splits(&reader), if is_mine { vec!["orders-0", "orders-1"] } else { vec!["orders-0"] });
        // There are no others.
        let asked_at = env::monotonic();
        assert!(!reader.look_for_splits().await.unwrap(), "parallelism {parallelism}");
        assert!(reader.splits_known_at().unwrap() >= asked_at);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_partition_is_told_before_it_is_said_that_all_are_known() {
    let cluster = cluster();
    for (parallelism, is_mine) in [(1, true), (2, false)] {
        let mut reader = open(&fields(&cluster), parallelism, Some(Duration::from_millis(10)));
        let before = reader.splits_known_at().unwrap();
        let mut is_told = false;
        while reader.splits_known_at().unwrap() == before {
            match env::within(PATIENCE, reader.fetch()).await.expect("a look").unwrap() {
                Fetched::SplitsChanged => is_told = true,
                Fetched::SplitsKnown => assert_eq!(is_told, is_mine, "parallelism {parallelism}"),
                _ => panic!("there are no records"),
            }
            assert!(reader.splits_known_at().unwrap() == before || is_told == is_mine, "parallelism {parallelism}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_are_looked_for_rarely_or_never_are_not_waited_for() {
    let cluster = cluster();
    for discovery in [None, Some(Duration::from_mins(5))] {
        let mut reader = open(&fields(&cluster), 1, discovery);
        assert_eq!(reader.splits_known_at(), None, "{discovery:?}");
        assert!(!reader.look_for_splits().await.unwrap(), "{discovery:?}");
        assert_eq!(splits(&reader), ["orders-0"], "{discovery:?}");
    }
}
