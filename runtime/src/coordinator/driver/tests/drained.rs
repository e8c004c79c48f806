//! What a drained job has left.

use super::*;

/// A job that was drained while its sink was away, and killed then.
async fn drained() -> (Job, usize) {
    let job = Job::new("");
    job.sink.fares(Mood::Away);
    let first = job.start();
    first.reads().await;
    first.drains().await.unwrap();
    first.until("the last checkpoint to be owned", |status| status.pending_epochs > 0).await;
    first.kill().await;
    let checkpoint = job.log().await.checkpoint.unwrap();
    let manifest = Manifest::read(&job.store, &checkpoint).await.unwrap();
    let rows = manifest.chunks.iter().map(|chunk| chunk.rows).sum::<u64>() as usize;
    assert!(rows > 0 && job.sink.rows() == 0);
    (job, rows)
}

fn says_that_it_was_drained(failure: &Failure) {
    assert_eq!(failure.reason, FailureReason::StateUnfit);
    assert!(failure.message.contains("the state was drained"), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_next_start_publishes_it_notes_it_and_only_then_refuses_whichever_version_it_is() {
    for revision in [1, 2] {
        let (job, rows) = drained().await;
        let second = job.start_as(revision);
        let tries = job.sink.tries();
        second.until("tries to publish", |_| job.sink.tries() > tries + 2).await;
        assert_eq!(second.shared.status().phase, Phase::Recovering);
        job.sink.fares(Mood::Takes);
        says_that_it_was_drained(&second.fails().await);
        assert_eq!(job.sink.rows(), rows);
        let log = job.log().await;
        assert_eq!(log.ending, Some(Ending::Released { finished: false }));
        assert_eq!(log.committed.all, log.checkpoint.map(|checkpoint| checkpoint.epoch));

        job.sink.fares(Mood::Away);
        says_that_it_was_drained(&job.start_as(revision).fails().await);
        assert_eq!(job.log().await.committed, log.committed, "a third start asks the log of the second");
        assert_eq!(job.sink.rows(), rows);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_is_published_a_stop_ends_the_process_and_the_next_start_goes_on() {
    let (job, rows) = drained().await;
    let second = job.start();
    let tries = job.sink.tries();
    second.until("a try to publish", |_| job.sink.tries() > tries).await;
    second.stops(suspend());
    let (outcome, _) = second.ends().await;
    assert_eq!(outcome, Outcome::Stopped);
    job.sink.fares(Mood::Takes);
    says_that_it_was_drained(&job.start().fails().await);
    assert_eq!(job.sink.rows(), rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_does_not_run_yet_refuses_to_drain_and_stops_without() {
    let (job, _) = drained().await;
    let second = job.start();
    second.until("its output of before", |status| status.phase == Phase::Recovering).await;
    let refused = second.drains().await.unwrap_err();
    let why = "the job is Recovering; it can drain when it runs, and stop without that at any time";
    assert_eq!(refused, Refused::conflict(why.to_owned()));
    assert_eq!(second.shared.status().phase, Phase::Recovering);
    second.stops(suspend());
    assert_eq!(second.ends().await.0, Outcome::Stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_stops_otherwise_refuses_to_drain_and_one_that_drains_may_be_asked_again() {
    for drains_first in [false, true] {
        let job = Job::new("");
        job.sink.fares(Mood::Away);
        let first = job.start();
        first.reads().await;
        if drains_first {
            first.drains().await.unwrap();
        } else {
            first.stops(suspend());
        }
        first.until("to stop", |status| status.phase == Phase::Stopping).await;
        assert_eq!(first.drains().await.is_ok(), drains_first);
        job.sink.fares(Mood::Takes);
        assert_eq!(first.ends().await.0, Outcome::Stopped);
    }
}
