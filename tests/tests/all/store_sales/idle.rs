//! Partitions that bring nothing.

use std::sync::atomic::AtomicBool;

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
