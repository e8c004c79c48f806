//! Conditions mean what is written: no CAST is taken out of a comparison, and none is moved before one that guards it.

use super::run::run;

const COLUMNS: [(&str, &str); 8] = [
    ("ts", "timestamp(3)"),
    ("id", "int"),
    ("l", "bigint"),
    ("m", "decimal(10,3)"),
    ("n", "int"),
    ("s", "string"),
    ("t9", "timestamp(9)"),
    ("f", "double"),
];

const RECORD: &str =
    r#"{"ts":5000,"id":1,"l":3000000000,"m":2.450,"n":0,"s":"x0","t9":"2026-03-01T00:00:00Z","f":2.5}"#;

fn rows(sql: &str) -> Result<Vec<String>, String> {
    run(&COLUMNS, &[RECORD], sql)
}

#[track_caller]
fn is(expression: &str, expected: &str) {
    let found = rows(&format!("INSERT INTO totals SELECT {expression} AS x FROM t"));
    assert_eq!(found, Ok(vec![format!("{{\"x\":{expected}}}")]), "{expression}");
}

/// In the SELECT list, behind WHERE, and behind WHERE over a view that has computed it.
#[track_caller]
fn holds(condition: &str, expected: bool) {
    is(condition, if expected { "true" } else { "false" });
    let one = Ok(if expected { vec!["{\"id\":1}".to_owned()] } else { Vec::new() });
    assert_eq!(rows(&format!("INSERT INTO totals SELECT id FROM t WHERE {condition}")), one, "{condition}");
    let view =
        format!("CREATE VIEW v AS SELECT id, {condition} AS c FROM t; INSERT INTO totals SELECT id FROM v WHERE c");
    assert_eq!(rows(&view), one, "{view}");
}

#[test]
fn a_cast_that_cuts_or_rounds_stays_in_its_comparison() {
    holds("CAST(m AS INT) = 2", true);
    holds("CAST(m AS INT) <> 2", false);
    holds("CAST(m AS BIGINT) IN (2, 7)", true);
    holds("TRY_CAST(m AS INT) <= 2", true);
    holds("CAST(m AS DECIMAL(8,1)) = 2.5", true);
    holds("CAST(m AS DECIMAL(8,1)) IN (2.5, 9.1)", true);
    holds("CAST(f AS INT) = 2", true);
    holds("CAST(id AS DECIMAL(20,2)) = 1.5", false);
    holds("CAST(id AS BIGINT) < 4294967297", true);
    holds("m < 2.4501", true);
    holds("2.4501 > m AND 1 = 1", true);
    holds("CAST(m AS INT) = 2 AND m > 2.4", true);
    holds("CAST(m AS INT) > 1 AND m > 2.1 AND m < 3", true);
    let view =
        "CREATE VIEW v AS SELECT id, CAST(m AS INT) AS x FROM t; INSERT INTO totals SELECT id FROM v WHERE x = 2";
    assert_eq!(rows(view), Ok(vec!["{\"id\":1}".to_owned()]));
}

#[test]
fn a_cast_without_room_fails_in_a_comparison_too_and_is_null_where_that_is_asked_for() {
    for condition in ["CAST(l AS INT) = 2", "CAST(l AS INT) <> 2", "CAST(l AS INT) > 5"] {
        let error = rows(&format!("INSERT INTO totals SELECT id FROM t WHERE {condition}")).unwrap_err();
        assert!(error.contains("3000000000"), "{error}");
    }
    for condition in ["TRY_CAST(l AS INT) <> 2", "TRY_CAST(l AS INT) > 5", "TRY_CAST(m AS DECIMAL(3,3)) <> 2"] {
        is(condition, "null");
        assert_eq!(
            rows(&format!("INSERT INTO totals SELECT id FROM t WHERE {condition}")),
            Ok(Vec::new()),
            "{condition}"
        );
    }
}

#[test]
fn years_beyond_the_calendar_of_nanoseconds_are_compared() {
    holds("EXTRACT(YEAR FROM t9) < 2300", true);
    holds("EXTRACT(YEAR FROM t9) <= 9999", true);
    holds("EXTRACT(YEAR FROM t9) <> 3000", true);
    holds("EXTRACT(YEAR FROM t9) > 1600", true);
    holds("date_part('year', t9) = 2026", true);
}

#[test]
fn an_instant_is_compared_with_a_finer_one() {
    holds("ts >= TIMESTAMP '1970-01-01T00:00:05.0005Z'", false);
    holds("ts = TIMESTAMP '1970-01-01T00:00:05.0000005Z'", false);
    holds("ts < CAST('1970-01-01T00:00:05.000500Z' AS TIMESTAMP(6))", true);
    holds("CAST(ts AS TIMESTAMP(6)) >= CAST('1970-01-01T00:00:05.0005Z' AS TIMESTAMP(6))", false);
}

#[test]
fn round_has_one_type() {
    is("CASE WHEN id = 2 THEN round(m, 1) ELSE m END", "2.450");
    is("round(m, 1)", "2.500");
    is("round(m, 1) = 2.5", "true");
    is("round(m, 1) IN (2.5, 3.14)", "true");
    is("greatest(round(m, 1), m)", "2.500");
    is("COALESCE(CASE WHEN id = 2 THEN round(m, 1) END, m)", "2.450");
    is("round(m)", "2");
}

#[test]
fn an_earlier_condition_guards_a_later_one() {
    for guard in ["s ~ '^[0-9]+$'", "regexp_like(s, '^[0-9]+$')", "s LIKE '_'", "length(s) = 1", "n <> 0"] {
        let dear = if guard.starts_with('n') { "100 / n > 60" } else { "CAST(s AS INT) > 2" };
        let both = rows(&format!("INSERT INTO totals SELECT id FROM t WHERE {guard} AND {dear}"));
        assert_eq!(both, Ok(Vec::new()), "{guard}");
        let below =
            format!("CREATE VIEW v AS SELECT * FROM t WHERE {guard}; INSERT INTO totals SELECT id FROM v WHERE {dear}");
        assert_eq!(rows(&below), Ok(Vec::new()), "{below}");
    }
}

#[test]
fn what_has_no_columns_is_computed_once_and_what_cannot_be_is_refused() {
    is("id + 2 * 3", "7");
    is("COALESCE(NULL, id, 5)", "1");
    is("nvl2(NULL, 1, 2)", "2");
    is("CASE WHEN 1 = 1 THEN 'a' ELSE 'b' END", "\"a\"");
    let error = rows("INSERT INTO totals SELECT 1 / 0 AS x FROM t").unwrap_err();
    assert!(error.contains("divides by zero"), "{error}");
}

#[test]
fn a_key_that_is_named_twice_is_one() {
    let sql = "INSERT INTO totals SELECT window_start, id, COUNT(*) AS c FROM \
               TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY window_start, id, id";
    assert_eq!(rows(sql).map(|rows| rows.len()), Ok(1));
}

#[test]
fn a_text_that_is_finer_than_what_it_is_compared_with_is_refused() {
    for condition in [
        "m = '2.4501'",
        "'2.45001' >= m",
        "m BETWEEN '2.4501' AND '3'",
        "m IN ('2.4501')",
        "CAST(ts AS DATE) < '1970-01-02T10:00:00'",
    ] {
        let found = rows(&format!("INSERT INTO totals SELECT id FROM t WHERE {condition}"));
        let is_refused = found.as_ref().is_err_and(|error| error.contains("which has no room for all its digits"));
        assert!(is_refused, "{condition}: {found:?}");
    }
    holds("ts = '1970-01-01T00:00:05.000000Z'", true);
    holds("ts = '1970-01-01T00:00:05Z'", true);
    holds("m = '2.4500'", true);
    holds("ts >= '1970-01-01T00:00:05.0005Z'", false);
    holds("CAST(ts AS DATE) < '1970-01-02'", true);
}

#[test]
fn a_record_does_not_say_how_long_a_text_gets() {
    is("repeat(s, id + 1)", "\"x0x0\"");
    is("length(replace(repeat(s, 1000), 'x', repeat('y', 998)))", "999000");
    is("lpad(s, id + 3, '-')", "\"--x0\"");
    is("repeat(s, -5)", "\"\"");
    for call in [
        "repeat(s, l)",
        "repeat(s, 600000 * id)",
        "lpad(s, l)",
        "rpad(s, 2000000 * id, 'x')",
        "replace(repeat(s, 1000), 'x', repeat('y', 1001))",
    ] {
        let error = rows(&format!("INSERT INTO totals SELECT {call} AS x FROM t")).unwrap_err();
        assert!(error.contains("accepted are 1000000 at most"), "{call}: {error}");
    }
}

#[test]
fn an_instant_before_1970_is_in_the_second_that_has_begun() {
    is("to_unixtime(ts)", "5");
    is("to_unixtime(CAST('1969-12-31T23:59:59.500Z' AS TIMESTAMP(3)))", "-1");
    is("to_unixtime(CAST('1969-12-31T23:59:58Z' AS TIMESTAMP(3)))", "-2");
    is("to_unixtime(t9)", "1772323200");
}

#[test]
fn a_number_with_an_exponent_is_a_double() {
    is("1e6 / (id + 6)", "142857.14285714287");
    is("1e3 * id = 1000", "true");
    is("1.5E-3", "0.0015");
    is("-2e0", "-2.0");
    is("CAST(1e21 AS DOUBLE) = f * 4e20", "true");
    holds("1e9 / l > 0.3", true);
    for (number, words) in [("1e309", "less than 1.8e308"), (&"9".repeat(39), "a number of 39 digits")] {
        let error = rows(&format!("INSERT INTO totals SELECT id + {number} AS x FROM t")).unwrap_err();
        assert!(error.contains(words), "{number}: {error}");
    }
    is("00099999999999999999999999999999999999999", "99999999999999999999999999999999999999");
}

#[test]
fn a_literal_that_no_row_can_be_computed_with_is_refused_where_it_stands() {
    for (call, words) in [
        ("regexp_like(s, '((((')", "the pattern has brackets or signs in wrong places"),
        ("regexp_replace(s, '(a{1000}){1000}', 'x')", "the pattern is too large"),
        ("date_trunc('fortnight', ts)", "fortnight"),
        ("split_part(s, ',', 0)", "split_part"),
    ] {
        let error = rows(&format!("INSERT INTO totals SELECT {call} AS x FROM t")).unwrap_err();
        assert!(error.contains("line 1, column 27: ") && error.contains(words), "{call}: {error}");
    }
}

/// Rows with every value of a condition, by id.
const TRUTHS: [&str; 7] = [
    r#"{"ts":1,"id":0,"f":true,"a":5,"k":"DE"}"#,
    r#"{"ts":2,"id":1,"f":false,"a":5,"k":"FR"}"#,
    r#"{"ts":3,"id":2,"f":null,"a":5,"k":null}"#,
    r#"{"ts":4,"id":3,"f":true,"a":0,"k":"DE"}"#,
    r#"{"ts":5,"id":4,"f":false,"a":0,"k":"FR"}"#,
    r#"{"ts":6,"id":5,"f":null,"a":0,"k":"DE"}"#,
    r#"{"ts":7,"id":6,"f":true,"a":null,"k":"FR"}"#,
];

/// The rows for which a condition holds; what DuckDB 1.4 has, too.
#[track_caller]
fn selects(condition: &str, expected: &[u8]) {
    let columns = [("ts", "timestamp(3)"), ("id", "int"), ("f", "boolean"), ("a", "int"), ("k", "string")];
    let expected: Vec<String> = expected.iter().map(|id| format!("{{\"id\":{id}}}")).collect();
    let found = run(&columns, &TRUTHS, &format!("INSERT INTO totals SELECT id FROM t WHERE {condition}"));
    assert_eq!(found, Ok(expected), "{condition}");
}

#[test]
fn is_distinct_from_binds_like_is_null() {
    for (condition, expected) in [
        ("f IS DISTINCT FROM TRUE AND a > 1", &[1_u8, 2][..]),
        ("f IS NOT DISTINCT FROM TRUE OR a > 1", &[0, 1, 2, 3, 6]),
        ("f IS DISTINCT FROM TRUE OR a IS NULL", &[1, 2, 4, 5, 6]),
        ("a > 1 AND f IS DISTINCT FROM TRUE", &[1, 2]),
        ("a IS DISTINCT FROM 5 AND f", &[3, 6]),
        ("a IS NOT DISTINCT FROM 2 + 3 AND NOT f", &[1]),
        ("NOT f IS NOT DISTINCT FROM TRUE AND a = 0", &[4, 5]),
        ("f IS DISTINCT FROM a = 5 AND id < 5", &[1, 2, 3]),
        ("CASE WHEN f IS DISTINCT FROM TRUE AND a > 1 THEN TRUE ELSE FALSE END", &[1, 2]),
    ] {
        selects(condition, expected);
    }
}

#[test]
fn what_is_computed_in_a_list_is_computed_for_each_row() {
    for (condition, expected) in [
        ("a IN (9, CASE k WHEN 'DE' THEN 0 ELSE 5 END)", &[1_u8, 2, 3, 5][..]),
        ("a NOT IN (9, CASE k WHEN 'DE' THEN 0 ELSE 5 END)", &[0, 4]),
        ("a IN (CASE k WHEN 'DE' THEN 0 ELSE 5 END)", &[1, 2, 3, 5]),
        // NULL in the list: not known to be outside of it.
        ("a NOT IN (4, CASE WHEN f THEN 2 END)", &[0, 3]),
        ("a IN (9, CASE WHEN k = 'DE' THEN 5 WHEN k = 'FR' THEN 0 END)", &[0, 4]),
        ("a IN (9, CASE WHEN f THEN 2 ELSE a END)", &[1, 2, 4, 5]),
        ("k IN ('x', upper(CASE WHEN f THEN 'de' ELSE 'fr' END))", &[0, 1, 3, 4]),
        ("a IN (9, CAST(CASE k WHEN 'DE' THEN '0' ELSE '5' END AS INT), id)", &[1, 2, 3, 5]),
        ("a IN (9, id, 5)", &[0, 1, 2]),
        ("CAST(a AS DOUBLE) IN (1e0, CASE k WHEN 'DE' THEN -0e0 ELSE 5e0 END)", &[1, 2, 3, 5]),
        ("a NOT IN (1, 2, CASE k WHEN 'DE' THEN 0 ELSE 5 END, CASE WHEN f THEN 5 ELSE 7 END, id + 100)", &[4]),
    ] {
        selects(condition, expected);
    }
}

#[test]
fn what_is_computed_in_a_list_is_computed_for_each_window_too() {
    let columns = [("ts", "timestamp(3)"), ("id", "int"), ("a", "int"), ("k", "string")];
    let records = [r#"{"ts":1,"id":1,"a":2,"k":"DE"}"#, r#"{"ts":2,"id":2,"a":3,"k":"FR"}"#];
    let sql = "INSERT INTO totals SELECT k, SUM(a) AS x,
          COUNT(*) FILTER (WHERE a IN (9, CASE k WHEN 'DE' THEN 2 ELSE 0 END)) AS n
        FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND) GROUP BY window_start, window_end, k
        HAVING SUM(a) IN (9, CASE k WHEN 'DE' THEN 2 ELSE 4 END)";
    assert_eq!(run(&columns, &records, sql), Ok(vec![r#"{"k":"DE","x":2,"n":1}"#.to_owned()]));
}

#[test]
fn comparisons_bind_less_than_in_between_and_like() {
    for (condition, expected) in [
        ("f = a IN (5, 7)", &[0_u8, 4][..]),
        ("f <> a BETWEEN 1 AND 9", &[1, 3]),
        ("f = k LIKE 'D%'", &[0, 1, 3, 4]),
        ("k LIKE 'D%' = f", &[0, 1, 3, 4]),
        ("(f = TRUE) IN (TRUE)", &[0, 3, 6]),
        ("TRUE = f IN (FALSE)", &[1, 4]),
        ("NOT f = a NOT IN (5)", &[0, 4]),
        ("a + 1 = id + 1 AND f IS NULL", &[]),
        ("a = 5 = f", &[0, 4]),
    ] {
        selects(condition, expected);
    }
}
