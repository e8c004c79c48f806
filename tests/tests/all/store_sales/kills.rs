//! `kill -9` at every named place, and at random ones.

use std::time::Duration;

use tidegate_crds::api::JobStatus;
use tidegate_tests::{
    chance::Chance,
    job::End,
    oracle::Workload,
    world::{PATIENCE, World},
};

const ORDERS: u64 = 1_000_000;

/// Places that are only reached with more rows in an epoch than one insert takes, or one chunk.
const WIDE: [&str; 2] = ["clickhouse-between-inserts", "chunk-written-ahead"];

/// An interval that no job reaches: all that it reads is one epoch.
const WHOLE: &str = "1h";

/// Kills the job at each of `faults` in turn, one start each, then lets it finish.
async fn exact_after(name: &str, faults: &[(&str, u64)]) {
    let world = World::shared().await;
    let (workload, interval) = match faults[0].0 {
        place if WIDE.contains(&place) => (Workload::wide(7, 600_000), WHOLE),
        // Work for every start.
        _ if faults.iter().any(|(place, _)| *place == "collecting") => (Workload::new(7, 4 * ORDERS), "50ms"),
        _ => (Workload::new(7, ORDERS), "50ms"),
    };
    let run = world.store_sales(name, &workload).await;
    let mut job = world.job(&run, name).set("spec.checkpoint.retained", 1).set("spec.checkpoint.interval", interval);
    if interval != WHOLE {
        job = job.paced(workload.count);
    }
    job.kill_at_each(faults, PATIENCE);
    job.finish(PATIENCE);
    world.assert_exact(&run, &workload).await;
}

macro_rules! killed_at {
    ($($test:ident: $($place:literal @ $nth:literal),+;)+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            exact_after(&stringify!($test).replace('_', "-"), &[$(($place, $nth)),+]).await;
        })+
    };
}

killed_at! {
    killed_before_a_state_upload: "before-state-upload"@9;
    killed_after_a_state_upload: "after-state-upload"@9;
    killed_before_a_manifest: "before-manifest"@2;
    killed_after_a_manifest: "after-manifest"@2;
    killed_before_owning_an_epoch: "before-own"@2;
    killed_after_owning_an_epoch: "after-own"@2;
    killed_in_a_kafka_transaction: "kafka-transaction-open"@2;
    killed_after_a_kafka_transaction: "kafka-transaction-committed"@2;
    killed_between_two_clickhouse_inserts: "clickhouse-between-inserts"@1;
    killed_when_a_chunk_is_written_ahead: "chunk-written-ahead"@1, "chunk-written-ahead"@2;
    killed_before_epoch_committed: "before-epoch-committed"@2;
    killed_after_epoch_committed: "after-epoch-committed"@2;
    killed_again_and_again_in_recovery:
        "before-publish"@1, "recovery-claimed"@1, "recovery-settling"@1, "kafka-transaction-open"@1,
        "kafka-transaction-committed"@1, "recovery-settled"@1;
    killed_while_collecting:
        "after-own"@3, "collecting"@2, "after-own"@3, "collecting"@20, "collecting"@1;
}

const RANDOM_KILLS: u64 = 20;
/// How long a start is left alone before it is killed; it takes a checkpoint when it begins to run, and then ten a second.
const LONGEST_MS: u64 = 900;
/// More epochs than all starts that are killed can have together.
const EPOCHS_A_START: u64 = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_twenty_times_at_random() {
    let world = World::shared().await;
    let workload = Workload::new(11, 2_000_000);
    let run = world.store_sales("random-kills", &workload).await;
    let paced = workload.count / (RANDOM_KILLS * EPOCHS_A_START);
    let mut job = world.job(&run, "random-kills").env("TIDEGATE_EPOCH_RECORDS", paced);
    let mut chance = Chance::drawn();
    for kill in 0..RANDOM_KILLS {
        let mut process = job.start();
        // One start in four is killed whatever it is at; the others run, however slow the machine is.
        if kill % 4 > 0 {
            let runs = |status: &JobStatus| status.recovery_seconds.is_some();
            process.wait_for("the job to run", PATIENCE, runs).await;
        }
        tokio::time::sleep(Duration::from_millis(chance.within(0..LONGEST_MS))).await;
        assert_eq!(process.ended(), None, "start {kill} has ended by itself");
        assert_eq!(process.kill_9(), End::Killed);
        if kill % 5 == 4 {
            world.assert_storage_whole("random-kills").await;
        }
    }
    job.env("TIDEGATE_EPOCH_RECORDS", u64::MAX).finish(10 * PATIENCE);
    world.assert_exact(&run, &workload).await;
    world.assert_storage_whole("random-kills").await;
}
