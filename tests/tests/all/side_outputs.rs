//! Records that do not go the common way: bad ones and late ones, in a job that is killed. No servers.
//!
//! A file of JSON lines, of which some are no JSON and some come after their window has closed. It is known of each line what
//! becomes of it, whatever the batches are that it is read in: event time goes on by 10 ms a line, a window is a minute, and
//! a late line is so far behind that its window was closed two batches ago.

use std::{fmt::Write as _, path::Path};

use serde_json::{Value, json};
use tidegate_tests::{
    job::Job,
    local::lines,
    oracle::{Rows, assert_same},
    world::PATIENCE,
};

const LINES: i64 = 120_000;
const STEP_MS: i64 = 10;
const MINUTE_MS: i64 = 60_000;
/// Further behind than a window and two batches of 8,192 lines.
const LATE_MS: i64 = 300_000;
const FAULTS: [(&str, u64); 4] =
    [("before-publish", 1), ("recovery-settling", 1), ("before-epoch-committed", 2), ("after-own", 3)];

/// What becomes of a line.
enum Line {
    Counted { store: i64, ts_ms: i64 },
    Late { store: i64, ts_ms: i64 },
    Bad(String),
}

fn line(index: i64) -> Line {
    let (store, ts_ms) = (index % 7, index * STEP_MS);
    match index {
        _ if index % 101 == 0 => Line::Bad(format!("{{\"store\": {index}")),
        _ if index % 103 == 0 => Line::Bad(format!("{{\"store\": \"no number {index}\", \"ts\": 1}}")),
        _ if index % 997 == 0 && ts_ms > 2 * LATE_MS => Line::Late { store, ts_ms: ts_ms - LATE_MS },
        _ => Line::Counted { store, ts_ms },
    }
}

fn text(store: i64, ts_ms: i64) -> String {
    format!("{{\"store\":{store},\"ts\":{ts_ms}}}")
}

/// The job's folder, with its file.
fn folder() -> tempfile::TempDir {
    folder_with(|_| None)
}

/// The same with other lines behind some.
fn folder_with(more: impl Fn(i64) -> Option<String>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut file = String::new();
    for index in 0..LINES {
        let line = match line(index) {
            Line::Counted { store, ts_ms } | Line::Late { store, ts_ms } => text(store, ts_ms),
            Line::Bad(text) => text,
        };
        for line in std::iter::once(line).chain(more(index)) {
            writeln!(file, "{line}").unwrap();
        }
    }
    std::fs::write(folder.path().join("lines.jsonl"), file).unwrap();
    folder
}

fn job(folder: &Path, format: Value, sinks: &[&str]) -> Job {
    let path = |name: &str| folder.join(name);
    let sinks: Vec<Value> = sinks.iter().map(|name| json!({ "name": name, "files": { "path": path(name) } })).collect();
    let document = json!({
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "StreamJob",
        "metadata": { "name": "side-outputs" },
        "spec": {
            "sources": [{
                "name": "lines",
                "files": { "path": path("lines.jsonl") },
                "format": format,
                "schema": [{ "name": "store", "type": "bigint" }, { "name": "ts", "type": "timestamp(3)", "nullable": false }],
                "watermark": { "column": "ts", "delay": "1s" },
            }],
            "sql": "INSERT INTO counts SELECT window_start, store, COUNT(*) AS n \
                    FROM TUMBLE(TABLE lines, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY window_start, window_end, store",
            "sinks": sinks,
            "checkpoint": { "interval": "100ms", "storage": { "local": { "path": path("checkpoints") } } },
        },
    });
    std::fs::write(path("job.yaml"), document.to_string()).unwrap();
    Job::of(path("job.yaml")).paced(LINES as u64)
}

/// Rows of a sink, each put into words.
fn rows(folder: &Path, words: impl Fn(&Value) -> String) -> Rows {
    let rows = lines(folder);
    let row = |line: &str| words(&serde_json::from_str(line).unwrap());
    rows.iter().flat_map(|(line, count)| std::iter::repeat_n(row(line), count as usize)).collect()
}

fn assert_counts(folder: &Path) {
    let mut counts = std::collections::BTreeMap::<(i64, i64), u64>::new();
    for index in 0..LINES {
        if let Line::Counted { store, ts_ms } = line(index) {
            *counts.entry((ts_ms / MINUTE_MS, store)).or_default() += 1;
        }
    }
    let expected = counts.into_iter().map(|((minute, store), count)| format!("minute {minute} store {store}: {count}"));
    let found = rows(&folder.join("counts"), |row| {
        let start = chrono::DateTime::parse_from_rfc3339(row["window_start"].as_str().unwrap()).unwrap();
        format!("minute {} store {}: {}", start.timestamp_millis() / MINUTE_MS, row["store"], row["n"])
    });
    assert_same("counts", &found, &expected.collect());
}

#[test]
fn bad_and_late_records_of_a_killed_job_are_in_their_sinks_once() {
    let folder = folder();
    let format = json!({ "badRecords": "DeadLetter", "deadLetterSink": "bad", "lateSink": "late" });
    let mut job = job(folder.path(), format, &["counts", "bad", "late"]);
    job.kill_at_each(&FAULTS, PATIENCE);
    job.finish(PATIENCE);
    assert_counts(folder.path());
    let bad = (0..LINES).filter_map(|index| match line(index) {
        Line::Bad(text) => Some(format!("lines: {text}")),
        _ => None,
    });
    let found = rows(&folder.path().join("bad"), |row| {
        assert!(
            !row["error"].as_str().unwrap().is_empty() && row["partition"].as_str().unwrap().ends_with("lines.jsonl")
        );
        format!("{}: {}", row["source"].as_str().unwrap(), row["record"].as_str().unwrap())
    });
    assert_same("bad records", &found, &bad.collect());
    let late = (0..LINES).filter_map(|index| match line(index) {
        Line::Late { store, ts_ms } => Some(format!("store {store} at {ts_ms}")),
        _ => None,
    });
    let found = rows(&folder.path().join("late"), |row| {
        let record: Value = serde_json::from_str(row["record"].as_str().unwrap()).unwrap();
        let ts = chrono::DateTime::parse_from_rfc3339(record["ts"].as_str().unwrap()).unwrap().timestamp_millis();
        let end = chrono::DateTime::parse_from_rfc3339(row["window_end"].as_str().unwrap()).unwrap().timestamp_millis();
        assert_eq!(end, (ts / MINUTE_MS + 1) * MINUTE_MS, "{row}");
        format!("store {} at {ts}", record["store"])
    });
    assert_same("late records", &found, &late.collect());
}

/// A clock that is wrong by two hours, where one is accepted: such a time would close every window.
#[test]
fn times_too_far_ahead_are_in_the_dead_letter_sink_once_and_close_no_window() {
    // The test takes less than an hour, and none of them is accepted at its end.
    let in_two_hours = chrono::Utc::now().timestamp_millis() + 120 * MINUTE_MS;
    let ahead = |index: i64| (index % 499 == 0).then(|| text(index % 7, in_two_hours + index));
    let folder = folder_with(ahead);
    let format = json!({ "badRecords": "DeadLetter", "deadLetterSink": "bad", "lateSink": "late" });
    let mut job =
        job(folder.path(), format, &["counts", "bad", "late"]).set("spec.sources[0].watermark.maxAhead", "1h");
    job.kill_at_each(&FAULTS, PATIENCE);
    job.finish(PATIENCE);
    assert_counts(folder.path());
    let found = rows(&folder.path().join("bad"), |row| row["record"].as_str().unwrap().to_owned());
    let bad = (0..LINES).filter_map(|index| match line(index) {
        Line::Bad(text) => Some(text),
        _ => None,
    });
    assert_same("bad records", &found, &bad.chain((0..LINES).filter_map(ahead)).collect());
    let errors = rows(&folder.path().join("bad"), |row| row["error"].as_str().unwrap().to_owned());
    let of_time: u64 =
        errors.iter().filter(|(error, _)| error.contains("more than 1h ahead")).map(|(_, count)| count).sum();
    assert_eq!(of_time, (0..LINES).filter_map(ahead).count() as u64);
    let late = (0..LINES).filter(|index| matches!(line(*index), Line::Late { .. })).count();
    assert_eq!(lines(&folder.path().join("late")).len(), late as u64, "late records");
}

#[test]
fn bad_records_that_are_skipped_are_left_out_and_nothing_else() {
    let folder = folder();
    let mut job = job(folder.path(), json!({ "badRecords": "Skip" }), &["counts"]);
    job.kill_at_each(&FAULTS[..3], PATIENCE);
    job.finish(PATIENCE);
    assert_counts(folder.path());
}

#[test]
fn a_bad_record_fails_a_job_that_says_nothing_of_them_and_is_named() {
    let folder = folder();
    let mut job = job(folder.path(), json!({}), &["counts"]).set("spec.restart", r#"{"none":{}}"#);
    match job.start().wait(PATIENCE) {
        tidegate_tests::job::End::Failed(error) => {
            assert!(error.contains("bad record in") && error.contains("lines.jsonl"), "{error}");
        }
        other => panic!("it was to fail: {other:?}"),
    }
}
