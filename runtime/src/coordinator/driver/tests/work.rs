//! What the coordinator has done beside its loop.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_panics_is_a_failure_and_nobody_waits_for_its_answer() {
    let job = Job::new("");
    let process = job.start();
    process.reads().await;
    job.sink.panics.store(true, SeqCst);
    let (answer, answered) = tokio::sync::oneshot::channel();
    process.requests.send(Request::Rescale { parallelism: 1, answer }).unwrap();
    assert!(answered.await.is_err(), "it has no answer");
    let status = process.until("to fail", |status| status.restarts == 1).await;
    let failure = status.failure.expect("why");
    assert_eq!(
        (failure.reason, failure.message.as_str()),
        (FailureReason::TaskFailed, "the coordinator's work has panicked: the fake sink panics")
    );
    process.until("to run again", |status| status.phase == Phase::Running && status.attempt == Some(2)).await;
    process.kill().await;
}
