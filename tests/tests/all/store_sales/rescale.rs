//! Another parallelism while the job runs, in the same processes.

use tidegate_crds::api::{JobStatus, Phase, SavepointPhase};
use tidegate_tests::{
    crew::Crew,
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
    loop {
        process.wait_for("the job to run", PATIENCE, runs).await;
        let (code, answer) = process.post("/v1/rescale", &body, PATIENCE).await;
        if code == 202 {
            break;
        }
        // That a worker was killed may be noticed in between.
        let restarts = answer.contains("interrupted") || answer.contains("it can do this while it runs");
        assert!(code == 409 && restarts, "{code}: {answer}");
    }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_two_to_four_to_three_to_one_over_workers_that_are_killed_in_between() {
    let world = World::shared().await;
    let name = "rescaled-workers";
    let run = world.empty_run(name).await;
    let flow = world.flow(&run, Workload::new(92, 0), 20_000);
    let mut crew = Crew::start(job(world, &run, name).set("spec.sources[0].kafka.until", "null"), 3, 2);
    crew.coordinator().wait_for_epoch(2, PATIENCE).await;
    let (code, answer) = crew.coordinator().post("/v1/rescale", r#"{"parallelism": 7}"#, PATIENCE).await;
    assert!(code == 409 && answer.contains("there are 6"), "{code}: {answer}");
    let (code, answer) = crew.coordinator().post("/v1/rescale", r#"{"parallelism": 0}"#, PATIENCE).await;
    assert!(code == 400 && answer.contains("accepted is 1 to 128"), "{code}: {answer}");
    for (victim, parallelism) in STEPS.into_iter().enumerate() {
        rescale(crew.coordinator(), parallelism).await;
        crew.replace_worker(victim);
        if victim == 1 {
            assert_eq!(crew.replace_coordinator(), None);
        }
        let status = crew.coordinator().wait_for("the job to run", PATIENCE, runs).await;
        assert_eq!(status.parallelism, parallelism, "it stays as it was asked for");
    }
    let workload = flow.end().await;
    crew.coordinator().wait_for("all orders to be read", PATIENCE, has_read_all).await;
    crew.coordinator().signal("TERM");
    assert_eq!(crew.wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
    world.assert_storage_whole(name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_with_a_savepoint_during_a_rescale_s_checkpoint_has_it_taken_by_the_next_attempt() {
    let world = World::shared().await;
    let name = "rescaled-stopped";
    let run = world.empty_run(name).await;
    let flow = world.flow(&run, Workload::new(93, 0), 20_000);
    let endless = |name: &str| job(world, &run, name).set("spec.sources[0].kafka.until", "null");
    // No checkpoint but those that are asked for, and each of them takes as long as the slowest of its uploads: seconds.
    let mut process = endless(name)
        .set("spec.parallelism", 6)
        .set("spec.checkpoint.interval", "1h")
        .env("TIDEGATE_UPLOAD_MS", 8000)
        .env("TIDEGATE_SUPERVISED", true)
        .start();
    let reads = |status: &JobStatus| runs(status) && !status.sources.is_empty();
    process.wait_for("the job to read", PATIENCE, reads).await;
    let (code, answer) = process.post("/v1/rescale", r#"{"parallelism": 3}"#, PATIENCE).await;
    assert_eq!(code, 202, "{answer}");
    process.wait_for("its checkpoint", PATIENCE, |status| status.checkpoints_under_way == 1).await;
    let (code, answer) = process.ask_to_stop(r#"{"purpose": "Suspend", "savepoint": "last"}"#, PATIENCE).await;
    assert_eq!(code, 202, "{answer}");
    let asked: JobStatus = serde_json::from_str(&answer).unwrap();
    assert_eq!((asked.attempt, asked.parallelism, asked.checkpoints_under_way), (Some(1), 6, 1), "{asked:?}");
    let stopped = process.wait_for("the stop", PATIENCE, |status| status.phase == Phase::Stopped).await;
    assert_eq!((stopped.attempt, stopped.parallelism, &stopped.failure), (Some(2), 3, &None), "{stopped:?}");
    let savepoint = stopped.last_savepoint.unwrap();
    assert_eq!(savepoint.phase, SavepointPhase::Completed, "{savepoint:?}");
    drop(process);
    world.assert_savepoint(&savepoint.path, true).await;

    let workload = flow.end().await;
    let mut successor = endless("rescaled-moved").set("spec.restoreFrom", format!("{{ path: '{}' }}", savepoint.path));
    let mut process = successor.start();
    process.wait_for("all orders to be read", PATIENCE, has_read_all).await;
    process.signal("TERM");
    assert_eq!(process.wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
}
