//! Two processes of one job that both stand by, and can't reach each other. No servers.

use std::{fs, time::Duration};

use tidegate_crds::api::{FailureReason, JobStatus, Phase};
use tidegate_tests::{
    job::{End, Job},
    local::Local,
    world::PATIENCE,
};

const ORDERS: u64 = 300_000;
/// A second: so few that no process of the test comes to the end.
const RATE: u64 = 500;
/// Where nobody listens.
const NOWHERE: &str = "127.0.0.1:1";

/// A process of the job as in a cluster whose addresses are not those of the other's.
fn process(local: &Local, name: &str) -> Job {
    local
        .job()
        .set("spec.checkpoint.interval", "200ms")
        .set("spec.sources[0].generator.rate", RATE)
        .env("TIDEGATE_STAND_BY", true)
        .env("TIDEGATE_POD_NAME", name)
        .env("TIDEGATE_ADVERTISE", NOWHERE)
}

/// Attempts in the log of the job.
fn attempts(local: &Local) -> Vec<String> {
    let job = fs::read_dir(local.checkpoints()).unwrap().next().expect("a job").unwrap().path();
    let mut names: Vec<String> =
        fs::read_dir(job.join("log")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_can_not_reach_each_other_one_runs_the_job_and_the_other_waits_until_it_is_gone() {
    let local = Local::new(ORDERS);
    let mut first = process(&local, "first").start();
    first.wait_for_epoch(2, PATIENCE).await;
    // The first does not answer, so it is taken for gone.
    let mut second = process(&local, "second").start();
    second.wait_for("the job to be taken", PATIENCE, |status| status.attempt == Some(2)).await;
    let waits = |status: &JobStatus| {
        let failure = status.failure.as_ref().filter(|failure| failure.reason == FailureReason::OwnedElsewhere);
        failure.is_some_and(|failure| failure.message.contains("does not answer it"))
    };
    first.wait_for("the first to see that it was well when it was sealed", PATIENCE, waits).await;
    // Two times as long as it watches the log before it takes the job of one that writes nothing.
    for _ in 0..100 {
        let owned = second.wait_for("a status", PATIENCE, |_| true).await;
        assert_eq!((owned.attempt, owned.restarts), (Some(2), 0), "the job was taken back: {owned:?}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let status = first.wait_for("a status", PATIENCE, |_| true).await;
    assert_eq!((status.phase, waits(&status)), (Phase::Claiming, true), "{status:?}");
    assert_eq!(attempts(&local), ["00000001", "00000002"], "attempts in turns");

    assert_eq!(second.kill_9(), End::Killed);
    let runs = |status: &JobStatus| status.attempt == Some(3) && status.phase == Phase::Running;
    let back = first.wait_for("the first to take the job back", PATIENCE, runs).await;
    first.wait_for_epoch(back.committed_epoch.unwrap_or_default() + 2, PATIENCE).await;
    first.signal("TERM");
    assert_eq!(first.wait(PATIENCE), End::Finished);
    assert_eq!(attempts(&local), ["00000001", "00000002", "00000003"]);
    let mut last = local.job();
    last.finish(PATIENCE);
    local.assert_exact();
}
