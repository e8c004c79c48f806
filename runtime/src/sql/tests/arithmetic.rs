//! Numbers that have no room, and how the others are rounded.

use super::{
    super::plan,
    run::{catalog_of, in_window, run},
};
use crate::graph::{NodeKind, StreamGraph};

const COLUMNS: [(&str, &str); 9] = [
    ("ts", "timestamp(3)"),
    ("k", "string"),
    ("i", "int"),
    ("n", "bigint"),
    ("m", "bigint"),
    ("d", "decimal(12,2)"),
    ("w", "decimal(38,2)"),
    ("z", "decimal(38,0)"),
    ("f", "double"),
];

/// The column `x` of the first row, or the error.
#[track_caller]
fn value(records: &[&str], sql: &str) -> Result<String, String> {
    let rows = run(&COLUMNS, records, sql)?;
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    let row = row.strip_prefix("{\"x\":").and_then(|row| row.strip_suffix('}'));
    Ok(row.unwrap_or_else(|| panic!("{rows:?}")).to_owned())
}

#[track_caller]
fn is(record: &str, expression: &str, expected: &str) {
    let found = value(&[record], &format!("INSERT INTO totals SELECT {expression} AS x FROM t"));
    assert_eq!(found.as_deref(), Ok(expected), "{expression}");
}

#[track_caller]
fn fails(records: &[&str], sql: &str, words: &[&str]) {
    let found = run(&COLUMNS, records, sql);
    let Err(message) = found else { panic!("{found:?} of {sql}") };
    for word in words {
        assert!(message.contains(word), "`{word}` is not in `{message}` of {sql}");
    }
    for word in crate::words::INTERNAL {
        assert!(!message.contains(word), "`{word}` is in `{message}` of {sql}");
    }
}

const MOST: &str = r#"{"ts":1,"k":"a","n":9223372036854775807,"i":2147483647,"m":1,"d":9999999999.99,"w":999999999999999999999999999999999999.99,"z":99999999999999999999999999999999999999,"f":1.5}"#;

#[test]
fn what_has_no_room_is_an_error_that_names_column_and_record() {
    for (expression, words) in [
        ("n + 1", ["9223372036854775807 + 1 doesn't fit bigint"; 1].as_slice()),
        (
            "n + m",
            &["9223372036854775807 + 1 doesn't fit bigint", "the column `x`", "\"n\":9223372036854775807,\"m\":1"],
        ),
        ("-n - 2", &["-9223372036854775807 - 2 doesn't fit bigint"]),
        ("i * i", &["2147483647 * 2147483647 doesn't fit int"]),
        ("n * 2", &["9223372036854775807 * 2 doesn't fit bigint"]),
        ("-(-n - 1)", &["-(-9223372036854775808) doesn't fit bigint"]),
        ("(-n - 1) / -1", &["-9223372036854775808 / -1 doesn't fit bigint"]),
        ("w + w", &["doesn't fit decimal(38,2)"]),
        ("z + 1", &["99999999999999999999999999999999999999 + 1 doesn't fit decimal(38,0)"]),
        ("z * 10", &["doesn't fit decimal(38,0)"]),
        ("w * d", &["doesn't fit decimal(38,4)"]),
        ("w / d / 0.01", &["doesn't fit"]),
        ("n / (m - 1)", &["9223372036854775807 / 0 divides by zero", "the column `x`", "the record {"]),
        ("n % (m - 1)", &["divides by zero"]),
        ("abs(-n - 1)", &["abs(-9223372036854775808) doesn't fit bigint"]),
        ("d / (m - 1)", &["divides by zero"]),
        ("CAST(n AS INT)", &["the column `x`", "the record {"]),
        ("9223372036854775807 + 1", &["9223372036854775807 + 1 doesn't fit bigint"]),
    ] {
        fails(&[MOST], &format!("INSERT INTO totals SELECT {expression} AS x FROM t"), words);
    }
    fails(
        &[MOST],
        "INSERT INTO totals SELECT k AS x FROM t WHERE n + 1 > 0",
        &["the condition", "the record {", "+ 1 doesn't fit"],
    );
}

#[test]
fn a_factor_of_int_is_not_widened_in_silence() {
    let record = r#"{"ts":1,"i":100000}"#;
    fails(&[record], "INSERT INTO totals SELECT i * i AS x FROM t", &["100000 * 100000 doesn't fit int"]);
    is(record, "CAST(i AS BIGINT) * i", "10000000000");
}

#[test]
fn quotients_of_decimals_are_rounded_half_up() {
    let record = r#"{"ts":1,"d":2,"m":3,"n":-3}"#;
    for (expression, expected) in [
        ("d / m", "0.666667"),
        ("d / n", "-0.666667"),
        ("d / 3.0", "0.666667"),
        ("2.0 / 3.0", "0.66667"),
        ("1.0 / 3.0", "0.33333"),
        ("-2.0 / 3.0", "-0.66667"),
        ("m / 2", "1"),
        ("n / 2", "-1"),
        ("n % 2", "-1"),
        ("d * 1.005", "2.01000"),
        ("CAST(2.345 AS DECIMAL(5,2))", "2.35"),
        ("CAST(-2.345 AS DECIMAL(5,2))", "-2.35"),
        ("0.00001 / 20", "0.000000500"),
    ] {
        is(record, expression, expected);
    }
    // Divided with more digits in between than there is room for.
    is(
        r#"{"ts":1,"w":999999999999999999999999999999999999.99}"#,
        "w / 100000.00",
        "10000000000000000000000000000000.000000",
    );
}

#[test]
fn sums_say_key_window_and_column_when_they_have_no_room() {
    let records = [
        r#"{"ts":1,"k":"a","n":9223372036854775807}"#,
        r#"{"ts":2,"k":"b","n":9223372036854775807}"#,
        r#"{"ts":3,"k":"a","n":1}"#,
    ];
    let sql = "INSERT INTO totals SELECT k, SUM(n) AS x FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND) \
               GROUP BY window_start, k";
    fails(
        &records,
        sql,
        &[
            "`sum(t.n)` of the window that begins at 1970-01-01T00:00:00.000Z, k = a: 9223372036854775807 + 1 doesn't fit bigint",
        ],
    );
    let least = [r#"{"ts":1,"n":-9223372036854775808}"#, r#"{"ts":1,"n":-1}"#];
    fails(&least, &in_window("SUM(n) AS x"), &["-9223372036854775808 + -1 doesn't fit bigint"]);
    assert_eq!(value(&records[..2], &in_window("SUM(i) AS x")).as_deref(), Ok("null"));
}

#[test]
fn sums_and_averages_of_decimals_are_exact_or_an_error() {
    let wide = [MOST, r#"{"ts":2,"w":0.01,"z":1}"#];
    fails(
        &wide,
        &in_window("SUM(w) AS x"),
        &["sum(t.w)", "999999999999999999999999999999999999.99 + 0.01 doesn't fit decimal(38,2)"],
    );
    fails(&wide, &in_window("SUM(z) AS x"), &["99999999999999999999999999999999999999 + 1 doesn't fit decimal(38,0)"]);
    fails(&wide[..1], &in_window("AVG(z) AS x"), &["avg(t.z)", "doesn't fit decimal(38,4)"]);
    let records = [r#"{"ts":1,"d":1,"w":1}"#, r#"{"ts":2,"d":1,"w":1}"#, r#"{"ts":3,"d":0,"w":0}"#, r#"{"ts":3}"#];
    for (aggregate, expected) in [
        ("AVG(d)", "0.666667"),
        ("AVG(-d)", "-0.666667"),
        ("AVG(w)", "0.666667"),
        ("AVG(d) FILTER (WHERE d > 0)", "1.000000"),
        ("AVG(d) FILTER (WHERE d > 5)", "null"),
        ("SUM(d) / COUNT(*)", "0.500000"),
        ("SUM(d) / 3", "0.666667"),
        ("SUM(w)", "2.00"),
    ] {
        let found = value(&records, &in_window(&format!("{aggregate} AS x")));
        assert_eq!(found.as_deref(), Ok(expected), "{aggregate}");
    }
}

#[test]
fn zero_is_one_number_whatever_its_sign() {
    let records = [r#"{"ts":1,"f":0.0}"#, r#"{"ts":2,"f":-0.0}"#, r#"{"ts":3,"f":1.5}"#];
    for (select, expected) in [
        ("COUNT(DISTINCT f)", "2"),
        ("COUNT(*) FILTER (WHERE f = 0)", "2"),
        ("COUNT(*) FILTER (WHERE f IN (0.0, 7.5))", "2"),
        ("COUNT(DISTINCT 0.0 / f) FILTER (WHERE f = 0)", "1"),
        ("MIN(f)", "0.0"),
        ("MAX(f) FILTER (WHERE f < 1)", "0.0"),
    ] {
        let select = select.replace("0.0 / f", "CAST(0 AS DOUBLE) / f");
        let found = value(&records, &in_window(&format!("{select} AS x")));
        assert_eq!(found.as_deref(), Ok(expected), "{select}");
    }
    let grouped = "INSERT INTO totals SELECT f, COUNT(*) AS x FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND) \
                   GROUP BY window_start, f";
    let turned: Vec<&str> = records.iter().rev().copied().collect();
    for records in [records.as_slice(), &turned] {
        assert_eq!(run(&COLUMNS, records, grouped).unwrap(), [r#"{"f":0.0,"x":2}"#, r#"{"f":1.5,"x":1}"#]);
    }
}

/// `f / f` is a NaN that was computed, whose sign bit may be set.
#[test]
fn nan_is_equal_to_itself_and_above_all_numbers() {
    let record = r#"{"ts":1,"f":0.0,"n":1}"#;
    for nan in ["(f / f)", "CAST('NaN' AS DOUBLE)", "(-(f / f))", "CAST(f / f AS FLOAT)", "(CAST(0 AS DOUBLE) / 0)"] {
        for (expression, expected) in [
            ("{} = CAST('NaN' AS DOUBLE)", "true"),
            ("{} <> f / f", "false"),
            ("{} = -(f / f)", "true"),
            ("{} > 5.0", "true"),
            ("{} >= n", "true"),
            ("{} < 5.0", "false"),
            ("5.0 < {}", "true"),
            ("{} > CAST('Infinity' AS DOUBLE)", "true"),
            ("{} <= CAST('NaN' AS DOUBLE)", "true"),
            ("{} IN (CAST('NaN' AS DOUBLE))", "true"),
            ("{} IN (1.0, 2.0, 3.0, 4.0, CAST('NaN' AS DOUBLE))", "true"),
            ("{} NOT IN (1.0, 2.0, 3.0, 4.0, f / f)", "false"),
            ("{} IS DISTINCT FROM CAST('NaN' AS DOUBLE)", "false"),
            ("{} IS NOT DISTINCT FROM f / f", "true"),
            ("{} BETWEEN 0.0 AND 5.0", "false"),
            ("{} BETWEEN 0.0 AND CAST('NaN' AS DOUBLE)", "true"),
            ("CASE {} WHEN CAST('NaN' AS DOUBLE) THEN 1 ELSE 0 END", "1"),
            ("CASE CAST('NaN' AS DOUBLE) WHEN 1.0 THEN 0 WHEN {} THEN 1 END", "1"),
            ("nullif({}, CAST('NaN' AS DOUBLE))", "null"),
            ("greatest({}, 5.0)", "\"NaN\""),
            ("greatest(5.0, {}, 1.0)", "\"NaN\""),
            ("least({}, 5.0)", "5.0"),
            ("least(f + 5.0, {})", "5.0"),
        ] {
            is(record, &expression.replace("{}", nan), expected);
        }
    }
}

#[test]
fn zeros_are_equal_wherever_they_are_compared() {
    let record = r#"{"ts":1,"f":-0.0}"#;
    for (expression, expected) in [
        ("f = 0.0", "true"),
        ("f < 0.0", "false"),
        ("f <> -f", "false"),
        ("f IN (0.0, 5.0, 6.0, 7.0)", "true"),
        ("-f IN (CAST('-0.0' AS DOUBLE), 5.0, 6.0, 7.0)", "true"),
        ("f IN (5.0, 6.0, 7.0, 8.0, -f)", "true"),
        ("CASE f WHEN 0.0 THEN 1 ELSE 0 END", "1"),
        ("CASE f WHEN 5.0 THEN 5 WHEN 6.0 THEN 6 WHEN 0.0 THEN 1 ELSE 0 END", "1"),
        ("nullif(f, 0.0)", "null"),
        ("nullif(0.0, f)", "null"),
        ("greatest(f, -5.0)", "0.0"),
        ("least(f, -f)", "0.0"),
        ("f BETWEEN 0.0 AND 1.0", "true"),
        ("f IS DISTINCT FROM 0.0", "false"),
        ("CAST(f AS FLOAT) = CAST(0 AS FLOAT)", "true"),
        ("f", "-0.0"),
    ] {
        is(record, expression, expected);
    }
}

#[test]
fn a_condition_on_floats_is_one_map() {
    let found = plan(
        "INSERT INTO totals SELECT k FROM t WHERE f > 1.5 AND f < 5.0 AND f IN (2.0, 3.0, 4.0, 4.5)",
        &catalog_of(&COLUMNS),
    );
    let maps = |graph: StreamGraph| graph.nodes.iter().filter(|n| matches!(n.kind, NodeKind::Map { .. })).count();
    assert_eq!(found.map(maps).map_err(|error| error.to_string()), Ok(1));
}

#[test]
fn state_is_not_named_by_how_floats_are_compared() {
    let sql = "INSERT INTO totals SELECT k, f IN (1.5, 2.5) AS y, MIN(f) FILTER (WHERE f > 1.5) AS x FROM \
               TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND) GROUP BY window_start, k, f IN (1.5, 2.5)";
    let graph = plan(sql, &catalog_of(&COLUMNS)).unwrap();
    let mut windows = 0;
    for node in &graph.nodes {
        if let NodeKind::WindowAggregate(window) = &node.kind {
            let input = &graph.nodes[node.inputs[0].0].schema;
            let names = format!("{:?} {:?} {input:?}", window.called, window.key_names);
            assert!(names.contains("> 1.5") && !names.contains("canonical"), "{names}");
            windows += 1;
        }
    }
    assert_eq!(windows, 1);
}

#[test]
fn what_is_no_number_is_written_as_text() {
    for (expression, expected) in [("f / 0", "\"Infinity\""), ("-f / 0", "\"-Infinity\""), ("(f - f) / 0", "\"NaN\"")] {
        is(r#"{"ts":1,"f":1.5}"#, expression, expected);
    }
}

#[test]
fn a_condition_spares_what_cannot_be_computed_of_other_rows() {
    let records: Vec<String> = (0..64).map(|n| format!(r#"{{"ts":{n},"n":{},"m":{n}}}"#, n % 2)).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let sql = "INSERT INTO totals SELECT m AS x FROM t WHERE n <> 0 AND 100 / n > 1";
    let rows = run(&COLUMNS, &records, sql).unwrap();
    assert_eq!(rows.len(), 32, "{rows:?}");
    let sql = "INSERT INTO totals SELECT CASE WHEN n <> 0 THEN m / n ELSE -1 END AS x FROM t";
    assert_eq!(run(&COLUMNS, &records, sql).unwrap().iter().filter(|row| *row == r#"{"x":-1}"#).count(), 32);
    fails(&records, "INSERT INTO totals SELECT m / n AS x FROM t", &["0 / 0 divides by zero", "\"n\":0,\"m\":0}"]);
}

#[test]
fn dates_are_formatted_by_javas_letters() {
    let columns = [("ts", "timestamp(3)"), ("day", "date")];
    let record = r#"{"ts":"2026-02-03T04:05:06.789Z","day":"2026-02-03"}"#;
    for (expression, expected) in [
        ("DATE_FORMAT(ts, 'yyyy-MM-dd')", "2026-02-03"),
        ("date_format(day, 'dd.MM.yyyy')", "03.02.2026"),
        ("date_format(ts, 'yyyy-MM-dd''T''HH:mm:ss.SSS')", "2026-02-03T04:05:06.789"),
        ("to_char(ts, '%Y-%m-%d')", "2026-02-03"),
    ] {
        let found = run(&columns, &[record], &format!("INSERT INTO totals SELECT {expression} AS x FROM t"));
        assert_eq!(found, Ok(vec![format!("{{\"x\":\"{expected}\"}}")]), "{expression}");
    }
    for (expression, words) in [
        ("DATE_FORMAT(ts, '%Y-%m-%d')", "found `%`, a pattern of to_char"),
        ("DATE_FORMAT(ts, 'YYYY')", "found `YYYY`"),
        ("DATE_FORMAT(ts, day)", "accepted is a text in quotes"),
        ("DATE_FORMAT(ts)", "accepted is date_format(time, 'pattern')"),
        ("to_char(ts, 'yyyy-MM-dd')", "accepted are strftime's letters"),
    ] {
        let error =
            run(&columns, &[record], &format!("INSERT INTO totals SELECT {expression} AS x FROM t")).unwrap_err();
        assert!(error.contains(words) && error.contains("line 1, column"), "{error}");
    }
}

#[test]
fn a_date_beyond_the_calendar_has_a_sign() {
    let columns = [("ts", "timestamp(3)"), ("day", "date"), ("n", "int")];
    let found = run(&columns, &[r#"{"ts":1,"day":2932896,"n":1}"#], "INSERT INTO totals SELECT day + n AS x FROM t");
    // Whether a date and a number may be added is not the point here.
    if let Ok(rows) = found {
        assert_eq!(rows, [r#"{"x":"+10000-01-01"}"#]);
    }
    let sql = "INSERT INTO totals SELECT day + INTERVAL '1' DAY AS x FROM t";
    assert_eq!(run(&columns, &[r#"{"ts":1,"day":2932896}"#], sql).unwrap(), [r#"{"x":"+10000-01-01"}"#]);
}

#[test]
fn times_before_1970_are_cut_towards_the_past() {
    let columns = [("ts", "timestamp(6)"), ("n", "bigint")];
    let record = r#"{"ts":-1,"n":1}"#;
    for (expression, expected) in [
        ("CAST(ts AS TIMESTAMP(3))", "1969-12-31T23:59:59.999Z"),
        ("CAST(ts AS TIMESTAMP(0))", "1969-12-31T23:59:59Z"),
        ("TRY_CAST(ts AS TIMESTAMP(3))", "1969-12-31T23:59:59.999Z"),
        ("TRY_CAST(ts AS TIMESTAMP(0))", "1969-12-31T23:59:59Z"),
        ("to_timestamp_seconds(ts)", "1969-12-31T23:59:59Z"),
        ("to_timestamp_millis(ts)", "1969-12-31T23:59:59.999Z"),
        ("to_timestamp_micros(CAST(ts AS TIMESTAMP(9)))", "1969-12-31T23:59:59.999999Z"),
        ("CAST(ts AS DATE)", "1969-12-31"),
        ("date_trunc('second', ts)", "1969-12-31T23:59:59.000000Z"),
        ("date_trunc('day', ts)", "1969-12-31T00:00:00.000000Z"),
    ] {
        let found = run(&columns, &[record], &format!("INSERT INTO totals SELECT {expression} AS x FROM t"));
        assert_eq!(found, Ok(vec![format!("{{\"x\":\"{expected}\"}}")]), "{expression}");
    }
    let windowed =
        "INSERT INTO totals SELECT window_start AS x FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' SECOND)";
    let aggregated = format!("{windowed} GROUP BY window_start");
    for sql in [windowed, &aggregated] {
        assert_eq!(run(&columns, &[record], sql).unwrap(), [r#"{"x":"1969-12-31T23:59:59.000Z"}"#], "{sql}");
    }
}

#[test]
fn times_of_all_years_are_truncated() {
    for digits in [0, 3, 6] {
        let kind = format!("timestamp({digits})");
        let columns = [("ts", "timestamp(3)"), ("t", kind.as_str())];
        for (time, unit, expected) in [
            ("1500-07-15T10:20:30Z", "year", "1500-01-01T00:00:00"),
            ("0001-02-03T04:05:06Z", "month", "0001-02-01T00:00:00"),
            ("9999-12-31T23:59:59Z", "quarter", "9999-10-01T00:00:00"),
            ("9999-12-31T23:59:59Z", "week", "9999-12-27T00:00:00"),
            ("1600-02-29T12:00:00Z", "day", "1600-02-29T00:00:00"),
            ("2500-06-01T12:34:56Z", "hour", "2500-06-01T12:00:00"),
            ("2026-06-01T12:34:56Z", "minute", "2026-06-01T12:34:00"),
        ] {
            let record = format!(r#"{{"ts":1,"t":"{time}"}}"#);
            let sql = format!("INSERT INTO totals SELECT date_trunc('{unit}', t) AS x FROM t");
            let rows = run(&columns, &[&record], &sql).unwrap();
            assert!(rows[0].starts_with(&format!("{{\"x\":\"{expected}")), "{rows:?} of {time} and {unit}");
        }
    }
}

#[test]
fn a_number_becomes_an_instant_in_the_unit_of_its_digits() {
    let record = r#"{"ts":5000,"i":1000000000,"n":1000000000}"#;
    for (expression, expected) in [
        ("CAST(n AS TIMESTAMP(9))", "\"1970-01-01T00:00:01.000000000Z\""),
        ("CAST(n AS TIMESTAMP)", "\"1970-01-01T00:00:01.000000000Z\""),
        ("n::TIMESTAMP(9)", "\"1970-01-01T00:00:01.000000000Z\""),
        ("CAST(n + 1000000000 AS TIMESTAMP(9))", "\"1970-01-01T00:00:02.000000000Z\""),
        ("CAST(i AS TIMESTAMP(9))", "\"1970-01-01T00:00:01.000000000Z\""),
        ("TRY_CAST(n AS TIMESTAMP(9))", "\"1970-01-01T00:00:01.000000000Z\""),
        ("CAST(1000000000 AS TIMESTAMP(9))", "\"1970-01-01T00:00:01.000000000Z\""),
        ("CAST(n AS TIMESTAMP(0))", "\"2001-09-09T01:46:40Z\""),
        ("CAST(CAST(n AS TIMESTAMP(0)) AS TIMESTAMP(9))", "\"2001-09-09T01:46:40.000000000Z\""),
        ("CAST(n AS TIMESTAMP(3))", "\"1970-01-12T13:46:40.000Z\""),
        ("CAST(CAST(CAST(ts AS TIMESTAMP(9)) AS BIGINT) AS TIMESTAMP(9))", "\"1970-01-01T00:00:05.000000000Z\""),
    ] {
        is(record, expression, expected);
    }
}

#[test]
fn a_date_moves_by_whole_days() {
    let record = r#"{"ts":5000}"#;
    is(record, "DATE '2026-01-31' + INTERVAL '1' DAY", "\"2026-02-01\"");
    is(record, "CAST(ts AS DATE) + INTERVAL '1' MONTH", "\"1970-02-01\"");
    is(record, "CAST(ts AS DATE) + INTERVAL '48' HOUR", "\"1970-01-03\"");
    is(record, "CAST(CAST(ts AS DATE) AS TIMESTAMP(3)) + INTERVAL '23' HOUR", "\"1970-01-01T23:00:00.000Z\"");
    for expression in [
        "CAST(ts AS DATE) + INTERVAL '23' HOUR",
        "CAST(ts AS DATE) - INTERVAL '1' SECOND",
        "INTERVAL '25' HOUR + CAST(ts AS DATE)",
        "DATE '2026-01-31' + INTERVAL '90' MINUTE",
    ] {
        fails(
            &[record],
            &format!("INSERT INTO totals SELECT {expression} AS x FROM t"),
            &["spec.sql, line 1, column ", ": found in `", "an interval with hours, which a date has not"],
        );
    }
}
