//! Orders into files, with no server at all: killed while the chunks of an epoch are published.

use std::path::Path;

use tidegate_tests::{
    job::{End, Job},
    oracle::{Rows, Workload, assert_same},
    world::PATIENCE,
};

const ORDERS: u64 = 900_000;

#[test]
fn killed_between_the_chunks_of_an_epoch() {
    // One epoch of more rows than a chunk takes, published by two slots.
    exact_after(&[("files-between-chunks", 1), ("files-between-chunks", 2)], "1h");
}

#[test]
fn killed_around_the_publication_of_small_epochs() {
    exact_after(&[("after-own", 2), ("recovery-settling", 1), ("before-epoch-committed", 1)], "50ms");
}

/// Kills the job at each of `faults` in turn, then lets it finish: every order is in the files, once.
fn exact_after(faults: &[(&str, u64)], interval: &str) {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("orders");
    let mut job = Job::example("store-sales-local.yaml")
        .set("spec.sources[0].generator.count", ORDERS)
        .set("spec.sql", "INSERT INTO store_sales SELECT order_id, store_id, amount, ts FROM orders")
        .set("spec.sinks[0].files.path", output.display())
        .set("spec.checkpoint.interval", interval)
        .set("spec.checkpoint.storage.local.path", folder.path().join("checkpoints").display());
    for (place, nth) in faults {
        let end = job.start_with_fault(place, *nth).wait(PATIENCE);
        assert_eq!(end, End::Killed, "the job was to be killed at `{place}`");
    }
    job.finish(PATIENCE);
    assert_same("files", &found(&output), &expected());
}

fn found(folder: &Path) -> Rows {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    files
        .flat_map(|path| std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

fn expected() -> Rows {
    let spec = serde_json::json!({
        "count": ORDERS, "stores": 1000, "duplicates": 0.05, "outOfOrder": 0.2, "maxDelay": "5s"
    });
    let workload = Workload::of(&serde_json::from_value(spec).unwrap());
    let line = |index| {
        let order = workload.orders.order(index);
        let instant = chrono::DateTime::from_timestamp_millis(order.ts_ms).unwrap().format("%Y-%m-%dT%H:%M:%S%.3fZ");
        format!(
            r#"{{"order_id":"{}","store_id":{},"amount":{}.{:02},"ts":"{instant}"}}"#,
            order.id(),
            order.store_id,
            order.cents / 100,
            order.cents % 100
        )
    };
    (0..ORDERS).map(line).collect()
}
