//! A sink that refuses for good.

use super::*;

const SOON: &str = "  restart: { fixedDelay: { delay: 10ms, attempts: 2 } }";

fn names_the_refusal(failure: &Failure) {
    assert_eq!(failure.reason, FailureReason::SinkUnfit, "{failure:?}");
    for words in ["was refused 10 times in a row", "sink `sales`: there is no table"] {
        assert!(failure.message.contains(words), "{failure:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_the_attempt_and_then_the_job_and_what_waits_is_published_when_it_is_mended() {
    let job = Job::new(SOON);
    job.sink.fares(Mood::Refuses);
    let process = job.start();
    process.tries_to_publish(&job).await;
    // The strategy has the job tried again; then what waits can't be published, and no source may read before that.
    let (outcome, status) = process.ends().await;
    let Outcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
    names_the_refusal(&failure);
    assert_eq!((status.restarts, job.sink.rows()), (1, 0));

    job.sink.fares(Mood::Takes);
    let process = job.start();
    process.reads().await;
    assert!(job.sink.rows() > 0, "before a source read");
    process.stops(suspend());
    assert_eq!(process.ends().await.0, Outcome::Stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_can_not_be_reached_is_waited_for() {
    let job = Job::new(SOON);
    job.sink.fares(Mood::Flickers);
    let process = job.start();
    process.tries_to_publish(&job).await;
    let status = process.until("many tries", |_| job.sink.tries() > 40).await;
    assert!(status.pending_epochs > 0 && status.restarts == 0, "{status:?}");
    job.sink.fares(Mood::Takes);
    let status = process.until("all to be published", |status| status.pending_epochs == 0).await;
    assert_eq!((status.restarts, status.failures_in_row), (0, 0));
    process.stops(suspend());
    assert_eq!(process.ends().await.0, Outcome::Stopped);
}
