//! What a drained job has left.

use super::*;

/// A job that was drained while its sink was away, and killed then.
async fn drained() -> (Job, usize) {
    let job = Job::new("");
    job.sink.fares(Mood::Away);
    let first = job.start();
    first.reads().await;
    first.stops(StopRequest { drain: true, ..suspend() });
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
