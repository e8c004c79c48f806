//! `kill -9` at every named place, and at random ones.

use std::time::{Duration, Instant};

use tidegate_tests::{
    job::End,
    oracle::Workload,
    world::{PATIENCE, World},
};

const ORDERS: u64 = 1_000_000;

/// The place that is only reached with more rows in an epoch than one insert takes.
const WIDE: &str = "clickhouse-between-inserts";

/// Kills the job at each of `faults` in turn, one start each, then lets it finish.
async fn exact_after(name: &str, faults: &[(&str, u64)]) {
    let world = World::shared().await;
    let (workload, interval) = match faults[0].0 {
        WIDE => (Workload::wide(7, 600_000), "1h"),
        // Work for every start.
        _ if faults.iter().any(|(place, _)| *place == "collecting") => (Workload::new(7, 4 * ORDERS), "50ms"),
        _ => (Workload::new(7, ORDERS), "50ms"),
    };
    let run = world.store_sales(name, &workload).await;
    let mut job = world.job(&run, name).set("spec.checkpoint.retained", 1).set("spec.checkpoint.interval", interval);
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
    killed_before_epoch_committed: "before-epoch-committed"@2;
    killed_after_epoch_committed: "after-epoch-committed"@2;
    killed_again_and_again_in_recovery:
        "after-own"@2, "recovery-claimed"@1, "recovery-settling"@1, "kafka-transaction-open"@1,
        "kafka-transaction-committed"@1, "recovery-settled"@1;
    killed_while_collecting:
        "after-own"@3, "collecting"@2, "after-own"@3, "collecting"@20, "collecting"@1;
}

const RANDOM_KILLS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_twenty_times_at_random() {
    let given = std::env::var("TIDEGATE_TEST_RECORDS").ok();
    let mut records: u64 = given.as_ref().map_or(2_000_000, |text| text.parse().expect("a number"));
    // On a machine so fast that the job ends before it was killed often enough: once more, with more to do.
    while !exact_after_random_kills(records).await {
        assert!(given.is_none(), "the job has finished before its last kill: set TIDEGATE_TEST_RECORDS higher");
        records *= 2;
    }
}

/// Whether the job lived long enough to be killed as often as it must; if so, its output was exact.
async fn exact_after_random_kills(records: u64) -> bool {
    let world = World::shared().await;
    let workload = Workload::new(11, records);
    let name = format!("random-kills-{records}");
    let run = world.store_sales(&name, &workload).await;
    let mut job = world.job(&run, &name);
    // A start may be killed while it recovers, or when it has worked for a while; the more records, the longer.
    let longest = 400 + records / 5_000;
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for kill in 0..RANDOM_KILLS {
        // xorshift64: the same pauses in every run.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut process = job.start();
        let end = Instant::now() + Duration::from_millis(50 + random % longest);
        while Instant::now() < end && process.ended().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        match process.ended() {
            None => assert_eq!(process.kill_9(), End::Killed),
            Some(End::Finished) => return false,
            Some(other) => panic!("it ended by itself: {other:?}"),
        }
        if kill % 5 == 4 {
            world.assert_storage_whole(&name).await;
        }
    }
    job.finish(10 * PATIENCE);
    world.assert_exact(&run, &workload).await;
    world.assert_storage_whole(&name).await;
    true
}
