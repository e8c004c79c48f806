//! Several checkpoints under way at a time: slow uploads, `kill -9`, and every row compared. No servers.

use std::time::Duration;

use tidegate_crds::api::{CheckpointHistory, CheckpointStatus};
use tidegate_tests::{
    crew::{Crew, Link},
    job::{End, Job, Process},
    local::Local,
    world::PATIENCE,
};

const ORDERS: u64 = 900_000;

/// Checkpoints every tenth of a second, of which each takes up to some tenths.
fn overlapping(job: Job) -> Job {
    job.set("spec.checkpoint.interval", "100ms")
        .set("spec.checkpoint.maxConcurrent", 3)
        .set("spec.checkpoint.retained", 1)
        .paced(ORDERS)
        .env("TIDEGATE_UPLOAD_MS", 500)
}

/// The newest checkpoints, in the order in which they were decided.
async fn checkpoints(process: &mut Process) -> Vec<CheckpointStatus> {
    let (code, body) = process.get("/v1/checkpoints", PATIENCE).await;
    assert_eq!(code, 200, "{body}");
    let CheckpointHistory { mut checkpoints } = serde_json::from_str(&body).unwrap();
    checkpoints.reverse();
    checkpoints
}

/// How many of them began while the one before was under way.
fn overlaps(all: &[CheckpointStatus]) -> usize {
    let overlap = |pair: &&[CheckpointStatus]| pair[1].started_at_ms < pair[0].started_at_ms + pair[0].duration_ms;
    all.windows(2).filter(overlap).count()
}

/// Waits until checkpoints have overlapped, and gives how many have, and how many there are.
async fn until_they_overlap(process: &mut Process) -> (usize, usize) {
    process.wait_for("two checkpoints under way", PATIENCE, |status| status.checkpoints_under_way > 1).await;
    loop {
        let all = checkpoints(process).await;
        if overlaps(&all) > 2 {
            let owned = all.iter().filter(|checkpoint| checkpoint.failure.is_none()).map(|checkpoint| checkpoint.epoch);
            assert!(owned.is_sorted(), "{all:?}");
            return (overlaps(&all), all.len());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_overlapping_checkpoints_is_exact_whenever_it_is_killed() {
    let local = Local::new(ORDERS);
    // Until checkpoints overlap takes as many of them as chance will have it.
    let mut job = overlapping(local.sales_job()).paced(ORDERS / 6);
    for start in 0..6 {
        let mut process = job.start();
        let (overlapping, all) = until_they_overlap(&mut process).await;
        println!("start {start}: {overlapping} of {all} checkpoints began while the one before was under way");
        tokio::time::sleep(Duration::from_millis(start * 37)).await;
        assert_eq!(process.kill_9(), End::Killed);
    }
    overlapping(local.sales_job()).finish(PATIENCE);
    local.assert_sales();
}

/// Kills the job at each of `faults` in turn, then lets it finish.
fn exact_after(faults: &[(&str, u64)]) {
    let local = Local::new(ORDERS);
    let mut job = overlapping(local.sales_job());
    job.kill_at_each(faults, PATIENCE);
    local.sales_job().finish(PATIENCE);
    local.assert_sales();
}

macro_rules! killed_at {
    ($($test:ident: $($place:literal @ $nth:literal),+;)+) => {
        $(#[test]
        fn $test() {
            exact_after(&[$(($place, $nth)),+]);
        })+
    };
}

killed_at! {
    killed_around_overlapping_uploads:
        "before-state-upload"@19, "after-state-upload"@14, "after-state-upload"@21, "before-state-upload"@26;
    killed_around_the_manifests_of_overlapping_checkpoints:
        "before-manifest"@4, "after-manifest"@3, "before-own"@4, "after-own"@3, "after-own"@4;
    killed_while_overlapping_checkpoints_are_published_and_collected:
        "before-epoch-committed"@3, "collecting"@4, "after-epoch-committed"@4, "collecting"@9;
}

#[test]
fn what_overlapping_checkpoints_left_is_published_once() {
    let local = Local::new(ORDERS);
    let mut job = overlapping(local.unique_job());
    let faults = [
        ("before-publish", 4),
        ("recovery-settling", 1),
        ("recovery-settled", 1),
        ("after-own", 3),
        ("recovery-claimed", 1),
    ];
    job.kill_at_each(&faults, PATIENCE);
    job.finish(PATIENCE);
    assert_eq!(local.assert_none_lost(), 0, "rows are there twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlapping_checkpoints_of_several_workers_survive_them() {
    let local = Local::new(ORDERS);
    let job = overlapping(local.sales_job())
        .set("spec.restart", r#"{"fixedDelay":{"delay":"50ms","attempts":10000}}"#)
        .set("spec.checkpoint.tolerableFailures", 3);
    let mut crew = Crew::start_linked(Link::Plain, job, 2, 1);
    for victim in [0, 1, 0] {
        until_they_overlap(crew.coordinator()).await;
        crew.replace_worker(victim);
        let epoch = crew.coordinator().wait_for_epoch(1, PATIENCE).await;
        crew.coordinator().wait_for_epoch(epoch + 1, PATIENCE).await;
    }
    assert_eq!(crew.wait(PATIENCE), End::Finished);
    local.assert_sales();
}

#[test]
fn at_least_once_overlapping_checkpoints_lose_no_row() {
    let local = Local::new(ORDERS);
    let mut job = overlapping(local.unique_job()).set("spec.checkpoint.mode", "AtLeastOnce");
    job.kill_at_each(&[("after-own", 3), ("after-state-upload", 14), ("before-own", 4), ("after-own", 2)], PATIENCE);
    job.finish(PATIENCE);
    println!("{} repeats", local.assert_none_lost());
}
