//! Savepoints: a job that moves with one, a copy that begins with one, and a process killed on the way of each.

use tidegate_crds::api::JobStatus;
use tidegate_tests::{
    job::{End, Job, Process},
    oracle::{Rows, Workload, assert_same, reference},
    world::{PATIENCE, Run, World, until},
};

const ORDERS: u64 = 500_000;
/// Orders a second, of those that go on being written.
const RATE: u64 = 20_000;

fn path(world: &World, job: &str, savepoint: &str) -> String {
    format!("s3://{}/{job}/savepoints/{savepoint}", world.s3.bucket())
}

/// A job that reads without an end.
fn endless(world: &World, run: &Run, name: &str) -> Job {
    world.job(run, name).set("spec.sources[0].kafka.until", "null")
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

/// A job that begins with a savepoint.
fn successor(world: &World, run: &Run, name: &str, from: &str, mode: &str) -> Job {
    endless(world, run, name).set("spec.restoreFrom", format!("{{ path: '{from}', mode: {mode} }}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_moves_with_a_savepoint_to_another_parallelism_and_claims_it() {
    let world = World::shared().await;
    let run = world.empty_run("moves").await;
    let flow = world.flow(&run, Workload::new(81, 0), RATE);
    let mut process = endless(world, &run, "moves-from").set("spec.parallelism", 2).start();
    process.wait_for_epoch(3, PATIENCE).await;
    let stop = r#"{"purpose": "Suspend", "savepoint": "move"}"#;
    assert_eq!(process.ask_to_stop(stop, PATIENCE).await.0, 202);
    assert_eq!(process.wait(PATIENCE), End::Finished);
    let savepoint = path(world, "moves-from", "move");
    world.assert_savepoint(&savepoint, true).await;

    let workload = flow.end().await;
    let mut job = successor(world, &run, "moves-to", &savepoint, "Claim").set("spec.parallelism", 3);
    let mut process = job.start_with_fault("state-copied", 2);
    assert_eq!(process.await_end(PATIENCE), End::Killed, "it was to be killed while it copied");
    ends_exactly(world, &run, &workload, job.start()).await;
    world.assert_storage_whole("moves-to").await;
    world.assert_savepoint(&savepoint, false).await;
    // The job has checkpoints of its own by now: that what it began with is gone does not matter.
    ends_exactly(world, &run, &workload, job.start()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_begins_where_the_savepoint_was_taken_and_the_original_goes_on() {
    let world = World::shared().await;
    let run = world.empty_run("original").await;
    let flow = world.flow(&run, Workload::new(82, 0), RATE);
    let mut process = endless(world, &run, "original").set("spec.parallelism", 2).start();
    until("a window to be put out", || async { !world.table_rows(&run).await.is_empty() }).await;
    let savepoint = process.take_savepoint("fork", PATIENCE).await;
    assert_eq!(savepoint.path, path(world, "original", "fork"));
    let (code, body) = process.post("/v1/savepoints", r#"{"name": "fork"}"#, PATIENCE).await;
    assert!(code == 409 && body.contains("choose another name"), "{code}: {body}");
    let workload = flow.end().await;
    ends_exactly(world, &run, &workload, process).await;

    let copy = world.results("copy", &run.orders).await;
    let mut process = successor(world, &copy, "copy", &savepoint.path, "NoClaim").start();
    process.wait_for("all orders to be read", PATIENCE, has_read_all).await;
    process.signal("TERM");
    assert_eq!(process.wait(PATIENCE), End::Finished);
    world.assert_savepoint(&savepoint.path, true).await;
    let (expected, found) = (reference(&workload), world.table_rows(&copy).await);
    assert_same("Kafka", &world.feed_rows(&copy).await, &found);
    // It has what was not put out by then: the last windows, each of them whole.
    let first = found.iter().map(|(row, _)| window(row)).min().expect("some rows");
    let last = expected.iter().filter(|(row, _)| window(row) >= first);
    let rest: Rows = last.map(|(row, _)| row.to_owned()).collect();
    assert!(rest.len() < expected.len(), "the copy has begun anew");
    assert_same("the copy", &found, &rest);
}

/// The start of its window, which a row of results begins with.
fn window(row: &str) -> i64 {
    row.split(' ').next().and_then(|start| start.parse().ok()).expect("a row of results")
}

/// Kills the process at a place on the way of a savepoint.
async fn exact_after(name: &str, place: &str, is_complete: bool) {
    let world = World::shared().await;
    let run = world.empty_run(name).await;
    let flow = world.flow(&run, Workload::new(83, 0), RATE);
    let mut job = endless(world, &run, name);
    let mut process = job.start_with_fault(place, 1);
    process.wait_for_epoch(2, PATIENCE).await;
    assert_eq!(process.post("/v1/savepoints", r#"{"name": "first"}"#, PATIENCE).await.0, 202);
    assert_eq!(process.await_end(PATIENCE), End::Killed, "it was to be killed at `{place}`");
    let mut process = job.start();
    process.wait_for("the job to run", PATIENCE, |status: &JobStatus| status.recovery_seconds.is_some()).await;
    world.assert_savepoint(&path(world, name, "first"), is_complete).await;
    let workload = flow.end().await;
    ends_exactly(world, &run, &workload, process).await;
    world.assert_storage_whole(name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_savepoint_killed_while_it_is_copied_is_given_up() {
    exact_after("savepoint-copied", "state-copied", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_savepoint_killed_before_its_last_step_is_given_up() {
    exact_after("savepoint-before", "before-savepoint", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_savepoint_killed_after_its_last_step_is_complete() {
    exact_after("savepoint-after", "after-savepoint", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_savepoint_killed_while_it_is_deleted_is_none() {
    let world = World::shared().await;
    let name = "savepoint-deleted";
    let run = world.empty_run(name).await;
    let flow = world.flow(&run, Workload::new(86, 0), RATE);
    let mut job = endless(world, &run, name);
    let mut process = job.start_with_fault("savepoint-deleted", 1);
    process.wait_for_epoch(2, PATIENCE).await;
    process.take_savepoint("first", PATIENCE).await;
    world.assert_savepoint(&path(world, name, "first"), true).await;
    let url = format!("http://{}/v1/savepoints/first", process.api(PATIENCE));
    let answer = reqwest::Client::new().delete(url).send().await;
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(process.await_end(PATIENCE), End::Killed, "it was to be killed when the savepoint is deleted");
    let mut process = job.start();
    process.wait_for("the job to run", PATIENCE, |status: &JobStatus| status.recovery_seconds.is_some()).await;
    world.assert_savepoint(&path(world, name, "first"), false).await;
    process.take_savepoint("second", PATIENCE).await;
    world.assert_savepoint(&path(world, name, "second"), true).await;
    let workload = flow.end().await;
    ends_exactly(world, &run, &workload, process).await;
    world.assert_storage_whole(name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_job_has_put_out_every_window_and_is_not_gone_on_with() {
    let world = World::shared().await;
    let workload = Workload::new(84, ORDERS);
    let run = world.store_sales("drained", &workload).await;
    let mut job = endless(world, &run, "drained").set("spec.parallelism", 2);
    let mut process = job.start();
    process.wait_for("all orders to be read", PATIENCE, has_read_all).await;
    let stop = r#"{"purpose": "Cancel", "savepoint": "last", "drain": true}"#;
    assert_eq!(process.ask_to_stop(stop, PATIENCE).await.0, 202);
    assert_eq!(process.wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
    for mut refused in [job, successor(world, &run, "drained-on", &path(world, "drained", "last"), "NoClaim")] {
        match refused.start().wait(PATIENCE) {
            End::Failed(error) => assert!(error.contains("the state was drained"), "{error}"),
            other => panic!("it was to be refused: {other:?}"),
        }
    }
    world.assert_exact(&run, &workload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_sources_have_ended_is_not_gone_on_with_past_their_end() {
    let world = World::shared().await;
    let workload = Workload::new(86, ORDERS / 5);
    let run = world.store_sales("ended", &workload).await;
    assert_eq!(world.job(&run, "ended").start().wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
    match endless(world, &run, "ended").env("TIDEGATE_REVISION", 2).start().wait(PATIENCE) {
        End::Failed(error) => assert!(error.contains("has seen the end of its sources"), "{error}"),
        other => panic!("it was to be refused: {other:?}"),
    }
    let mut again = world.job(&run, "ended").set("spec.checkpoint.interval", "7s").env("TIDEGATE_REVISION", 3);
    assert_eq!(again.start().wait(PATIENCE), End::Finished, "it ends where it did");
    world.assert_exact(&run, &workload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_begun_with_is_refused_with_what_to_do() {
    let world = World::shared().await;
    let workload = Workload::new(85, ORDERS / 5);
    let run = world.store_sales("fits", &workload).await;
    let mut process = endless(world, &run, "fits").start();
    process.wait_for_epoch(1, PATIENCE).await;
    let savepoint = process.take_savepoint("first", PATIENCE).await.path;
    assert_eq!(process.get("/v1/savepoints/first", PATIENCE).await.0, 200);
    for (body, told) in [(r#"{"name": "No"}"#, "accepted are 1 to 63"), ("{}", r#"accepted is {"name""#)] {
        let (code, answer) = process.post("/v1/savepoints", body, PATIENCE).await;
        assert!(code == 400 && answer.contains(told), "{code}: {answer}");
    }
    // What is asked for is there as long as it is looked at.
    assert_eq!(process.ask_to_stop(r#"{"purpose": "Suspend"}"#, PATIENCE).await.0, 202);
    assert_eq!(process.wait(PATIENCE), End::Finished);
    let from = |path: &str| successor(world, &run, "fits-not", path, "NoClaim");
    let sql = "INSERT INTO feed SELECT window_start, store_id, sum(amount) AS total, count(*) AS orders \
               FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '7' SECOND) GROUP BY window_start, window_end, store_id";
    let changed =
        |job: Job| job.set("spec.sinks", FEED.replace("BOOTSTRAP", world.kafka.bootstrap())).set("spec.sql", sql);
    let nowhere = format!("s3://{}/fits/savepoints/other", world.s3.bucket());
    let cases = [
        (from(&nowhere), "has no savepoint, no checkpoint and no job"),
        (from("gs://somewhere"), "accepted is s3://bucket/folder"),
        (from(&savepoint).set("spec.maxParallelism", 64), "spec.maxParallelism: found 64"),
        (changed(from(&savepoint)), "allowNonRestoredState: true"),
        (successor(world, &run, "fits-not", &format!("s3://{}/fits", world.s3.bucket()), "Claim"), "is no savepoint"),
    ];
    for (mut job, told) in cases {
        for role in ["validate", "run"] {
            match job.start_as(role, &[], &[]).wait(PATIENCE) {
                End::Failed(error) => assert!(error.contains(told), "{role}: {error}"),
                other => panic!("{role}: it was to be refused: {other:?}"),
            }
        }
    }
    let mut allowed = changed(from(&savepoint)).set("spec.allowNonRestoredState", "true");
    let mut process = allowed.start();
    process.wait_for("the job to run", PATIENCE, |status| status.recovery_seconds.is_some()).await;
    let deleted = reqwest::Client::new().delete(format!("http://{}/v1/savepoints/none", process.api(PATIENCE)));
    assert_eq!(deleted.send().await.unwrap().status().as_u16(), 404);
}

const FEED: &str = "[{ name: feed, kafka: { bootstrapServers: 'BOOTSTRAP', topic: sales-fits } }]";
