//! Differences of instants: compared with intervals, added to instants, and as numbers.

use super::run::{in_window, run};

const COLUMNS: [(&str, &str); 8] = [
    ("ts", "timestamp(3)"),
    ("id", "bigint"),
    ("a", "timestamp(3)"),
    ("b", "timestamp(3)"),
    ("c", "timestamp(6)"),
    ("d", "timestamp(6)"),
    ("e", "timestamp(9)"),
    ("s", "timestamp(0)"),
];

/// 30 days, one hour, and 8000 years.
const RECORDS: [&str; 3] = [
    r#"{"ts":1,"id":1,"a":"2026-01-01T00:00:00Z","b":"2026-01-31T00:00:00Z","c":"2026-01-31T00:00:00.000001Z"}"#,
    r#"{"ts":2,"id":2,"a":"2026-01-01T00:00:00Z","b":"2026-01-01T01:00:00Z","c":"2026-01-01T01:00:00.000001Z"}"#,
    r#"{"ts":3,"id":3,"a":"1999-01-01T00:00:00Z","b":"9999-01-01T00:00:00Z","c":"9999-01-01T00:00:00Z"}"#,
];

#[track_caller]
fn selects(condition: &str, expected: &[u8]) {
    let sql = format!("INSERT INTO totals SELECT id FROM t WHERE {condition}");
    let expected: Vec<String> = expected.iter().map(|id| format!("{{\"id\":{id}}}")).collect();
    assert_eq!(run(&COLUMNS, &RECORDS, &sql), Ok(expected), "{condition}");
}

#[track_caller]
fn refused(sql: &str, words: &[&str]) {
    let found = run(&COLUMNS, &RECORDS, sql);
    let Err(message) = found else { panic!("{found:?} of {sql}") };
    for word in ["line 1, column ", "accepted "].iter().chain(words) {
        assert!(message.contains(word), "`{word}` is not in `{message}` of {sql}");
    }
    for word in crate::words::INTERNAL {
        assert!(!message.contains(word), "`{word}` is in `{message}` of {sql}");
    }
}

#[test]
fn a_day_is_24_hours_where_a_difference_meets_an_interval() {
    for (condition, expected) in [
        ("b - a > INTERVAL '1' DAY", &[1_u8, 3][..]),
        ("b - a >= INTERVAL '24' HOUR", &[1, 3]),
        ("b - a < INTERVAL '1' DAY", &[2]),
        ("b - a <> INTERVAL '30' DAY", &[2, 3]),
        ("b - a = INTERVAL '30' DAY", &[1]),
        ("b - a = INTERVAL '720' HOUR", &[1]),
        ("b - a IS DISTINCT FROM INTERVAL '30' DAY", &[2, 3]),
        ("b - a > INTERVAL '-1' DAY", &[1, 2, 3]),
        ("b - a > - INTERVAL '1' DAY", &[1, 2, 3]),
        ("a - b < INTERVAL '-1' DAY", &[1, 3]),
        ("b - a > INTERVAL '1 day 2 hours'", &[1, 3]),
        ("b - a > INTERVAL '1' DAY + INTERVAL '2' HOUR", &[1, 3]),
        ("b - a = INTERVAL '4 weeks 2 days'", &[1]),
        ("INTERVAL '2' DAY < b - a", &[1, 3]),
        ("b - a BETWEEN INTERVAL '2' HOUR AND INTERVAL '40' DAY", &[1]),
        ("b - a NOT BETWEEN INTERVAL '1' DAY AND INTERVAL '40' DAY", &[2, 3]),
        ("b - a IN (INTERVAL '30' DAY, INTERVAL '60' MINUTE)", &[1, 2]),
        ("CASE b - a WHEN INTERVAL '30' DAY THEN 'x' WHEN INTERVAL '1' HOUR THEN 'y' ELSE 'z' END <> 'z'", &[1, 2]),
        ("CASE WHEN b - a > INTERVAL '1' DAY THEN 'late' ELSE 'ok' END = 'late'", &[1, 3]),
        ("greatest(b - a, INTERVAL '1' DAY) > INTERVAL '25' HOUR", &[1, 3]),
        ("least(b - a, INTERVAL '1' DAY) = INTERVAL '24' HOUR", &[1, 3]),
        ("coalesce(b - a, INTERVAL '1' DAY) > INTERVAL '1' DAY", &[1, 3]),
        ("CASE WHEN id = 2 THEN INTERVAL '2' DAY ELSE b - a END > INTERVAL '1' DAY", &[1, 2, 3]),
        ("(b - a) + INTERVAL '1' DAY > INTERVAL '2' DAY", &[1, 3]),
        ("b - a > c - a", &[]),
        ("b - a < c - a", &[1, 2]),
        ("c - a = INTERVAL '30 days 0.000001 seconds'", &[1]),
        ("b - a < INTERVAL '30 days 0.000001 seconds'", &[1, 2]),
        ("INTERVAL '1' DAY = INTERVAL '24' HOUR", &[1, 2, 3]),
        ("INTERVAL '25' HOUR > INTERVAL '1' DAY", &[1, 2, 3]),
        ("NOT b - a > INTERVAL '1' DAY", &[2]),
        ("a + INTERVAL '1' MONTH > b", &[1, 2]),
    ] {
        selects(condition, expected);
    }
}

#[test]
fn aggregates_filters_and_having_compare_differences_in_hours() {
    let filtered = in_window(
        "COUNT(*) FILTER (WHERE b - a > INTERVAL '1' DAY) AS late, COUNT(DISTINCT b - a) AS n, \
         SUM(CASE WHEN b - a > INTERVAL '1' DAY THEN 1 ELSE 0 END) AS again",
    );
    assert_eq!(run(&COLUMNS, &RECORDS, &filtered), Ok(vec![r#"{"late":2,"n":3,"again":2}"#.to_owned()]));
    let having = "INSERT INTO totals SELECT id FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND) \
                  GROUP BY window_start, id HAVING MAX(b - a) > INTERVAL '1' DAY AND MIN(b - a) < INTERVAL '31' DAY";
    assert_eq!(run(&COLUMNS, &RECORDS, having), Ok(vec![r#"{"id":1}"#.to_owned()]));
}

#[test]
fn intervals_without_a_length_are_not_compared() {
    for condition in [
        "b - a > INTERVAL '1' MONTH",
        "b - a > INTERVAL '1 month 2 days'",
        "b - a BETWEEN INTERVAL '1' DAY AND INTERVAL '1' YEAR",
        "b - a IN (INTERVAL '1' DAY, INTERVAL '1' MONTH)",
        "CASE b - a WHEN INTERVAL '1' MONTH THEN true ELSE false END",
        "nullif(b - a, INTERVAL '1' MONTH) IS NULL",
        "greatest(b - a, INTERVAL '1' MONTH) IS NULL",
        "coalesce(b - a, INTERVAL '1' MONTH) > INTERVAL '1' DAY",
        "INTERVAL '1' MONTH > INTERVAL '31' DAY",
    ] {
        refused(
            &format!("INSERT INTO totals SELECT id FROM t WHERE {condition}"),
            &["an interval with months", "differences of instants and constant intervals"],
        );
    }
    let view = "CREATE VIEW v AS SELECT ts, id, coalesce(b - a, INTERVAL '1' DAY) AS x FROM t; ";
    refused(
        &format!("{view}INSERT INTO totals SELECT id FROM v WHERE x > INTERVAL '1' DAY"),
        &["an interval that is no constant", "`x > INTERVAL '1' DAY`"],
    );
    for open in ["MAX(", "MIN(", "COUNT(DISTINCT "] {
        let sql = in_window(&format!("CAST({open}coalesce(b - a, INTERVAL '1' DAY)) AS STRING) AS x"));
        refused(&sql, &["an interval that is no constant"]);
    }
    let long = run(&COLUMNS, &RECORDS, "INSERT INTO totals SELECT id FROM t WHERE e - e < INTERVAL '999999999' DAY");
    assert!(long.as_ref().is_err_and(|error| error.contains("too long")), "{long:?}");
}

#[track_caller]
fn is(record: &str, expression: &str, expected: &str) {
    let found = run(&COLUMNS, &[record], &format!("INSERT INTO totals SELECT {expression} AS x FROM t"));
    assert_eq!(found, Ok(vec![format!("{{\"x\":{expected}}}")]), "{expression} of {record}");
}

#[test]
fn the_seconds_of_a_difference_are_exact() {
    for (milliseconds, expected) in [
        (0_i64, "0.0"),
        (1, "0.001"),
        (2_500, "2.5"),
        (59_999, "59.999"),
        (3_600_500, "3600.5"),
        (-250, "-0.25"),
        (-1_500, "-1.5"),
        (86_400_250, "86400.25"),
        (2_147_483_648_000, "2147483648.0"),
    ] {
        let microseconds = 1000 * milliseconds;
        let record = format!(r#"{{"ts":1,"a":0,"b":{milliseconds},"c":0,"d":{microseconds}}}"#);
        for expression in ["extract(epoch FROM b - a)", "date_part('epoch', b - a)", "datepart('EPOCH', d - c)"] {
            is(&record, expression, expected);
        }
    }
    let record = r#"{"ts":1,"e":1500000001,"s":90}"#;
    is(record, "extract(epoch FROM e - CAST(0 AS TIMESTAMP(9)))", "1.500000001");
    is(record, "extract(epoch FROM s - CAST(0 AS TIMESTAMP(0)))", "90.0");
    is(record, "extract(epoch FROM b - a)", "null");
    is(record, "extract(epoch FROM INTERVAL '1' DAY)", "86400.0");
    is(record, "extract(minute FROM s)", "1");
    is(record, "extract(nanosecond FROM e)", "1500000001");
}

#[test]
fn other_parts_of_a_difference_are_refused() {
    for part in ["nanosecond", "microsecond", "millisecond", "second", "minute", "hour", "day", "month", "year"] {
        for source in ["b - a", "INTERVAL '90' MINUTE"] {
            for call in [format!("extract({part} FROM {source})"), format!("date_part('{part}', {source})")] {
                refused(
                    &format!("INSERT INTO totals SELECT {call} AS x FROM t"),
                    &["a part of an interval or of a difference", "extract(epoch FROM …)", "CAST(b - a AS BIGINT)"],
                );
            }
        }
    }
    refused(&in_window("extract(hour FROM MAX(b) - MIN(a)) AS x"), &["a part of an interval"]);
}

#[test]
fn an_instant_and_a_finer_difference_are_cut_towards_the_past() {
    // `d - c` is 1.999999 s.
    let record = r#"{"ts":10000,"c":1,"d":2000000,"s":5}"#;
    for (expression, expected) in [
        ("ts + (d - c)", "1970-01-01T00:00:11.999Z"),
        ("(d - c) + ts", "1970-01-01T00:00:11.999Z"),
        ("ts + (c - d)", "1970-01-01T00:00:08.000Z"),
        ("(c - d) + ts", "1970-01-01T00:00:08.000Z"),
        ("ts - (d - c)", "1970-01-01T00:00:08.000Z"),
        ("ts - (c - d)", "1970-01-01T00:00:11.999Z"),
        ("ts - (d - d)", "1970-01-01T00:00:10.000Z"),
        ("s - (d - c)", "1970-01-01T00:00:03Z"),
        ("s + (d - c)", "1970-01-01T00:00:06Z"),
        ("CAST(CAST(ts AS TIMESTAMP(6)) + (c - d) AS TIMESTAMP(3))", "1970-01-01T00:00:08.000Z"),
    ] {
        is(record, expression, &format!("\"{expected}\""));
    }
}

#[test]
fn a_total_of_differences_that_has_no_room_is_an_error() {
    // 26 years each, counted in nanoseconds, which end after 292.
    let records: Vec<String> =
        (0..12).map(|second| format!(r#"{{"ts":{second},"b":"2026-01-01T00:00:{second:02}Z"}}"#)).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let of = |select: &str, records: &[&str]| run(&COLUMNS, records, &in_window(select));
    let epoch = "b - TIMESTAMP '2000-01-01 00:00:00'";
    for aggregate in ["SUM", "AVG"] {
        let select = format!("extract(epoch FROM {aggregate}({epoch})) AS x");
        let error = of(&select, &records).unwrap_err();
        assert!(error.contains("doesn't fit") && error.contains(" + "), "{aggregate}: {error}");
        // As many as there is room for, and in a coarser unit.
        let some = if aggregate == "SUM" { "9025948855.0" } else { "820540805.0" };
        assert_eq!(of(&select, &records[..11]), Ok(vec![format!("{{\"x\":{some}}}")]), "{aggregate}");
        let select = format!("extract(epoch FROM {aggregate}(b - CAST('2000-01-01' AS TIMESTAMP(3)))) AS x");
        let all = if aggregate == "SUM" { "9846489666.0" } else { "820540805.5" };
        assert_eq!(of(&select, &records), Ok(vec![format!("{{\"x\":{all}}}")]), "{aggregate}");
    }
}

#[test]
fn an_average_of_differences_is_rounded_to_their_unit() {
    for (milliseconds, expected) in [([1, 1, 0], 1), ([1, 0, 0], 0), ([-1, -1, 0], -1), ([2, 1, 0], 1)] {
        let records: Vec<String> = milliseconds.iter().map(|by| format!(r#"{{"ts":1,"a":0,"b":{by}}}"#)).collect();
        let records: Vec<&str> = records.iter().map(String::as_str).collect();
        let found = run(&COLUMNS, &records, &in_window("CAST(AVG(b - a) AS BIGINT) AS x"));
        assert_eq!(found, Ok(vec![format!("{{\"x\":{expected}}}")]), "{milliseconds:?}");
    }
    let nothing = [r#"{"ts":1,"a":0}"#];
    let found = run(&COLUMNS, &nothing, &in_window("CAST(AVG(b - a) AS BIGINT) AS x, CAST(SUM(b - a) AS BIGINT) AS y"));
    assert_eq!(found, Ok(vec![r#"{"x":null,"y":null}"#.to_owned()]));
}

#[test]
fn a_difference_is_no_key_wherever_it_is_computed() {
    let first = "SELECT id FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY x ORDER BY ts) AS n FROM v) WHERE n = 1";
    for computed in ["b - a", "INTERVAL '1' DAY"] {
        let sql = format!("CREATE VIEW v AS SELECT ts, id, {computed} AS x FROM t; INSERT INTO totals {first}");
        let error = run(&COLUMNS, &RECORDS, &sql).unwrap_err();
        assert!(error.contains("can't be a key of PARTITION BY; CAST it"), "{error}");
    }
}
