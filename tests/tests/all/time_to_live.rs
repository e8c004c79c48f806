//! Keys that a deduplication has forgotten, in a job that is killed. No servers.
//!
//! Each key comes three times: again within its time to live, and once more long after it. The second row is a repeat, the
//! third is not. Between two of them lie many batches, so it is known of each row what becomes of it; before the third come
//! rows of other keys, by which the watermark passes the end of the time to live.

use std::fmt::Write as _;

use serde_json::json;
use tidegate_tests::{
    job::Job,
    local::lines,
    oracle::{Rows, assert_same},
    world::PATIENCE,
};

const KEYS: i64 = 150_000;
/// More than two batches.
const OTHERS: i64 = 20_000;
const STEP_MS: i64 = 10;
/// Of a key, counted from the row before.
const SOON_MS: i64 = KEYS * STEP_MS;
const TTL_MS: i64 = 2 * SOON_MS;
const LONG_MS: i64 = 10 * TTL_MS;

#[test]
fn a_key_is_remembered_for_its_time_to_live_and_no_longer_over_kills() {
    for backend in ["Memory", "RocksDB"] {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let row = |key: i64, ts: i64| format!("{{\"key\":{key},\"ts\":{ts},\"at\":{ts}}}");
        let put_out = |key: i64, ts: i64| format!("{{\"key\":{key},\"ts\":{ts}}}");
        let mut file = String::new();
        let others = KEYS..KEYS + OTHERS;
        let rounds =
            [(0..KEYS, 0), (0..KEYS, SOON_MS), (others.clone(), SOON_MS + LONG_MS / 2), (0..KEYS, SOON_MS + LONG_MS)];
        for (keys, after) in rounds {
            for key in keys {
                writeln!(file, "{}", row(key, after + key % KEYS * STEP_MS)).unwrap();
            }
        }
        std::fs::write(path("rows.jsonl"), file).unwrap();
        let document = json!({
            "apiVersion": "tidegate.dev/v1alpha1",
            "kind": "StreamJob",
            "metadata": { "name": "time-to-live" },
            "spec": {
                "sources": [{
                    "name": "events",
                    "files": { "path": path("rows.jsonl") },
                    "schema": [{ "name": "key", "type": "bigint" }, { "name": "ts", "type": "bigint" },
                               { "name": "at", "type": "timestamp(3)" }],
                    "watermark": { "column": "at", "delay": "1s" },
                }],
                "sql": "INSERT INTO firsts SELECT key, ts FROM (SELECT *, ROW_NUMBER() OVER \
                        (PARTITION BY key ORDER BY at) AS n FROM events) WHERE n = 1",
                "sinks": [{ "name": "firsts", "files": { "path": path("firsts") } }],
                "stateBackend": backend,
                "stateTtl": format!("{TTL_MS}ms"),
                "checkpoint": { "interval": "100ms", "storage": { "local": { "path": path("checkpoints") } } },
            },
        });
        std::fs::write(path("job.yaml"), document.to_string()).unwrap();
        let mut job =
            Job::of(path("job.yaml")).paced(3 * KEYS as u64).env("TIDEGATE_LOCAL_FOLDER", path("local").display());
        let faults = [("after-own", 3), ("before-epoch-committed", 4), ("recovery-settled", 1), ("after-own", 6)];
        job.kill_at_each(&faults, PATIENCE);
        job.finish(PATIENCE);
        let times = [0, SOON_MS + LONG_MS];
        let expected = times.iter().flat_map(|after| (0..KEYS).map(move |key| put_out(key, after + key * STEP_MS)));
        let expected = expected.chain(others.map(|key| put_out(key, SOON_MS + LONG_MS / 2 + key % KEYS * STEP_MS)));
        let found: Rows = lines(&path("firsts"));
        assert_same(backend, &found, &expected.collect());
    }
}
