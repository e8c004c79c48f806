//! A new version of a job that follows the old one while it runs.

use std::path::Path;

use tidegate::checkpoint::{
    record::{Body, Record},
    store::{S3Store, Store},
};
use tidegate_crds::{
    S3Storage, StreamJob,
    api::{Failure, FailureReason, JobStatus, Phase},
};
use tidegate_tests::{
    job::{End, Job},
    oracle::Workload,
    world::{PATIENCE, Run, World},
};

const ORDERS: u64 = 1_500_000;

/// A version of the job as the operator starts it. The first ones go on when they have read everything; `last` ends there.
fn version(world: &World, run: &Run, name: &str, revision: u64, last: bool) -> Job {
    world
        .job(run, name)
        .set("spec.sources[0].kafka.until", if last { "Latest" } else { "null" })
        .env("TIDEGATE_REVISION", revision)
        .env("TIDEGATE_STAND_BY", true)
        .env("TIDEGATE_SUPERVISED", true)
}

/// Everything that the job's log has.
async fn log(world: &World, job: &str) -> Vec<Record> {
    let spec = S3Storage {
        bucket: world.s3.bucket().to_owned(),
        prefix: String::new(),
        endpoint: Some(world.s3.endpoint().to_owned()),
        region: None,
        path_style: None,
        access_key_id: None,
        secret_access_key: None,
    };
    let keys = (world.s3.access_key().to_owned(), world.s3.secret_key().to_owned());
    let store = S3Store::with_keys(&spec, job, Some(keys)).await.unwrap();
    let mut records = Vec::new();
    for object in store.list("log/", None).await.unwrap() {
        records.push(Record::from_bytes(&store.get(&object.path).await.unwrap().unwrap()).unwrap());
    }
    records
}

fn is(phase: Phase) -> impl Fn(&JobStatus) -> bool {
    move |status| status.phase == phase
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_goes_on_where_the_old_one_stops_for_it() {
    let world = World::shared().await;
    let workload = Workload::new(41, ORDERS);
    let run = world.store_sales("hand-over", &workload).await;
    let mut old = version(world, &run, "hand-over", 1, false).start();
    old.wait_for_epoch(2, PATIENCE).await;
    let mut new = version(world, &run, "hand-over", 2, true).start();
    let stopped = old.wait_for("a stop", PATIENCE, is(Phase::Stopped)).await;
    let finished = new.wait_for("the end", PATIENCE, is(Phase::Finished)).await;
    assert_eq!((stopped.attempt, finished.attempt), (Some(1), Some(2)));
    assert_eq!((stopped.failure, finished.failure, finished.revision), (None, None, 2));
    world.assert_exact(&run, &workload).await;

    let records = log(world, "hand-over").await;
    let count = |is_such: fn(&Body) -> bool| records.iter().filter(|record| is_such(&record.body)).count();
    assert_eq!(count(|body| matches!(body, Body::Sealed { .. })), 0, "{records:?}");
    assert_eq!(count(|body| matches!(body, Body::Released { .. })), 2, "{records:?}");

    // The old one comes back, as a pod does that was moved, and must not take the job.
    for process in [&old, &new] {
        process.signal("TERM");
    }
    assert_eq!((old.wait(PATIENCE), new.wait(PATIENCE)), (End::Finished, End::Finished));
    let folder = tempfile::tempdir().unwrap();
    let last_word = folder.path().join("last-word");
    let mut again = version(world, &run, "hand-over", 1, false).env("TIDEGATE_TERMINATION_LOG", last_word.display());
    assert!(matches!(again.start().wait(PATIENCE), End::Failed(_)));
    assert_eq!(read(&last_word).reason, FailureReason::Superseded);
}

fn read(last_word: &Path) -> Failure {
    serde_json::from_str(&std::fs::read_to_string(last_word).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_that_can_not_go_on_is_refused_and_the_old_one_runs_on() {
    let world = World::shared().await;
    let workload = Workload::new(42, 200_000);
    let run = world.store_sales("unfit-versions", &workload).await;
    let other = world.empty_run("other-orders").await;
    let mut old = version(world, &run, "unfit-versions", 1, false).start();
    old.wait_for_epoch(2, PATIENCE).await;
    let next = || version(world, &run, "unfit-versions", 2, true);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/store-sales.yaml");
    let sql = StreamJob::from_yaml(&std::fs::read_to_string(example).unwrap()).unwrap().spec.sql;
    let changed = |from: &str, to: &str| {
        assert!(sql.contains(from));
        serde_json::to_string(&sql.replace(from, to)).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let last_word = folder.path().join("last-word");
    let cases = [
        (
            "SQL that does not plan",
            next().set("spec.sql", changed("SUM(amount)", "SUM(amout)")),
            FailureReason::DocumentInvalid,
            "did you mean `amount`?",
        ),
        (
            "state without a home",
            next().set("spec.sql", changed("unique_orders", "distinct_orders")),
            FailureReason::StateUnfit,
            "the job does not have its operator",
        ),
        (
            "other key groups",
            next().set("spec.maxParallelism", 64),
            FailureReason::StateUnfit,
            "spec.maxParallelism: found 64",
        ),
        (
            "another topic",
            next().set("spec.sources[0].kafka.topic", &other.orders),
            FailureReason::SourceUnfit,
            "no partition of topic",
        ),
    ];
    for (what, job, reason, words) in cases {
        let mut job = job.env("TIDEGATE_TERMINATION_LOG", last_word.display());
        assert!(matches!(job.start().wait(PATIENCE), End::Failed(_)), "{what} is accepted");
        let said = read(&last_word);
        assert_eq!(said.reason, reason, "{what}: {}", said.message);
        assert!(said.message.contains(words), "{what}: {}", said.message);
        std::fs::remove_file(&last_word).unwrap();
        let status = old.wait_for("any status", PATIENCE, |_| true).await;
        assert_eq!((status.phase, status.attempt, status.restarts), (Phase::Running, Some(1), 0), "{what}");
        old.wait_for_epoch(status.committed_epoch.unwrap() + 1, PATIENCE).await;
    }
    // A version that fits takes over after all.
    let mut new = next().start();
    new.wait_for("the end", PATIENCE, is(Phase::Finished)).await;
    old.wait_for("a stop", PATIENCE, is(Phase::Stopped)).await;
    world.assert_exact(&run, &workload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_version_that_does_not_answer_is_left_behind_and_publishes_nothing_more() {
    let world = World::shared().await;
    let workload = Workload::new(43, ORDERS);
    let run = world.store_sales("asleep", &workload).await;
    let folder = tempfile::tempdir().unwrap();
    let last_word = folder.path().join("last-word");
    let mut job = version(world, &run, "asleep", 1, false).env("TIDEGATE_TERMINATION_LOG", last_word.display());
    let mut old = job.start();
    old.wait_for_epoch(2, PATIENCE).await;
    old.signal("STOP");
    let mut new = version(world, &run, "asleep", 2, true).start();
    new.wait_for("the job to be taken", PATIENCE, |status| status.attempt == Some(2)).await;
    old.signal("CONT");
    assert!(matches!(old.wait(PATIENCE), End::Failed(_)), "the old version is to leave");
    assert_eq!(read(&last_word).reason, FailureReason::Superseded);
    new.wait_for("the end", PATIENCE, is(Phase::Finished)).await;
    world.assert_exact(&run, &workload).await;
    assert!(log(world, "asleep").await.iter().any(|record| matches!(record.body, Body::Sealed { .. })));
}
