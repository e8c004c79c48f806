//! Instants that SQL makes are in UTC, as those of sources are.

use super::{
    run::{catalog_of, run},
    *,
};

const COLUMNS: [(&str, &str); 3] = [("ts", "timestamp(3)"), ("day", "date"), ("n", "bigint")];
const RECORD: &str = r#"{"ts":"2026-01-01T00:00:00.001Z","day":"2026-01-01","n":0}"#;

#[test]
fn the_text_of_an_instant_ends_in_z_however_it_was_made() {
    for (instant, expected) in [
        ("ts", "2026-01-01T00:00:00.001Z"),
        ("CAST(ts AS TIMESTAMP(3))", "2026-01-01T00:00:00.001Z"),
        ("TRY_CAST(ts AS TIMESTAMP(6))", "2026-01-01T00:00:00.001Z"),
        ("CAST(CAST(ts AS TIMESTAMP(0)) AS TIMESTAMP(3))", "2026-01-01T00:00:00Z"),
        ("from_unixtime(0)", "1970-01-01T00:00:00Z"),
        ("from_unixtime(n)", "1970-01-01T00:00:00Z"),
        ("to_timestamp(5)", "1970-01-01T00:00:05Z"),
        ("TIMESTAMP '2026-01-01T00:00:00.001Z'", "2026-01-01T00:00:00.001Z"),
        ("CAST(day AS TIMESTAMP(3))", "2026-01-01T00:00:00Z"),
        ("CAST(n AS TIMESTAMP(3))", "1970-01-01T00:00:00Z"),
        ("CAST(0 AS TIMESTAMP(3))", "1970-01-01T00:00:00Z"),
        ("CAST(day AS TIMESTAMP(3)) + INTERVAL '1' HOUR", "2026-01-01T01:00:00Z"),
        ("date_trunc('day', CAST(ts AS TIMESTAMP(3)))", "2026-01-01T00:00:00Z"),
    ] {
        for (text, before) in [
            (format!("CAST({instant} AS STRING)"), ""),
            (format!("TRY_CAST({instant} AS STRING)"), ""),
            (format!("'at ' || ({instant})"), "at "),
            (format!("concat('at ', {instant})"), "at "),
            (format!("upper(CAST({instant} AS STRING))"), ""),
            (format!("CASE WHEN n = 0 THEN CAST({instant} AS STRING) END"), ""),
        ] {
            let rows = run(&COLUMNS, &[RECORD], &format!("INSERT INTO totals SELECT {text} AS x FROM t"));
            assert_eq!(rows, Ok(vec![format!("{{\"x\":\"{before}{expected}\"}}")]), "{text}");
        }
    }
}

#[test]
fn texts_of_instants_are_compared_and_grouped_with_their_z() {
    let sql = "INSERT INTO totals SELECT CAST(CAST(ts AS TIMESTAMP(6)) AS STRING) AS x, count(*) AS n \
        FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND) \
        WHERE CAST(CAST(ts AS TIMESTAMP(3)) AS STRING) LIKE '%1Z' \
        GROUP BY window_start, window_end, CAST(CAST(ts AS TIMESTAMP(6)) AS STRING)";
    assert_eq!(run(&COLUMNS, &[RECORD], sql).unwrap(), [r#"{"x":"2026-01-01T00:00:00.001Z","n":1}"#]);
}

/// They are part of checkpoints: state is found by them.
#[test]
fn operators_know_what_they_keep_by_the_names_and_types_that_it_had() {
    let sql = "INSERT INTO totals SELECT MAX(CAST(ts AS TIMESTAMP(6))) AS x, MIN(CAST(CAST(ts AS TIMESTAMP(3)) AS STRING)) AS y \
        FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND) GROUP BY window_start, window_end";
    let graph = plan(sql, &catalog_of(&COLUMNS)).unwrap();
    let known_as: Vec<String> = graph.nodes.iter().map(|node| format!("{:?}", node.known_as)).collect();
    let known_as = known_as.join("\n");
    for name in ["CAST(ts AS Timestamp(µs))", "CAST(CAST(ts AS Timestamp(ms)) AS Utf8)"] {
        assert!(known_as.contains(name), "no {name} in {known_as}");
    }
    assert!(!known_as.contains("UTC"), "{known_as}");
}
