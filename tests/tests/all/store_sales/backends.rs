//! Deduplication on the local disk: killed, rescaled, and moved between the backends by savepoints.

use std::{path::Path, time::Duration};

use tidegate_crds::api::{JobStatus, Phase};
use tidegate_tests::{
    chance::Chance,
    job::{End, Job, Process},
    oracle::Workload,
    world::{PATIENCE, Run, World},
};

const ORDERS: u64 = 1_500_000;
/// Orders a second, of those that go on being written.
const RATE: u64 = 20_000;
const KILLS: u64 = 8;

/// With its state in `folder`.
fn on_disk(world: &World, run: &Run, name: &str, folder: &Path) -> Job {
    world
        .job(run, name)
        .set("spec.stateBackend", "RocksDB")
        .set("spec.restart", r#"{"fixedDelay":{"delay":"50ms","attempts":10000}}"#)
        .env("TIDEGATE_LOCAL_FOLDER", folder.display())
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).expect("the local folder").count()
}

fn runs(status: &JobStatus) -> bool {
    status.phase == Phase::Running
}

fn has_read_all(status: &JobStatus) -> bool {
    status.sources.len() == 1 && status.sources[0].lag == 0
}

/// Stops a job that has read everything: its output is that of all orders.
async fn ends_exactly(world: &World, run: &Run, workload: &Workload, mut process: Process) {
    process.wait_for("all orders to be read", PATIENCE, has_read_all).await;
    process.signal("TERM");
    assert_eq!(process.wait(PATIENCE), End::Finished);
    world.assert_exact(run, workload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_on_disk_are_exact_when_the_job_is_killed_at_random() {
    let world = World::shared().await;
    let name = "disk-killed";
    let workload = Workload::new(101, ORDERS);
    let run = world.store_sales(name, &workload).await;
    let folder = tempfile::tempdir().unwrap();
    let mut job = on_disk(world, &run, name, folder.path()).set("spec.checkpoint.interval", "100ms");
    // More epochs than all starts that are killed can have together.
    job = job.env("TIDEGATE_EPOCH_RECORDS", ORDERS / (KILLS * 20));
    let mut chance = Chance::drawn();
    for kill in 0..KILLS {
        let mut process = job.start();
        // One start in four is killed whatever it is at; the others run, however slow the machine is.
        if kill % 4 > 0 {
            process.wait_for("the job to run", PATIENCE, |status| status.recovery_seconds.is_some()).await;
        }
        tokio::time::sleep(Duration::from_millis(chance.within(0..1_000))).await;
        assert_eq!(process.ended(), None, "start {kill} has ended by itself");
        assert_eq!(process.kill_9(), End::Killed);
    }
    job = job.env("TIDEGATE_EPOCH_RECORDS", u64::MAX);
    job.finish(10 * PATIENCE);
    world.assert_exact(&run, &workload).await;
    world.assert_storage_whole(name).await;
    assert_eq!(entries(folder.path()), 0, "also what killed processes left on the local disk is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_on_disk_follow_a_job_from_two_to_three_subtasks() {
    let world = World::shared().await;
    let name = "disk-rescaled";
    let run = world.empty_run(name).await;
    let flow = world.flow(&run, Workload::new(102, 0), RATE);
    let folder = tempfile::tempdir().unwrap();
    let mut job =
        on_disk(world, &run, name, folder.path()).set("spec.parallelism", 2).set("spec.sources[0].kafka.until", "null");
    let mut process = job.start();
    process.wait_for_epoch(3, PATIENCE).await;
    process.wait_for("the job to run", PATIENCE, runs).await;
    let (code, answer) = process.post("/v1/rescale", r#"{"parallelism": 3}"#, PATIENCE).await;
    assert_eq!(code, 202, "{answer}");
    let rescaled = |status: &JobStatus| status.parallelism == 3 && runs(status);
    let status = process.wait_for("the other parallelism", PATIENCE, rescaled).await;
    let restored = status.last_restore.expect("what it went on from").bytes;
    assert_eq!(restored.remote_bytes, 0, "the process has it all: {restored:?}");
    assert!(restored.local_disk_bytes > 0, "{restored:?}");
    process.wait_for_epoch(status.committed_epoch.unwrap_or_default() + 2, PATIENCE).await;
    process.kill_9();
    let mut process = job.start();
    let status = process.wait_for("the job to run", PATIENCE, rescaled).await;
    let restored = status.last_restore.expect("what it went on from").bytes;
    let local = restored.local_disk_bytes + restored.local_memory_bytes;
    assert!(local == 0 && restored.remote_bytes > 0, "another process has nothing: {restored:?}");
    let workload = flow.end().await;
    ends_exactly(world, &run, &workload, process).await;
    world.assert_storage_whole(name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_savepoint_moves_keys_from_disk_to_memory_and_back() {
    let world = World::shared().await;
    let run = world.empty_run("backends").await;
    let flow = world.flow(&run, Workload::new(103, 0), RATE);
    let folder = tempfile::tempdir().unwrap();
    let endless = |job: Job| job.set("spec.sources[0].kafka.until", "null");
    let mut process = endless(on_disk(world, &run, "backend-0", folder.path())).start();
    for step in 0..2 {
        process.wait_for_epoch(3, PATIENCE).await;
        let stop = r#"{"purpose": "Suspend", "savepoint": "move"}"#;
        assert_eq!(process.ask_to_stop(stop, PATIENCE).await.0, 202);
        assert_eq!(process.wait(PATIENCE), End::Finished);
        let savepoint = format!("s3://{}/backend-{step}/savepoints/move", world.s3.bucket());
        world.assert_savepoint(&savepoint, true).await;
        let name = format!("backend-{}", step + 1);
        let next = if step == 0 { world.job(&run, &name) } else { on_disk(world, &run, &name, folder.path()) };
        let from = format!("{{ path: '{savepoint}', mode: NoClaim }}");
        process = endless(next).set("spec.restoreFrom", from).set("spec.parallelism", 3 - step).start();
    }
    process.wait_for_epoch(3, PATIENCE).await;
    let workload = flow.end().await;
    ends_exactly(world, &run, &workload, process).await;
}
