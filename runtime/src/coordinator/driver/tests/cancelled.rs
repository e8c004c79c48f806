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
