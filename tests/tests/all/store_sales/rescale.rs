//! Another parallelism while the job runs, in the same processes.

use tidegate_crds::api::{JobStatus, Phase};
use tidegate_tests::{
    job::{End, Job, Process},
    oracle::Workload,
    world::{PATIENCE, Run, World},
};

const STEPS: [u32; 3] = [4, 3, 1];

fn job(world: &World, run: &Run, name: &str) -> Job {
    world
        .job(run, name)
        .set("spec.parallelism", 2)
        .set("spec.restart", r#"{"fixedDelay":{"delay":"50ms","attempts":10000}}"#)
}

fn runs(status: &JobStatus) -> bool {
    status.phase == Phase::Running
}

fn has_read_all(status: &JobStatus) -> bool {
    status.sources.len() == 1 && status.sources[0].lag == 0
}

/// Asks for another parallelism, and waits until the job runs with it and has published something.
async fn rescale(process: &mut Process, parallelism: u32) {
    let body = format!(r#"{{"parallelism": {parallelism}}}"#);
    process.wait_for("the job to run", PATIENCE, runs).await;
    let (code, answer) = process.post("/v1/rescale", &body, PATIENCE).await;
    assert_eq!(code, 202, "{answer}");
    let rescaled = |status: &JobStatus| status.parallelism == parallelism && runs(status);
    let status = process.wait_for("the other parallelism", PATIENCE, rescaled).await;
    process.wait_for_epoch(status.committed_epoch.unwrap_or_default() + 1, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_two_to_four_to_three_to_one_in_one_process_that_is_killed_in_between() {
    let world = World::shared().await;
    let name = "rescaled";
    let run = world.empty_run(name).await;
    let flow = world.flow(&run, Workload::new(91, 0), 20_000);
    let mut job = job(world, &run, name).set("spec.sources[0].kafka.until", "null");
    let mut process = job.start();
    process.wait_for_epoch(2, PATIENCE).await;
    for parallelism in STEPS {
        rescale(&mut process, parallelism).await;
        assert_eq!(process.wait_for("its restarts", PATIENCE, |_| true).await.restarts, 0, "a rescale is no failure");
        process.kill_9();
        process = job.start();
        let status = process.wait_for("the job to run", PATIENCE, runs).await;
        assert_eq!(status.parallelism, parallelism, "it stays as it was asked for");
    }
    let workload = flow.end().await;
    process.wait_for("all orders to be read", PATIENCE, has_read_all).await;
    process.signal("TERM");
    assert_eq!(process.wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
    world.assert_storage_whole(name).await;
}
