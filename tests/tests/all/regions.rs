//! A job of two pipelines over three workers: what fails in one of them does not concern the other. No servers.
//!
//! One counts sales by exchanges, and is one region; the other passes returns on, and each of its subtasks is a region.
//! And a job of files, each of whose subtasks is a region, too.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;
use tidegate_crds::api::{FailureReason, JobStatus, Phase};
use tidegate_tests::{
    crew::{Crew, Link},
    job::{End, Job},
    local::{lines, passed_on},
    oracle::{Workload, assert_same, file_rows, reference},
    world::PATIENCE,
};

const WORKERS: usize = 3;
/// Long enough to look at a job while some of it waits to restart.
const RESTART_DELAY: Duration = Duration::from_secs(3);

/// The job's folders, and what it reads.
struct TwoPipelines {
    folder: tempfile::TempDir,
    orders: Workload,
    returns: Workload,
}

fn generator(seed: u64, count: u64, rate: u64) -> serde_json::Value {
    json!({
        "seed": seed, "count": count, "rate": rate, "stores": 50, "duplicates": 0.05, "outOfOrder": 0.2, "maxDelay": "5s"
    })
}

fn workload(generator: serde_json::Value) -> Workload {
    Workload::of(&serde_json::from_value(generator).unwrap())
}

impl TwoPipelines {
    /// So many orders and returns, so many a second.
    fn new(orders: (u64, u64), returns: (u64, u64), interval: &str) -> (Self, Job) {
        let folder = tempfile::tempdir().unwrap();
        let (orders, returns) = (generator(1, orders.0, orders.1), generator(2, returns.0, returns.1));
        let path = |name: &str| folder.path().join(name);
        let document = json!({
            "apiVersion": "tidegate.dev/v1alpha1",
            "kind": "StreamJob",
            "metadata": { "name": "two-pipelines" },
            "spec": {
                "sources": [
                    { "name": "orders", "generator": orders, "watermark": { "column": "ts", "delay": "5s" } },
                    { "name": "returns", "generator": returns },
                ],
                "sql": "CREATE VIEW unique_orders AS SELECT order_id, store_id, amount, ts FROM (SELECT *, \
                        ROW_NUMBER() OVER (PARTITION BY order_id ORDER BY ts) AS n FROM orders) WHERE n = 1; \
                        INSERT INTO sales SELECT window_start, store_id, SUM(amount) AS total, COUNT(*) AS orders \
                        FROM TUMBLE(TABLE unique_orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE) \
                        GROUP BY window_start, window_end, store_id; \
                        INSERT INTO passed SELECT order_id, store_id, amount, ts FROM returns",
                "sinks": [
                    { "name": "sales", "files": { "path": path("sales"), "shared": true } },
                    { "name": "passed", "files": { "path": path("passed"), "shared": true } },
                ],
                "parallelism": WORKERS,
                "restart": { "fixedDelay": { "delay": format!("{}s", RESTART_DELAY.as_secs()), "attempts": 100 } },
                "checkpoint": { "interval": interval, "storage": { "local": { "path": path("checkpoints") } } },
            },
        });
        let file = path("job.yaml");
        std::fs::write(&file, document.to_string()).unwrap();
        let this = Self { folder, orders: workload(orders), returns: workload(returns) };
        (this, Job::of(file))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Fails unless both pipelines have put out what they must, row by row.
    fn assert_exact(&self) {
        assert_same("sales", &file_rows(&self.path("sales")), &reference(&self.orders));
        assert_same("passed", &lines(&self.path("passed")), &passed_on(&self.returns));
    }
}

/// Records of a source that the workers have read so far, with those that they have read again.
async fn read(crew: &mut Crew, source: &str) -> u64 {
    let mut sum = 0;
    for worker in 0..crew.workers().len() {
        sum += crew.worker(worker).records_read(source, PATIENCE).await;
    }
    sum
}

fn has_failed(status: &JobStatus) -> bool {
    status.region_restarts == 1 && status.phase == Phase::Restarting
}

fn runs_again(status: &JobStatus) -> bool {
    status.region_restarts == 1 && status.phase == Phase::Running
}

/// A subtask of one pipeline fails; the other reads on meanwhile, and reads nothing twice.
async fn one_goes_on(struck: &str, source: &str, untouched: &str) {
    let (job, document) = TwoPipelines::new((200_000, 10_000), (200_000, 10_000), "200ms");
    let mut crew = Crew::start_expecting(WORKERS, document, 1, 1);
    let signal = job.path("strike");
    crew.start_worker_with_strike(1, struck, &signal);
    crew.start_worker(2);
    crew.coordinator().wait_for_epoch(2, PATIENCE).await;
    std::fs::write(&signal, "").unwrap();
    let failed = crew.coordinator().wait_for("a failure", PATIENCE, has_failed).await;
    assert!(failed.committed_epoch > Some(1), "{failed:?}");
    let failure = failed.failure.unwrap();
    assert!(failure.reason == FailureReason::TaskFailed && failure.message.starts_with(struck), "{failure:?}");
    let before = read(&mut crew, untouched).await;
    tokio::time::sleep(RESTART_DELAY / 4).await;
    let after = read(&mut crew, untouched).await;
    let still = crew.coordinator().wait_for("any status", PATIENCE, |_| true).await;
    assert!(has_failed(&still), "{still:?}");
    assert!(after > before, "{untouched}: {before} records, then {after}");
    let status = crew.coordinator().wait_for("all tasks to run again", PATIENCE, runs_again).await;
    assert_eq!((status.attempt, status.restarts), (Some(1), 1));
    assert!(status.last_restore.is_some_and(|restored| restored.epoch > 1), "{:?}", status.last_restore);
    assert_eq!(crew.coordinator().await_end(PATIENCE), End::Finished);
    let count = job.orders.count;
    let (again, once) = (read(&mut crew, source).await, read(&mut crew, untouched).await);
    assert_eq!(once, count, "{untouched} was read again");
    assert!(again > count, "{source} was not read again");
    job.assert_exact();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subtask_that_fails_without_an_exchange_concerns_nobody_else() {
    one_goes_on("source-returns[1]", "returns", "orders").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keyed_pipeline_that_fails_leaves_the_other_alone() {
    one_goes_on("source-orders[1]", "orders", "returns").await;
}

/// Has a checkpoint taken and all of it published: no worker has anything left to publish.
async fn publish_all(crew: &mut Crew) {
    let running = |status: &JobStatus| status.phase == Phase::Running;
    crew.coordinator().wait_for("the job to run", PATIENCE, running).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (code, body) = crew.coordinator().ask_for_checkpoint(PATIENCE).await;
    assert_eq!(code, 202, "{body}");
    crew.coordinator().wait_for_epoch(1, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_worker_with_nothing_left_to_publish_takes_only_its_regions_with_it() {
    let (job, document) = TwoPipelines::new((300_000, 40_000), (300_000, 40_000), "1h");
    // The fourth stands by.
    let mut crew = Crew::start_linked(Link::Plain, document, WORKERS + 1, 1);
    publish_all(&mut crew).await;
    let status = crew.coordinator().wait_for("any status", PATIENCE, |_| true).await;
    let victim = status.workers.iter().position(|worker| worker.subtasks == [1]).unwrap();
    crew.dismiss_worker(victim);
    let status = crew.coordinator().wait_for("all tasks to run again", PATIENCE, runs_again).await;
    assert_eq!((status.attempt, status.restarts), (Some(1), 1));
    let mut subtasks: Vec<u32> = status.workers.iter().flat_map(|worker| worker.subtasks.clone()).collect();
    subtasks.sort_unstable();
    assert_eq!((status.workers.len(), subtasks), (WORKERS, vec![0, 1, 2]), "{:?}", status.workers);
    assert_eq!(status.failure.unwrap().reason, FailureReason::WorkerLost);
    assert_eq!(crew.wait(PATIENCE), End::Finished);
    job.assert_exact();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_worker_that_wakes_changes_nothing_for_the_regions_it_had() {
    let (job, document) = TwoPipelines::new((300_000, 40_000), (300_000, 40_000), "1h");
    let document = document.env("TIDEGATE_HEARTBEAT_TIMEOUT", "1s");
    let mut crew = Crew::start_linked(Link::Plain, document, WORKERS + 1, 1);
    publish_all(&mut crew).await;
    let status = crew.coordinator().wait_for("any status", PATIENCE, |_| true).await;
    let victim = status.workers.iter().position(|worker| worker.subtasks == [2]).unwrap();
    crew.worker(victim).signal("STOP");
    let status = crew.coordinator().wait_for("all tasks to run again", PATIENCE, runs_again).await;
    assert_eq!(status.attempt, Some(1));
    crew.worker(victim).signal("CONT");
    assert_eq!(crew.wait(PATIENCE), End::Finished);
    job.assert_exact();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_lost_while_it_publishes_takes_everything_with_it() {
    let (job, document) = TwoPipelines::new((100_000, 50_000), (1_300_000, 250_000), "1h");
    let mut crew = Crew::start_expecting(WORKERS, document, 2, 1);
    crew.start_worker_with_fault(2, "files-between-chunks", 1);
    let running = |status: &JobStatus| status.phase == Phase::Running;
    crew.coordinator().wait_for("the job to run", PATIENCE, running).await;
    // More rows than a chunk of each subtask takes, in one epoch.
    while read(&mut crew, "returns").await < 950_000 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (code, body) = crew.coordinator().ask_for_checkpoint(PATIENCE).await;
    assert_eq!(code, 202, "{body}");
    assert_eq!(crew.worker(2).await_end(PATIENCE), End::Killed);
    let whole = |status: &JobStatus| status.restarts == 1;
    let status = crew.coordinator().wait_for("a restart", PATIENCE, whole).await;
    assert_eq!(status.region_restarts, 0);
    crew.start_worker(2);
    assert_eq!(crew.wait(PATIENCE), End::Finished);
    job.assert_exact();
}

/// One file more, whose rows tell of which it is; it appears whole.
fn write_rows(folder: &Path, name: char, rows: u64) {
    let lines: String = (0..rows).map(|n| format!("{{\"f\":\"{name}\",\"n\":{n}}}\n")).collect();
    let hidden = folder.join(".hidden");
    std::fs::write(&hidden, lines).unwrap();
    std::fs::rename(hidden, folder.join(format!("{name}.jsonl"))).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_workers_leave_each_file_to_one_subtask_before_and_after_the_first_checkpoint() {
    // More than a source reads at once.
    const ROWS: u64 = 10_000;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let input = path("in");
    std::fs::create_dir(&input).unwrap();
    ('b'..='z').for_each(|name| write_rows(&input, name, ROWS));
    let document = json!({
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "StreamJob",
        "metadata": { "name": "files" },
        "spec": {
            "sources": [{
                "name": "lines",
                "files": { "path": input.join("*.jsonl") },
                "schema": [{ "name": "f", "type": "string" }, { "name": "n", "type": "bigint" }],
            }],
            "sql": "INSERT INTO passed SELECT f, n FROM lines",
            "sinks": [{ "name": "passed", "files": { "path": path("passed"), "shared": true } }],
            "parallelism": 2,
            "restart": { "fixedDelay": { "delay": "50ms", "attempts": 100 } },
            "checkpoint": { "interval": "1h", "storage": { "local": { "path": path("checkpoints") } } },
        },
    });
    std::fs::write(path("job.yaml"), document.to_string()).unwrap();
    let mut crew = Crew::start_expecting(2, Job::of(path("job.yaml")), 1, 1);
    // It stays in its first file until there is a checkpoint: the job does not end before the worker is lost.
    crew.start_paced_worker(1, 1);
    let running = |status: &JobStatus| status.phase == Phase::Running;
    crew.coordinator().wait_for("the job to run", PATIENCE, running).await;
    // Its name comes first: whoever looked alone would move all others.
    write_rows(&input, 'a', ROWS);
    crew.dismiss_worker(1);
    crew.start_paced_worker(1, 1);
    // Without a checkpoint all start again, and what there is is looked at anew.
    let anew = |status: &JobStatus| status.attempt == Some(2) && status.phase == Phase::Running;
    let status = crew.coordinator().wait_for("the job to run again", PATIENCE, anew).await;
    assert_eq!(status.region_restarts, 0);
    let (code, body) = crew.coordinator().ask_for_checkpoint(PATIENCE).await;
    assert_eq!(code, 202, "{body}");
    crew.coordinator().wait_for_epoch(1, PATIENCE).await;
    crew.dismiss_worker(1);
    crew.start_paced_worker(1, 1);
    write_rows(&input, '0', ROWS);
    let status = crew.coordinator().wait_for("the region to run again", PATIENCE, runs_again).await;
    assert_eq!(status.attempt, Some(2));
    assert!(status.last_restore.is_some_and(|restored| restored.epoch == 1), "{:?}", status.last_restore);
    // One that reads to the end.
    crew.replace_worker(1);
    assert_eq!(crew.wait(PATIENCE), End::Finished);
    let rows = ('a'..='z').flat_map(|name| (0..ROWS).map(move |n| format!("{{\"f\":\"{name}\",\"n\":{n}}}")));
    assert_same("passed", &lines(&path("passed")), &rows.collect());
}
