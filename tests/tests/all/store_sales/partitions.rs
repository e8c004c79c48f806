//! A topic that gets another partition while the job runs.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use tidegate_crds::api::JobStatus;
use tidegate_tests::{
    job::End,
    oracle::{Workload, reference},
    world::{PATIENCE, Run, World},
};

/// Orders of the partitions that were there from the start, before the new one comes.
const BEFORE: u64 = 120_000;
/// Those of the new partition follow.
const NEW: u64 = 120_000;
/// And then, of the others again, so many that every window of the new one's would close.
const AFTER: u64 = 400_000;
const ORDERS: u64 = BEFORE + NEW + AFTER;

/// Written before the reader can have found their partition, they are older than what it reads of the others meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_of_a_partition_that_is_new_to_a_running_job_are_not_late() {
    let world = World::shared().await;
    let workload = Workload::new(63, ORDERS);
    Workload::create_topic(world.kafka.bootstrap(), "orders-new-partition", 2).await;
    let run = world.results("new-partition", "orders-new-partition").await;
    let produce = async |run: &Run, orders: Range<u64>, partitions: Range<u64>| {
        let (bootstrap, topic) = (world.kafka.bootstrap().to_owned(), run.orders.clone());
        let workload = workload.clone();
        let produced = move || workload.produce_some(&bootstrap, &topic, orders, partitions);
        tokio::task::spawn_blocking(produced).await.unwrap();
    };
    produce(&run, 0..BEFORE, 0..2).await;
    // How often partitions are looked for is left as it is, and idle time would let a watermark go on by itself.
    let mut process = world
        .job(&run, "new-partition")
        .set("spec.sources[0].kafka.until", "null")
        .set("spec.sources[0].watermark.idleTimeout", "null")
        .start();
    let has_read_all = |status: &JobStatus| status.sources.len() == 1 && status.sources[0].lag == 0;
    process.wait_for("the orders of the first partitions", PATIENCE, has_read_all).await;

    Workload::grow_topic(world.kafka.bootstrap(), &run.orders, 3).await;
    produce(&run, BEFORE..BEFORE + NEW, 2..3).await;
    produce(&run, BEFORE + NEW..ORDERS, 0..2).await;
    let (bootstrap, topic, closing) = (world.kafka.bootstrap().to_owned(), run.orders.clone(), workload.clone());
    tokio::task::spawn_blocking(move || closing.close(&bootstrap, &topic, 3)).await.unwrap();

    let windows = reference(&workload).len();
    let deadline = Instant::now() + PATIENCE;
    while process.late_records(PATIENCE).await == 0 && world.table_rows(&run).await.len() < windows {
        assert!(Instant::now() < deadline, "in vain: every window in the table");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(process.late_records(PATIENCE).await, 0, "late orders");
    process.signal("TERM");
    assert_eq!(process.wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
}
