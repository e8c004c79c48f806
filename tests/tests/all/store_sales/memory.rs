//! State that does not fit into memory, without a word about it in the document: windows spill, and keys move to the local
//! disk; killed at random, rescaled, and exact.

use std::{path::Path, time::Duration};

use tidegate_crds::api::{JobStatus, Phase};
use tidegate_tests::{
    chance::Chance,
    job::{End, Job, Process},
    oracle::{Workload, reference_of_days, sales_of_days},
    world::{PATIENCE, Run, World, until},
};

const ORDERS: u64 = 1_500_000;
/// Of so many stores each has about one order a day: a window has this many keys.
const STORES: u64 = 1_000_000;
/// One store in so many is put out.
const PUT_OUT: i64 = 10;
const KILLS: u64 = 5;

/// In a process that may use 24 MiB, as it is told. State has a half of it.
fn short_of_memory(world: &World, run: &Run, name: &str, folder: &Path) -> Job {
    world
        .job(run, name)
        .set("spec.restart", r#"{"fixedDelay":{"delay":"50ms","attempts":10000}}"#)
        .env("TIDEGATE_LOCAL_FOLDER", folder.display())
        .env("TIDEGATE_MEMORY_LIMIT", 24)
}

/// Whether a subtask of this operator has something on the local disk.
fn is_on_disk(folder: &Path, operator: &str) -> bool {
    let inside = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let of_operator = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(operator) && inside(path).next().is_some()
    };
    inside(folder).any(|process| inside(&process.path()).any(|entry| of_operator(&entry.path())))
}

/// Kills the job again and again, each time when its state has left memory for the disk.
async fn kill_at_random(job: Job, folder: &Path, operator: &str) -> Job {
    // More epochs than all starts that are killed can have together.
    let (mut job, mut chance) = (job.env("TIDEGATE_EPOCH_RECORDS", ORDERS / (KILLS * 20)), Chance::drawn());
    for kill in 0..KILLS {
        // A folder for each start, or it would be taken for spilled by what the one before has left.
        let own = folder.join(kill.to_string());
        job = job.env("TIDEGATE_LOCAL_FOLDER", own.display());
        let mut process = job.start();
        until("state to leave memory", || {
            assert_eq!(process.ended(), None, "the job has ended before kill {kill}");
            std::future::ready(is_on_disk(&own, operator))
        })
        .await;
        tokio::time::sleep(Duration::from_millis(chance.within(0..700))).await;
        assert_eq!(process.kill_9(), End::Killed);
    }
    job.env("TIDEGATE_EPOCH_RECORDS", u64::MAX)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_of_more_keys_than_memory_is_exact_when_the_job_is_killed_at_random() {
    let world = World::shared().await;
    let name = "memory-window";
    let workload = Workload::with_stores(104, ORDERS, STORES);
    let run = world.store_sales(name, &workload).await;
    let folder = tempfile::tempdir().unwrap();
    let job = short_of_memory(world, &run, name, folder.path()).set("spec.sql", sales_of_days(PUT_OUT));
    let mut job = kill_at_random(job, folder.path(), "window").await;
    job.finish(10 * PATIENCE);
    world.assert_rows(&run, &reference_of_days(&workload, |store| store % PUT_OUT == 0)).await;
    world.assert_storage_whole(name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_beyond_memory_go_to_the_local_disk_and_are_exact_when_the_job_is_killed_at_random() {
    let world = World::shared().await;
    let name = "memory-keys";
    let workload = Workload::new(105, ORDERS);
    let run = world.store_sales(name, &workload).await;
    let folder = tempfile::tempdir().unwrap();
    let job = short_of_memory(world, &run, name, folder.path());
    let mut job = kill_at_random(job, folder.path(), "dedup").await;
    job.finish(10 * PATIENCE);
    world.assert_exact(&run, &workload).await;
    world.assert_storage_whole(name).await;
}

fn is_running(status: &JobStatus) -> bool {
    status.phase == Phase::Running
}

fn runs_as(parallelism: u32) -> impl Fn(&JobStatus) -> bool {
    move |status| status.parallelism == parallelism && is_running(status)
}

async fn rescale(process: &mut Process, parallelism: u32) {
    let wanted = format!(r#"{{"parallelism": {parallelism}}}"#);
    let (code, answer) = process.post("/v1/rescale", &wanted, PATIENCE).await;
    assert_eq!(code, 202, "{answer}");
    process.wait_for("the other parallelism", PATIENCE, runs_as(parallelism)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_is_on_the_disk_follows_a_job_to_another_parallelism() {
    let world = World::shared().await;
    let name = "memory-rescaled";
    let workload = Workload::with_stores(106, ORDERS, STORES);
    let run = world.store_sales(name, &workload).await;
    let folder = tempfile::tempdir().unwrap();
    let mut job = short_of_memory(world, &run, name, folder.path())
        .set("spec.sql", sales_of_days(PUT_OUT))
        .set("spec.sources[0].kafka.until", "null");
    let mut process = job.start();
    for parallelism in [3, 1] {
        process.wait_for("the job to run", PATIENCE, is_running).await;
        until("the window to leave memory", || async { is_on_disk(folder.path(), "window") }).await;
        rescale(&mut process, parallelism).await;
    }
    let status = process.wait_for("the job to run", PATIENCE, runs_as(1)).await;
    process.wait_for_epoch(status.committed_epoch.unwrap_or_default() + 1, PATIENCE).await;
    process.kill_9();
    let mut job = job.set("spec.sources[0].kafka.until", "Latest");
    job.finish(10 * PATIENCE);
    world.assert_rows(&run, &reference_of_days(&workload, |store| store % PUT_OUT == 0)).await;
}
