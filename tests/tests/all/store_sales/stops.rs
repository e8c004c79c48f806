//! Clean ends: a stop and going on, a finished job.

use tidegate_tests::{
    job::End,
    oracle::Workload,
    world::{PATIENCE, World},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_job_goes_on_where_it_was_and_a_finished_one_does_nothing_more() {
    let world = World::shared().await;
    let workload = Workload::new(3, 2_000_000);
    let run = world.store_sales("stopped-by-a-signal", &workload).await;
    let mut job = world.job(&run, "stopped-by-a-signal").paced(workload.count);
    let mut process = job.start();
    process.wait_for_epoch(2, PATIENCE).await;
    process.signal("TERM");
    assert_eq!(process.wait(PATIENCE), End::Finished, "a stop is a clean end");
    job.finish(PATIENCE);
    world.assert_exact(&run, &workload).await;
    job.finish(PATIENCE);
    world.assert_exact(&run, &workload).await;
}
