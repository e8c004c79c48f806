//! Barriers that overtake rows, and rows that pass barriers: slow operators, full channels, `kill -9`, and every row
//! compared. No servers.

use std::time::Duration;

use tidegate_crds::api::{CheckpointDetails, CheckpointStatus, JobStatus, Phase};
use tidegate_tests::{
    crew::{Crew, Link},
    job::{End, Job, Process},
    local::Local,
    world::PATIENCE,
};

const ORDERS: u64 = 600_000;
/// So that many are left when all channels are full.
const MANY_ORDERS: u64 = 900_000;
/// Orders a second, so that there is still something to read after some kills.
const RATE: u64 = 200_000;

/// The job with every batch taking a task so long.
fn slow(local: &Local, labour_ms: u64, alignment_timeout: &str) -> Job {
    local.sales_job().set("spec.checkpoint.alignmentTimeout", alignment_timeout).env("TIDEGATE_LABOUR_MS", labour_ms)
}

/// As [`slow`], with small batches that come for some seconds.
fn steady(local: &Local, labour_ms: u64, alignment_timeout: &str) -> Job {
    slow(local, labour_ms, alignment_timeout).set("spec.sources[0].generator.rate", RATE)
}

/// Waits until the sources stand still: all channels are full.
async fn until_full(process: &mut Process) {
    process.wait_for("the job to run", PATIENCE, |status| status.phase == Phase::Running).await;
    let (mut before, mut since) = (0, std::time::Instant::now());
    let deadline = since + PATIENCE;
    while since.elapsed() < Duration::from_millis(300) {
        let read = process.records_read("orders", PATIENCE).await;
        // A full channel lets a batch in for every one that is worked off.
        if read == 0 || read > before + 50_000 {
            (before, since) = (read, std::time::Instant::now());
        }
        assert!(since < deadline, "the sources never wait");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Has a checkpoint taken, and waits for the next one that is.
async fn checkpoint(process: &mut Process) -> CheckpointDetails {
    let newest = |status: &JobStatus| status.last_checkpoint.as_ref().map(|newest| newest.epoch);
    let before = newest(&process.wait_for("a status", PATIENCE, |_| true).await);
    assert_eq!(process.ask_for_checkpoint(PATIENCE).await.0, 202);
    let status = process.wait_for("the checkpoint", PATIENCE, |status| newest(status) > before).await;
    let epoch = newest(&status).unwrap();
    let (code, body) = process.get(&format!("/v1/checkpoints/{epoch}"), PATIENCE).await;
    assert_eq!(code, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// A checkpoint of full channels; then the job is killed, and finishes at full speed.
async fn checkpoint_under_back_pressure(alignment_timeout: &str) -> CheckpointStatus {
    let local = Local::new(MANY_ORDERS);
    let mut process = slow(&local, 100, alignment_timeout).set("spec.checkpoint.interval", "1h").start();
    until_full(&mut process).await;
    let CheckpointDetails { checkpoint, subtasks } = checkpoint(&mut process).await;
    assert_eq!(process.kill_9(), End::Killed);
    let rows: u64 = subtasks.iter().filter_map(|share| Some(share.unaligned?.rows)).sum();
    assert_eq!(rows, checkpoint.unaligned.map_or(0, |all| all.rows));
    local.sales_job().finish(PATIENCE);
    local.assert_sales();
    checkpoint
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_of_full_channels_is_done_in_the_time_of_a_batch_and_not_of_all_batches() {
    let aligned = checkpoint_under_back_pressure("null").await;
    let overtaken = checkpoint_under_back_pressure("0s").await;
    println!("aligned {} ms; unaligned {} ms, {:?}", aligned.duration_ms, overtaken.duration_ms, overtaken.unaligned);
    assert_eq!(aligned.unaligned, None);
    let in_flight = overtaken.unaligned.expect("rows in flight");
    assert!(in_flight.rows > 50_000 && in_flight.bytes > 0, "{in_flight:?}");
    assert!(overtaken.duration_ms * 3 < aligned.duration_ms, "{overtaken:?} and {aligned:?}");
}

/// Kills the job at each of `faults` in turn, then lets it finish.
fn exact_after(faults: &[(&str, u64)], alignment_timeout: &str) {
    let local = Local::new(ORDERS);
    let mut job = steady(&local, 10, alignment_timeout).set("spec.checkpoint.interval", "50ms");
    job.kill_at_each(faults, PATIENCE);
    local.sales_job().finish(PATIENCE);
    local.assert_sales();
}

macro_rules! killed_at {
    ($($test:ident: $timeout:literal, $($place:literal @ $nth:literal),+;)+) => {
        $(#[test]
        fn $test() {
            exact_after(&[$(($place, $nth)),+], $timeout);
        })+
    };
}

killed_at! {
    killed_around_the_upload_of_rows_in_flight: "0s",
        "rows-in-flight-uploaded"@3, "rows-in-flight-uploaded"@9, "before-state-upload"@9, "after-state-upload"@9;
    killed_around_the_manifest_of_rows_in_flight: "0s",
        "before-manifest"@2, "after-manifest"@2, "before-own"@2, "after-own"@2;
    killed_around_the_recovery_of_rows_in_flight: "0s",
        "after-own"@2, "recovery-claimed"@1, "recovery-settled"@1, "after-own"@1, "after-own"@1;
    killed_while_barriers_overtake_after_a_while: "20ms",
        "after-own"@2, "rows-in-flight-uploaded"@2, "after-own"@3;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_parallelism_goes_on_from_rows_in_flight() {
    let local = Local::new(ORDERS);
    for (start, parallelism) in [2, 3, 1, 4].into_iter().enumerate() {
        let job = steady(&local, 20, "0s").set("spec.parallelism", parallelism).set("spec.checkpoint.interval", "1h");
        let mut process = job.set("spec.checkpoint.retained", 1).start();
        until_running_with_rows_under_way(&mut process).await;
        let CheckpointDetails { checkpoint, .. } = checkpoint(&mut process).await;
        assert!(checkpoint.unaligned.is_some_and(|all| all.rows > 0), "start {start}: {checkpoint:?}");
        assert_eq!(process.kill_9(), End::Killed);
    }
    local.sales_job().finish(PATIENCE);
    local.assert_sales();
}

/// Waits until a job that may go on from a checkpoint has read something.
async fn until_running_with_rows_under_way(process: &mut Process) {
    process.wait_for("the job to run", PATIENCE, |status| status.phase == Phase::Running).await;
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        if process.records_read("orders", PATIENCE).await > 40_000 {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "nothing is read");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_in_flight_between_workers_survive_them() {
    let local = Local::new(ORDERS);
    let job = steady(&local, 10, "0s")
        .set("spec.checkpoint.interval", "200ms")
        .set("spec.restart", r#"{"fixedDelay":{"delay":"50ms","attempts":10000}}"#);
    let mut crew = Crew::start_linked(Link::Plain, job, 2, 1);
    let mut epoch = 0;
    for victim in [0, 1, 0] {
        epoch = crew.coordinator().wait_for_epoch(epoch + 2, PATIENCE).await;
        let (_, body) = crew.coordinator().get(&format!("/v1/checkpoints/{epoch}"), PATIENCE).await;
        let CheckpointDetails { checkpoint, .. } = serde_json::from_str(&body).unwrap();
        assert!(checkpoint.unaligned.is_some(), "{checkpoint:?}");
        crew.replace_worker(victim);
    }
    assert_eq!(crew.wait(PATIENCE), End::Finished);
    local.assert_sales();
}

#[test]
fn at_least_once_loses_no_row_whenever_it_is_killed() {
    let local = Local::new(MANY_ORDERS);
    let mut job = local
        .unique_job()
        .set("spec.checkpoint.mode", "AtLeastOnce")
        .set("spec.checkpoint.interval", "50ms")
        .set("spec.sources[0].generator.rate", RATE / 2)
        .env("TIDEGATE_LABOUR_MS", 5);
    let faults = [("after-own", 2), ("before-own", 1), ("after-state-upload", 6), ("after-own", 1), ("after-own", 1)];
    job.kill_at_each(&faults, PATIENCE);
    job.finish(PATIENCE);
    println!("{} repeats", local.assert_none_lost());
}
