//! How far a job says it is behind.

use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};
use tidegate_crds::api::{JobStatus, SourceStatus};
use tidegate_tests::{
    oracle::Workload,
    world::{PATIENCE, World},
};

fn lag(status: &JobStatus) -> Option<u64> {
    match status.sources.as_slice() {
        [SourceStatus { name, lag }] if name == "orders" => Some(*lag),
        _ => None,
    }
}

/// One order in each partition, in a transaction that is aborted.
fn abort_some(bootstrap: &str, topic: &str, partitions: i32) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("transactional.id", format!("lag-{topic}"))
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    for partition in 0..partitions {
        let record: BaseRecord<'_, str, str> = BaseRecord::to(topic).partition(partition).payload("no order at all");
        producer.send(record).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    producer.abort_transaction(PATIENCE).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_behind_while_it_reads_a_backlog_and_then_no_more() {
    let world = World::shared().await;
    let workload = Workload::new(51, 1_500_000);
    let run = world.store_sales("lag", &workload).await;
    let (bootstrap, topic) = (world.kafka.bootstrap().to_owned(), run.orders.clone());
    tokio::task::spawn_blocking(move || abort_some(&bootstrap, &topic, 8)).await.unwrap();
    let mut process = world.job(&run, "lag").set("spec.sources[0].kafka.until", "null").start();
    process.wait_for("a lag", PATIENCE, |status| lag(status) > Some(0)).await;
    process.wait_for("no lag, behind aborted records", PATIENCE, |status| lag(status) == Some(0)).await;
    let (_, metrics) = process.get("/metrics", PATIENCE).await;
    assert!(metrics.contains("tidegate_source_lag_records{name=\"orders\"} 0\n"), "{metrics}");
}
