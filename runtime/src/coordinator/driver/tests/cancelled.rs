//! What a cancelled job leaves that is to delete what it kept.

use tokio::sync::oneshot;

use super::*;
use crate::checkpoint::store::memory::{Action, Fault};

/// Runs a job, and cancels it with a savepoint.
async fn cancelled_with_a_savepoint(job: &Job) -> JobStatus {
    let process = job.start();
    process.reads().await;
    let (answer, answered) = oneshot::channel();
    let then = StopRequest { savepoint: Some("keep".to_owned()), ..StopRequest::new(StopPurpose::Cancel, true) };
    let asked = Request::Savepoint { name: "keep".to_owned(), then: Some(then), answer };
    process.requests.send(asked).unwrap();
    answered.await.unwrap().unwrap();
    let (outcome, status) = process.ends().await;
    assert_eq!(outcome, Outcome::Stopped);
    status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_savepoint_stays_and_a_log_that_says_so() {
    let job = Job::new("    onCancellation: Delete");
    assert!(cancelled_with_a_savepoint(&job).await.is_deleted);
    assert_eq!(job.log().await.ending, Some(Ending::Deleted));
    let kept = job.store.list("", None).await.unwrap();
    let of_the_log = |path: &str| path == "hint" || path.starts_with("log/");
    let strange = kept.iter().filter(|object| !of_the_log(&object.path.0));
    assert!(strange.clone().all(|object| object.path.0.starts_with("savepoints/keep/")), "{kept:?}");
    assert!(strange.clone().any(|object| object.path.0 == "savepoints/keep/savepoint.json"), "{kept:?}");
    // Whoever comes next begins anew.
    let next = job.start();
    let status = next.until("to run", |status| status.phase == Phase::Running).await;
    assert_eq!((status.attempt, status.last_restore), (Some(2), None));
    next.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_could_not_delete_goes_with_the_next_start() {
    let job = Job::new("    onCancellation: Delete");
    job.store.fail(Action::Delete, "data/", Fault::Before, 1000);
    cancelled_with_a_savepoint(&job).await;
    let data = async || job.store.list("data/00000001/", None).await.unwrap();
    assert!(!data().await.is_empty());
    job.store.heal();
    let next = job.start();
    next.until("to run", |status| status.phase == Phase::Running).await;
    let swept = async {
        while !data().await.is_empty() {
            env::sleep(Duration::from_millis(5)).await;
        }
    };
    env::within(PATIENCE, swept).await.expect("what the deleted job left goes");
    next.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_its_savepoint_fails_the_checkpoints_stay() {
    let job = Job::new("    onCancellation: Delete");
    job.store.fail(Action::Put, "savepoints/keep/state", Fault::Before, 1000);
    cancelled_with_a_savepoint(&job).await;
    let log = job.log().await;
    let checkpoint = log.checkpoint.expect("its last checkpoint");
    Manifest::read(&job.store, &checkpoint).await.unwrap();
    // The next start goes on from it.
    job.store.heal();
    let next = job.start();
    let status = next.until("to run", |status| status.phase == Phase::Running).await;
    assert_eq!(status.last_restore.map(|restored| restored.epoch), Some(checkpoint.epoch.0));
    next.kill().await;
}

/// Waits out an hour before it starts again, after a checkpoint that was published and one that failed.
async fn waiting_to_be_restarted(job: &Job) -> Process {
    let process = job.start();
    process.reads().await;
    process.tries_to_publish(job).await;
    process.until("its output to be published", |status| status.pending_epochs == 0).await;
    job.store.fail(Action::Put, "data/", Fault::Before, 1000);
    process.requests.send(Request::Checkpoint).unwrap();
    process.until("to wait", |status| status.phase == Phase::Restarting).await;
    job.store.heal();
    process
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_kept_goes_though_it_did_not_run_when_it_was_cancelled() {
    let job = Job::new("    onCancellation: Delete\n  restart: { fixedDelay: { delay: 1h } }");
    let process = waiting_to_be_restarted(&job).await;
    assert!(!job.store.list("data/", None).await.unwrap().is_empty());
    process.stops(StopRequest::new(StopPurpose::Cancel, true));
    let shared = process.shared.clone();
    let (outcome, status) = process.ends().await;
    assert_eq!((outcome, status.is_deleted, shared.take_unmet()), (Outcome::Stopped, true, None));
    assert_eq!(job.log().await.ending, Some(Ending::Deleted));
    assert_eq!(job.store.list("data/", None).await.unwrap(), []);
    let next = job.start();
    let status = next.until("to run", |status| status.phase == Phase::Running).await;
    assert_eq!(status.last_restore, None, "it begins anew");
    next.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_kept_stays_where_output_waits_or_nobody_can_say_that_it_is_deleted() {
    let job = Job::new("    onCancellation: Delete\n  restart: { fixedDelay: { delay: 1h } }");
    let process = waiting_to_be_restarted(&job).await;
    job.store.fail(Action::Create, "log/", Fault::Before, 1000);
    process.stops(StopRequest::new(StopPurpose::Cancel, true));
    let shared = process.shared.clone();
    assert_eq!(process.ends().await.0, Outcome::Stopped);
    let kept = shared.take_unmet().expect("a failure");
    assert!(kept.message.starts_with("the job has stopped, but its checkpoints stay: "), "{kept:?}");

    // The next one has more to publish, and nobody takes it.
    job.store.heal();
    let process = job.start();
    process.reads().await;
    job.sink.fares(Mood::Away);
    process.tries_to_publish(&job).await;
    process.kill().await;
    let recovering = job.start();
    let tries = job.sink.tries();
    recovering.until("a try to publish", |_| job.sink.tries() > tries).await;
    recovering.stops(StopRequest::new(StopPurpose::Cancel, true));
    let shared = recovering.shared.clone();
    assert_eq!(recovering.ends().await.0, Outcome::Stopped);
    let kept = shared.take_unmet().expect("a failure");
    assert!(kept.message.contains("output may wait to be published"), "{kept:?}");
    let log = job.log().await;
    assert!(!log.is_deleted());
    Manifest::read(&job.store, &log.checkpoint.expect("its newest")).await.unwrap();
}
