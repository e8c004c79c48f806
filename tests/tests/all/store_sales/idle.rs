//! Partitions that bring nothing.

use std::{ops::Range, sync::atomic::AtomicBool, time::Duration};

use tidegate_crds::api::JobStatus;
use tidegate_tests::{
    counterparts::clickhouse,
    job::End,
    oracle::{Workload, reference},
    skip::is_named,
    world::{PATIENCE, Run, World, until},
};

use super::outages::have_paused;

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

/// Of the partition that is not idle: before the table is gone, and while it is until the sources pause.
const BEFORE: u64 = 200_000;
const DOWN: u64 = 150_000;
/// Of each partition, while the sources pause.
const GATHERED: u64 = 60_000;
/// Partitions of a topic, the one whose orders are the oldest first: the first two are the second subtask's.
const GATHERING: [u64; 4] = [1, 3, 2, 0];

async fn produce(world: &World, run: &Run, workload: &Workload, orders: Range<u64>, partition: u64) {
    let (bootstrap, topic, workload) = (world.kafka.bootstrap().to_owned(), run.orders.clone(), workload.clone());
    let produced = move || workload.produce_some(&bootstrap, &topic, orders, partition..partition + 1);
    tokio::task::spawn_blocking(produced).await.unwrap();
}

/// Three of four partitions are idle, and with them one subtask as a whole, when the sources pause. Orders gather in all of
/// them, those of that subtask the oldest: whichever goes on first must not take the others for idle still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_fill_while_the_sources_pause_are_not_idle_when_they_go_on() {
    const MOST: u64 = 3;
    if is_named(clickhouse::VARIABLE) {
        return;
    }
    let mut world = World::start().await;
    let partitions = GATHERING.len() as u64;
    let workload = Workload::new(64, BEFORE + DOWN + partitions * GATHERED);
    Workload::create_topic(world.kafka.bootstrap(), "orders-idle-paused", GATHERING.len() as i32).await;
    let run = world.results("idle-paused", "orders-idle-paused").await;
    produce(&world, &run, &workload, 0..BEFORE, 0).await;
    let mut process = world
        .job(&run, "idle-paused")
        .set("spec.parallelism", 2)
        .set("spec.sources[0].kafka.until", "null")
        .set("spec.sources[0].watermark.idleTimeout", "1s")
        .set("spec.checkpoint.maxPendingEpochs", MOST)
        .start();
    until("partitions without orders to be idle", async || !world.table_rows(&run).await.is_empty()).await;
    world.clickhouse.kill_9().unwrap();
    produce(&world, &run, &workload, BEFORE..BEFORE + DOWN, 0).await;
    process.wait_for("the sources to pause", PATIENCE, have_paused(MOST)).await;
    let read = process.records_read("orders", PATIENCE).await;
    for (index, partition) in (0..).zip(GATHERING) {
        let first = BEFORE + DOWN + index * GATHERED;
        produce(&world, &run, &workload, first..first + GATHERED, partition).await;
    }
    let (bootstrap, topic, closing) = (world.kafka.bootstrap().to_owned(), run.orders.clone(), workload.clone());
    tokio::task::spawn_blocking(move || closing.close(&bootstrap, &topic, partitions)).await.unwrap();
    let left = workload.count + partitions - read;
    let gathered = |status: &JobStatus| status.sources.iter().any(|source| source.lag == left);
    process.wait_for("the orders to gather", PATIENCE, gathered).await;
    // Longer than a partition may be silent.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(process.records_read("orders", PATIENCE).await, read, "a paused source has read");
    }
    world.clickhouse.restart().await.unwrap();
    let is_done =
        |status: &JobStatus| status.sources.len() == 1 && status.sources[0].lag == 0 && status.pending_epochs == 0;
    process.wait_for("all orders to be read", PATIENCE, is_done).await;
    assert_eq!(process.late_records(PATIENCE).await, 0, "late orders");
    process.signal("TERM");
    assert_eq!(process.wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
}
