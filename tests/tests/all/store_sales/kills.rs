//! `kill -9` at every named place, and at random ones.

use std::time::{Duration, Instant};

use tidegate_tests::{job::End, oracle::Workload};

use super::world::{PATIENCE, World};

const ORDERS: u64 = 400_000;

/// Kills the job at each of `faults` in turn, one start each, then lets it finish.
async fn exact_after(name: &str, faults: &[(&str, u64)]) {
    let world = World::shared().await;
    let workload = Workload::new(7, ORDERS);
    let run = world.store_sales(name, &workload).await;
    let mut job = world.job(&run, name);
    for (place, nth) in faults {
        let end = job.start_with_fault(place, *nth).wait(PATIENCE);
        assert_eq!(end, End::Killed, "the job was to be killed at `{place}`");
    }
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
    killed_before_a_state_upload: "before-state-upload"@5;
    killed_after_a_state_upload: "after-state-upload"@5;
    killed_before_a_manifest: "before-manifest"@3;
    killed_after_a_manifest: "after-manifest"@3;
    killed_before_owning_an_epoch: "before-own"@3;
    killed_after_owning_an_epoch: "after-own"@3;
    killed_in_a_kafka_transaction: "kafka-transaction-open"@2;
    killed_after_a_kafka_transaction: "kafka-transaction-committed"@2;
    killed_between_two_clickhouse_inserts: "clickhouse-between-inserts"@1;
    killed_before_epoch_committed: "before-epoch-committed"@2;
    killed_after_epoch_committed: "after-epoch-committed"@2;
    killed_again_and_again_in_recovery:
        "after-own"@3, "recovery-claimed"@1, "recovery-settling"@1, "kafka-transaction-open"@1,
        "kafka-transaction-committed"@1, "recovery-settled"@1;
    killed_while_collecting: "collecting"@2, "collecting"@1;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_twenty_times_at_random() {
    let records = std::env::var("TIDEGATE_TEST_RECORDS").map_or(2_000_000, |text| text.parse().expect("a number"));
    let world = World::shared().await;
    let workload = Workload::new(11, records);
    let run = world.store_sales("random-kills", &workload).await;
    let mut job = world.job(&run, "random-kills");
    let mut kills = 0;
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let patience = Instant::now() + 10 * PATIENCE;
    while kills < 20 {
        // xorshift64: the same pauses in every run.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut process = job.start();
        let end = Instant::now() + Duration::from_millis(300 + random % 1500);
        while Instant::now() < end && process.ended().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        match process.ended() {
            None => kills += usize::from(process.kill_9() == End::Killed),
            Some(End::Finished) => break,
            Some(other) => panic!("it ended by itself: {other:?}"),
        }
        assert!(Instant::now() < patience, "too slow");
    }
    assert!(kills >= 5, "the job was killed {kills} times only: give it more records");
    job.finish(10 * PATIENCE);
    world.assert_exact(&run, &workload).await;
}
