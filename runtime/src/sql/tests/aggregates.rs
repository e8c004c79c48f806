//! Aggregates of windows: the values.

use super::run::{in_window, run};

const COLUMNS: [(&str, &str); 4] = [("ts", "timestamp(3)"), ("n", "bigint"), ("s", "string"), ("d", "decimal(12,2)")];

#[test]
fn a_filter_keeps_the_argument_literal_or_not() {
    let records = [
        r#"{"ts":1,"n":1,"s":"a","d":1.5}"#,
        r#"{"ts":2,"n":2,"s":null,"d":2.5}"#,
        r#"{"ts":3,"n":3,"s":"c","d":null}"#,
        r#"{"ts":4,"n":null,"s":"d","d":4.5}"#,
    ];
    for (aggregate, expected) in [
        ("SUM(10) FILTER (WHERE n > 1)", "20"),
        ("MAX(7) FILTER (WHERE n > 1)", "7"),
        ("MIN('x') FILTER (WHERE n > 1)", "\"x\""),
        ("AVG(5) FILTER (WHERE n > 1)", "5.0"),
        ("AVG(1.5) FILTER (WHERE n > 1)", "1.50000"),
        ("SUM(-2.5) FILTER (WHERE n > 1)", "-5.0"),
        ("MAX(true) FILTER (WHERE n > 1)", "true"),
        ("MIN(DATE '2026-01-31') FILTER (WHERE n > 1)", "\"2026-01-31\""),
        ("SUM(2 * 5) FILTER (WHERE n > 1)", "20"),
        ("COUNT(NULL) FILTER (WHERE n > 1)", "0"),
        ("COUNT(NULL)", "0"),
        ("COUNT(10) FILTER (WHERE n > 1)", "2"),
        ("COUNT(*) FILTER (WHERE n > 1)", "2"),
        ("COUNT(s) FILTER (WHERE n > 1)", "1"),
        ("COUNT(DISTINCT 10) FILTER (WHERE n > 1)", "1"),
        ("COUNT(DISTINCT NULL) FILTER (WHERE n > 1)", "0"),
        ("COUNT(DISTINCT 10) FILTER (WHERE n > 9)", "0"),
        ("SUM(10) FILTER (WHERE n > 9)", "null"),
        ("SUM(10)", "40"),
        ("MAX(7)", "7"),
        ("SUM(d) FILTER (WHERE n > 1 OR s = 'd')", "7.00"),
    ] {
        let found = run(&COLUMNS, &records, &in_window(&format!("{aggregate} AS x")));
        assert_eq!(found, Ok(vec![format!("{{\"x\":{expected}}}")]), "{aggregate}");
    }
}

#[test]
fn what_is_computed_of_one_column_under_two_names_is_one() {
    let records = [r#"{"ts":1,"n":1}"#, r#"{"ts":2,"n":2}"#];
    let sql = "CREATE VIEW v AS SELECT ts, n, n AS m FROM t;
        INSERT INTO totals SELECT COUNT(CAST(n + n AS DOUBLE)) AS x, AVG(CAST(m + n AS DOUBLE)) AS y, SUM(m + m) AS z, SUM(m) AS w
        FROM TUMBLE(TABLE v, DESCRIPTOR(ts), INTERVAL '10' SECOND) GROUP BY window_start, window_end";
    assert_eq!(run(&COLUMNS, &records, sql), Ok(vec![r#"{"x":2,"y":3.0,"z":6,"w":3}"#.to_owned()]));
}
