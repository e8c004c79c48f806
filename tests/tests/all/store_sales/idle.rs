//! Partitions that bring nothing.

use std::{sync::atomic::AtomicBool, time::Duration};

use tidegate_crds::api::JobStatus;
use tidegate_tests::{
    job::End,
    oracle::{Workload, reference},
    world::{PATIENCE, World, until},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subtask_without_records_does_not_hold_the_windows_of_the_others() {
    let world = World::shared().await;
    let run = world.empty_run("idle").await;
    let (bootstrap, topic) = (world.kafka.bootstrap().to_owned(), run.orders.clone());
    // All orders are in the first partition, which is the first subtask's.
    let orders = move || Workload::new(61, 0).flow(&bootstrap, &topic, 1, 10_000, &AtomicBool::new(true));
    let workload = tokio::task::spawn_blocking(orders).await.unwrap();
    let mut job = world
        .job(&run, "idle")
        .set("spec.sources[0].kafka.until", "null")
        .set("spec.sources[0].watermark.idleTimeout", "2s");
    let process = job.start();
    let windows = reference(&workload).len();
    until("every window is in the table", async || world.table_rows(&run).await.len() >= windows).await;
    process.signal("TERM");
    assert_eq!(process.wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
}

/// A process that is stopped for longer than partitions may be silent, while orders go on being written to all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_stopped_has_not_found_its_partitions_idle() {
    let world = World::shared().await;
    let run = world.empty_run("stopped").await;
    let flow = world.flow(&run, Workload::new(62, 0), 5_000);
    let mut process = world
        .job(&run, "stopped")
        .set("spec.parallelism", 2)
        .set("spec.sources[0].kafka.until", "null")
        .set("spec.sources[0].watermark.idleTimeout", "1s")
        .start();
    for epoch in [2, 4, 6] {
        process.wait_for_epoch(epoch, PATIENCE).await;
        process.signal("STOP");
        tokio::time::sleep(Duration::from_secs(6)).await;
        process.signal("CONT");
    }
    let workload = flow.end().await;
    let has_read_all = |status: &JobStatus| status.sources.len() == 1 && status.sources[0].lag == 0;
    process.wait_for("all orders to be read", PATIENCE, has_read_all).await;
    process.signal("TERM");
    assert_eq!(process.wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
}
