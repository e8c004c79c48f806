//! Reading back what servers have, as a reader of committed rows sees it.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use serde_json::Value;

use super::{
    Rows,
    readback::{cents, row},
};
use crate::counterparts::ClickHouse;

const PATIENCE: Duration = Duration::from_mins(5);

/// Everything in a topic that a read-committed reader sees, once all transactions in it are decided.
pub fn kafka_rows(bootstrap: &str, topic: &str) -> Rows {
    values(bootstrap, topic).iter().map(|value| row(value)).collect()
}

/// As [`kafka_rows`], as they are.
pub fn kafka_lines(bootstrap: &str, topic: &str) -> Rows {
    values(bootstrap, topic).into_iter().map(|value| String::from_utf8(value).expect("text")).collect()
}

fn values(bootstrap: &str, topic: &str) -> Vec<Vec<u8>> {
    wait_for_markers(bootstrap, topic);
    let consumer = consumer(bootstrap, "read_committed");
    let partitions = partitions(&consumer, topic);
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition");
    }
    consumer.assign(&list).expect("an assignment");
    let (mut values, mut ended) = (Vec::new(), 0);
    while ended < partitions {
        match consumer.poll(PATIENCE).expect("the end of each partition in time") {
            Ok(message) => values.push(message.payload().expect("a value").to_owned()),
            Err(KafkaError::PartitionEOF(_)) => ended += 1,
            Err(error) => panic!("failed to read {topic}: {error}"),
        }
    }
    values
}

fn consumer(bootstrap: &str, isolation: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "oracle")
        .set("isolation.level", isolation)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .expect("a consumer")
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> i32 {
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("metadata");
    metadata.topics()[0].partitions().len() as i32
}

/// Waits until every transaction in a topic is decided. A producer does not wait until the markers of its transaction are
/// in every partition; a reader who comes before them finds an earlier end.
pub fn wait_for_markers(bootstrap: &str, topic: &str) {
    let [stable, last] = ["read_committed", "read_uncommitted"].map(|isolation| consumer(bootstrap, isolation));
    let end =
        |consumer: &BaseConsumer, partition| consumer.fetch_watermarks(topic, partition, PATIENCE).expect("ends").1;
    let deadline = Instant::now() + PATIENCE;
    while (0..partitions(&last, topic)).any(|partition| end(&stable, partition) < end(&last, partition)) {
        assert!(Instant::now() < deadline, "a transaction in {topic} stays undecided");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Everything in a table.
pub async fn clickhouse_rows(server: &ClickHouse, table: &str) -> Rows {
    let query = format!(
        "SELECT toUnixTimestamp64Milli(window_start) AS window_start, store_id, toString(total) AS total, orders \
         FROM {table} FORMAT JSONEachRow SETTINGS output_format_json_quote_64bit_integers = 0"
    );
    let lines = server.query(&query).await.expect("the table is readable");
    lines
        .lines()
        .map(|line| {
            let value: Value = serde_json::from_str(line).expect("rows are JSON");
            let field = |name: &str| value[name].to_string();
            format!(
                "{} store {}: {} cents, {} orders",
                field("window_start"),
                field("store_id"),
                cents(&field("total")),
                field("orders")
            )
        })
        .collect()
}
