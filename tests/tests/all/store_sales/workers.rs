//! The job as one coordinator and three workers, each a process of its own.

use std::time::Duration;

use tidegate_crds::api::{FailureReason, JobStatus, Phase};
use tidegate_tests::{
    chance::Chance,
    crew::Crew,
    job::{End, Job},
    oracle::Workload,
    world::{PATIENCE, Run, World},
};

const ORDERS: u64 = 1_500_000;
const WORKERS: usize = 3;

/// Four subtasks, for three workers.
fn job(world: &World, run: &Run, name: &str) -> Job {
    world
        .job(run, name)
        .set("spec.parallelism", 4)
        .set("spec.restart", r#"{"fixedDelay":{"delay":"50ms","attempts":10000}}"#)
}

fn subtasks(status: &JobStatus) -> Vec<(String, Vec<u32>)> {
    status.workers.iter().map(|worker| (worker.name.clone(), worker.subtasks.clone())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subtasks_are_spread_over_workers_and_a_lost_worker_is_replaced() {
    let world = World::shared().await;
    let workload = Workload::new(61, 3 * ORDERS);
    let run = world.store_sales("workers", &workload).await;
    let mut crew = Crew::start(job(world, &run, "workers").paced(workload.count / WORKERS as u64), WORKERS, 2);
    crew.coordinator().wait_for_epoch(2, PATIENCE).await;
    let status = crew.coordinator().wait_for("any status", PATIENCE, |_| true).await;
    let expected = [("worker-0".into(), vec![0, 1]), ("worker-1".into(), vec![2]), ("worker-2".into(), vec![3])];
    assert_eq!(subtasks(&status), expected);
    assert!(status.sources.iter().all(|source| source.lag > 0), "{:?}", status.sources);
    // The two that are left have slots for all.
    crew.dismiss_worker(2);
    let moved = |status: &JobStatus| status.phase == Phase::Running && status.restarts == 1;
    let status = crew.coordinator().wait_for("the subtasks elsewhere", PATIENCE, moved).await;
    assert_eq!(subtasks(&status), [("worker-0".into(), vec![0, 1]), ("worker-1".into(), vec![2, 3])]);
    let failure = status.failure.unwrap();
    assert_eq!(failure.reason, FailureReason::WorkerLost, "{failure:?}");
    assert!(failure.message.contains("worker `worker-2` is lost"), "{}", failure.message);
    // One alone has not, and says so.
    crew.dismiss_worker(1);
    let waits = |status: &JobStatus| {
        status.failure.as_ref().is_some_and(|failure| failure.reason == FailureReason::SlotsMissing)
    };
    let status = crew.coordinator().wait_for("slots to be missing", PATIENCE, waits).await;
    assert_eq!(status.failure.unwrap().message, "found 2 slots of workers, and 4 subtasks need one each");
    crew.start_worker(1);
    assert_eq!(crew.wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_outlive_their_coordinator() {
    let world = World::shared().await;
    let workload = Workload::new(62, ORDERS);
    let run = world.store_sales("coordinator-killed", &workload).await;
    let mut crew =
        Crew::start(job(world, &run, "coordinator-killed").paced(workload.count / WORKERS as u64), WORKERS, 2);
    for _ in 0..3 {
        crew.coordinator().wait_for("output", PATIENCE, |status| status.phase == Phase::Running).await;
        assert_eq!(crew.replace_coordinator(), None);
    }
    crew.coordinator().wait_for("the workers of before", PATIENCE, |status| status.workers.len() == WORKERS).await;
    for index in 0..WORKERS {
        assert_eq!(crew.worker(index).ended(), None);
    }
    assert_eq!(crew.wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_worker_is_left_behind_and_publishes_nothing_more() {
    let world = World::shared().await;
    let workload = Workload::new(63, 2 * ORDERS);
    let run = world.store_sales("silent-worker", &workload).await;
    let job = job(world, &run, "silent-worker")
        .paced(workload.count / WORKERS as u64)
        .env("TIDEGATE_HEARTBEAT_TIMEOUT", "1s");
    let mut crew = Crew::start(job, WORKERS, 2);
    crew.coordinator().wait_for_epoch(2, PATIENCE).await;
    crew.worker(1).signal("STOP");
    let moved = |status: &JobStatus| status.phase == Phase::Running && status.restarts == 1;
    let status = crew.coordinator().wait_for("the subtasks elsewhere", PATIENCE, moved).await;
    let cause = status.failure.unwrap().message;
    assert!(cause.contains("it has said nothing for 1 s"), "{cause}");
    crew.worker(1).signal("CONT");
    assert_eq!(crew.wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_with_another_version_of_the_job_is_sent_away() {
    let world = World::shared().await;
    let workload = Workload::new(64, 200_000);
    let run = world.store_sales("other-version", &workload).await;
    let mut crew = Crew::start(job(world, &run, "other-version"), 1, 2);
    let stranger = job(world, &run, "other-version").set("spec.checkpoint.retained", 9);
    let mut stranger = crew.hire(stranger, "stranger");
    let refused = "has been given another version of the job than its coordinator";
    tidegate_tests::world::until("the stranger to be refused", || async { stranger.log().contains(refused) }).await;
    assert_eq!(stranger.ended(), None, "it goes on trying, for a coordinator of its version may come");
    crew.start_worker(1);
    assert_eq!(crew.wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_compressed_on_their_way_survive_a_lost_worker() {
    let world = World::shared().await;
    let workload = Workload::new(67, ORDERS);
    let run = world.store_sales("compressed", &workload).await;
    let job =
        job(world, &run, "compressed").paced(workload.count / WORKERS as u64).set("spec.exchangeCompression", "LZ4");
    let mut crew = Crew::start(job, WORKERS, 2);
    let mut epoch = 0;
    for victim in 0..WORKERS {
        epoch = crew.coordinator().wait_for_epoch(epoch + 2, PATIENCE).await;
        crew.replace_worker(victim);
    }
    assert_eq!(crew.wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
}

/// Kills one worker at a place on the way of a checkpoint.
async fn exact_after(name: &str, place: &str, nth: u64) {
    let world = World::shared().await;
    let workload = Workload::new(65, ORDERS);
    let run = world.store_sales(name, &workload).await;
    let mut crew = Crew::start_expecting(WORKERS, job(world, &run, name).paced(ORDERS / WORKERS as u64), 2, 2);
    crew.start_worker_with_fault(2, place, nth);
    let killed = crew.worker(2).await_end(PATIENCE);
    assert_eq!(killed, End::Killed, "the worker was to be killed at `{place}`");
    crew.start_worker(2);
    assert_eq!(crew.wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
}

macro_rules! killed_at {
    ($($test:ident: $place:literal @ $nth:literal;)+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            exact_after(&stringify!($test).replace('_', "-"), $place, $nth).await;
        })+
    };
}

killed_at! {
    a_worker_killed_before_a_state_upload: "before-state-upload"@4;
    a_worker_killed_after_a_state_upload: "after-state-upload"@4;
    a_worker_killed_in_a_kafka_transaction: "kafka-transaction-open"@1;
    a_worker_killed_after_a_kafka_transaction: "kafka-transaction-committed"@1;
}

/// How many kills the default run has; `TIDEGATE_TEST_KILLS` sets another number.
const RANDOM_KILLS: u64 = 25;
/// How long the job is left alone between two of them; it takes ten checkpoints a second, and one after each restart.
const LONGEST_MS: u64 = 2_100;
/// More epochs than there can be between two kills.
const EPOCHS_A_KILL: u64 = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coordinator_and_workers_killed_at_random() {
    let given = std::env::var("TIDEGATE_TEST_KILLS").ok();
    let kills = given.map_or(RANDOM_KILLS, |text| text.parse().expect("a number"));
    let world = World::shared().await;
    let workload = Workload::new(66, 80_000 * kills);
    let run = world.store_sales("random-workers", &workload).await;
    // Of each worker: they read in turns, and all may come to be read by one.
    let paced = workload.count / (kills * EPOCHS_A_KILL) / WORKERS as u64;
    let job = job(world, &run, "random-workers").env("TIDEGATE_EPOCH_RECORDS", paced);
    let mut crew = Crew::start(job, WORKERS, 2);
    let mut chance = Chance::drawn();
    for kill in 0..kills {
        tokio::time::sleep(Duration::from_millis(chance.within(100..LONGEST_MS))).await;
        assert_eq!(crew.coordinator().ended(), None, "the job has ended by itself before kill {kill}");
        match chance.within(0..WORKERS as u64 + 1) as usize {
            WORKERS => assert_eq!(crew.replace_coordinator(), None),
            worker => crew.replace_worker(worker),
        }
        if kill % 10 == 9 {
            world.assert_storage_whole("random-workers").await;
        }
    }
    assert_eq!(crew.wait(10 * PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
    world.assert_storage_whole("random-workers").await;
}
