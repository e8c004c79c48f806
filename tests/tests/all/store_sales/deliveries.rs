//! The deliveries that promise less than exactly once, and ClickHouse by key, in jobs that are killed: what each promises.

use std::collections::BTreeSet;

use tidegate_tests::{
    job::Job,
    oracle::{Rows, Workload, assert_same, clickhouse_rows, reference},
    world::{PATIENCE, Run, World},
};

const ORDERS: u64 = 600_000;
const FAULTS: [(&str, u64); 5] = [
    ("after-state-upload", 9),
    ("before-own", 2),
    ("before-publish", 1),
    ("recovery-settling", 1),
    ("before-epoch-committed", 2),
];

/// The store-sales job with another delivery of its feed.
async fn job(world: &World, name: &str, delivery: &str) -> (Job, Run, Workload) {
    let workload = Workload::new(131, ORDERS);
    let run = world.store_sales(name, &workload).await;
    let job = world.job(&run, name).set("spec.sinks[1].delivery", delivery).paced(ORDERS);
    (job, run, workload)
}

fn distinct(rows: &Rows) -> BTreeSet<&str> {
    rows.iter().map(|(row, _)| row).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_least_once_loses_no_row_and_invents_none_when_the_job_is_killed() {
    let world = World::shared().await;
    let (mut job, run, workload) = job(world, "at-least-once", "AtLeastOnce").await;
    job.kill_at_each(&FAULTS, PATIENCE);
    job.finish(PATIENCE);
    let (found, expected) = (world.feed_rows(&run).await, reference(&workload));
    assert_eq!(distinct(&found), distinct(&expected));
    println!("{} repeats", found.len() - expected.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivery_none_invents_no_row_when_the_job_is_killed() {
    let world = World::shared().await;
    let (mut job, run, workload) = job(world, "no-delivery", "None").await;
    job.kill_at_each(&FAULTS, PATIENCE);
    job.finish(PATIENCE);
    let (found, expected) = (world.feed_rows(&run).await, reference(&workload));
    let invented: Vec<&str> = distinct(&found).difference(&distinct(&expected)).copied().collect();
    assert!(invented.is_empty(), "{invented:?}");
    assert!(!found.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_keeps_one_row_a_key_is_exact_when_the_job_is_killed() {
    let world = World::shared().await;
    let (job, run, workload) = job(world, "one-row-a-key", "ExactlyOnce").await;
    let table = format!("{}_by_key", run.table);
    let statement = format!(
        "CREATE TABLE {table} (window_start DateTime64(3, 'UTC'), store_id Int64, total Decimal(22, 2), orders Int64) \
         ENGINE = ReplacingMergeTree(orders) ORDER BY (window_start, store_id)"
    );
    world.clickhouse.query(&statement).await.unwrap();
    let mut job = job.set("spec.sinks[0].clickHouse.table", &table).set("spec.sinks[0].delivery", "Idempotent");
    job.kill_at_each(&FAULTS, PATIENCE);
    job.finish(PATIENCE);
    let expected = reference(&workload);
    assert_same("ClickHouse", &clickhouse_rows(&world.clickhouse, &format!("{table} FINAL")).await, &expected);
    assert_same("Kafka", &world.feed_rows(&run).await, &expected);
}
