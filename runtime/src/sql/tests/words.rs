//! In which words, and where, what is wrong is said.

use super::*;
use crate::{sql::Position, words::INTERNAL};

/// `sql`, behind `INSERT INTO totals SELECT `, is refused where `at` stands in it first, with all of `words`.
#[track_caller]
fn refused(sql: &str, at: &str, words: &[&str]) {
    let sql = if sql.starts_with("SELECT") { format!("INSERT INTO totals\n{sql}") } else { sql.to_owned() };
    let error = refusal(&sql);
    let text = error.to_string();
    let place = sql.find(at).unwrap_or_else(|| panic!("`{at}` is not in {sql}"));
    let before = &sql[..place];
    let line = before.matches('\n').count() as u64 + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() as u64 + 1;
    assert_eq!(error.at, Some(Position { line, column }), "{text}\nin {sql}");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in `{text}`\nof {sql}");
    }
    for word in INTERNAL {
        assert!(!text.contains(word), "`{word}` is in `{text}`\nof {sql}");
    }
}

const WINDOW: &str = "FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)";

#[test]
fn arguments_that_do_not_fit_are_told_with_their_types_and_what_is_accepted() {
    let sum = format!("SELECT sum(note) AS s {WINDOW} GROUP BY window_start");
    refused(
        &sum,
        "sum",
        &["`sum` can't be called with (string)", "accepted are int, bigint, float, double, decimal(12,2)"],
    );
    let avg = format!("SELECT avg(ts) AS s {WINDOW} GROUP BY window_start");
    refused(&avg, "avg", &["`avg` can't be called with (timestamp(3))", "accepted are int"]);
    refused(
        "SELECT upper(note, 1) AS u FROM orders",
        "upper",
        &["`upper` can't be called with (string, bigint); it takes 1"],
    );
    refused(
        "SELECT ts, store_id + sqrt(note) AS u FROM orders",
        "sqrt",
        &["`sqrt` can't be called with (string)", "double"],
    );
    refused(
        "SELECT date_part('hour', note) AS u FROM orders",
        "date_part",
        &["`date_part('hour', note)` mixes string and timestamp(9)"],
    );
}

#[test]
fn operands_of_two_kinds_are_refused_where_they_stand() {
    refused(
        "SELECT ts FROM orders\nWHERE store_id = 'abc'",
        "'abc'",
        &["found 'abc' in `store_id = 'abc'`", "accepted is a value of type bigint"],
    );
    refused("SELECT ts FROM orders\nWHERE 'abc' < store_id", "'abc'", &["accepted is a value of type bigint"]);
    refused("SELECT ts FROM orders WHERE ts >= 'yesterday'", "'yesterday'", &["accepted is a value of type timestamp"]);
    refused("SELECT ts FROM orders WHERE store_id IN (1, 'b')", "'b'", &["accepted is a value of type bigint"]);
    refused("SELECT ts FROM orders WHERE store_id BETWEEN 1 AND 'z'", "'z'", &["accepted is a value of type bigint"]);
    refused("SELECT ts FROM orders WHERE amount > note", "amount >", &["mixes string and decimal", "TRY_CAST"]);
    refused("SELECT ts FROM orders\nWHERE note = 5", "note = 5", &["mixes string and bigint", "CAST(… AS BIGINT)"]);
    refused("SELECT ts FROM orders WHERE 5 = note", "5 = note", &["mixes string and bigint"]);
    refused("SELECT seen FROM clicks WHERE day = 5", "day = 5", &["mixes bigint and date"]);
    refused("SELECT day FROM clicks WHERE raw LIKE 'a%'", "raw LIKE", &["mixes bytes and string"]);
    refused("SELECT seen + 1 AS s FROM clicks", "seen", &["found boolean + bigint in `seen + 1`"]);
    refused("SELECT raw / 2 AS s FROM clicks", "raw", &["found bytes / bigint"]);
    refused(&format!("SELECT avg(NULL) AS s {WINDOW} GROUP BY window_start"), "avg", &["found NULL in `avg(NULL)`"]);
    refused(
        &format!("SELECT CAST(max(amount) AS DATE) AS s {WINDOW} GROUP BY window_start"),
        "max",
        &["CAST(max(amount) AS DATE)` can't be computed: Unsupported CAST from decimal(12,2) to date"],
    );
    refused("SELECT note * 2 AS s FROM orders", "note", &["string"]);
    refused("SELECT ts FROM orders WHERE note", "note", &["found an expression of type string after WHERE"]);
    refused("SELECT ts FROM orders WHERE NOT store_id", "store_id", &["found NOT bigint"]);
}

#[test]
fn a_value_that_can_not_be_computed_is_refused_where_it_stands() {
    refused(
        "SELECT CAST('abc' AS INT) AS a FROM orders",
        "'abc'",
        &["CAST('abc' AS INT)` can't be computed", "value of int type"],
    );
    refused("SELECT ts, 1 / 0 AS a FROM orders", "1 / 0", &["`1 / 0` can't be computed: 1 / 0 divides by zero"]);
    refused(
        "SELECT 9223372036854775807 + 1 AS a FROM orders",
        "9223372036854775807",
        &["9223372036854775807 + 1 doesn't fit bigint"],
    );
    refused("SELECT DATE '2026-02-30' AS a FROM orders", "'2026-02-30'", &["can't be computed"]);
    graph(
        "INSERT INTO totals SELECT TRY_CAST(note AS INT) AS a, CAST(note AS INT) AS b FROM orders WHERE store_id = '5'",
    );
}

#[test]
fn statements_of_others_are_not_supported_yet() {
    for (sql, name) in [
        ("CREATE FUNCTION f AS 'com.example.F'", "`CREATE FUNCTION`"),
        ("CREATE TEMPORARY SYSTEM FUNCTION f AS 'com.example.F' LANGUAGE JAVA", "`CREATE FUNCTION`"),
        ("CREATE TABLE t (a INT) WITH ('connector' = 'kafka')", "`CREATE TABLE`"),
        ("CREATE CATALOG c WITH ('type' = 'hive')", "`CREATE CATALOG`"),
        ("EXECUTE STATEMENT SET BEGIN INSERT INTO totals SELECT ts FROM orders; END", "`EXECUTE STATEMENT SET`"),
        ("BEGIN STATEMENT SET; INSERT INTO totals SELECT ts FROM orders; END", "`BEGIN STATEMENT SET`"),
        ("STATEMENT SET BEGIN INSERT INTO totals SELECT ts FROM orders; END", "`STATEMENT SET`"),
        ("DROP TABLE orders", "`DROP TABLE`"),
        ("ALTER TABLE orders ADD x INT", "`ALTER TABLE`"),
        ("SET 'table.exec.state.ttl' = '1h'", "`SET`"),
        ("ADD JAR '/x.jar'", "`ADD JAR`"),
        ("USE CATALOG c", "`USE CATALOG`"),
        ("SHOW TABLES", "`SHOW TABLES`"),
        ("EXPLAIN SELECT 1", "`EXPLAIN SELECT`"),
        ("DELETE FROM orders", "`DELETE FROM`"),
        ("UPDATE orders SET a = 1", "`UPDATE orders`"),
        ("CALL sys.compact()", "`CALL sys`"),
    ] {
        let first = sql.split_whitespace().next().unwrap();
        refused(sql, first, &[name, "is not supported yet", "accepted are CREATE VIEW name AS SELECT"]);
    }
}

#[test]
fn constructs_of_others_are_not_supported_yet() {
    let keyed =
        "SELECT ts FROM TABLE(SESSION(TABLE orders PARTITION BY store_id, DESCRIPTOR(ts), INTERVAL '5' MINUTE))";
    refused(keyed, "SESSION", &["windows of SESSION are not supported yet", "TUMBLE"]);
    let session = "SELECT ts FROM SESSION(TABLE orders, DESCRIPTOR(ts), INTERVAL '5' MINUTE)";
    refused(session, "SESSION", &["windows of SESSION are not supported yet"]);
    let hop = "SELECT ts FROM HOP(TABLE orders, DESCRIPTOR(ts), INTERVAL '5' MINUTE, INTERVAL '10' MINUTE)";
    refused(hop, "HOP", &["windows of HOP are not supported yet"]);
    let grouped = "SELECT TUMBLE_START(ts, INTERVAL '1' MINUTE) FROM orders GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE)";
    refused(grouped, "TUMBLE_START", &["windows that GROUP BY makes are not supported"]);
    let start = "SELECT TUMBLE_START(ts, INTERVAL '1' MINUTE) FROM orders";
    refused(
        start,
        "TUMBLE_START",
        &["accepted is SELECT window_start, window_end", "GROUP BY window_start, window_end"],
    );
    let as_of =
        "SELECT o.ts FROM orders AS o LEFT JOIN stores FOR SYSTEM_TIME AS OF o.ts AS s ON o.store_id = s.store_id";
    refused(as_of, "FOR SYSTEM_TIME", &["FOR SYSTEM_TIME AS OF, is not supported yet"]);
    refused("SELECT ts FROM orders FOR SYSTEM_TIME AS OF ts", "FOR", &["FOR SYSTEM_TIME AS OF, is not supported yet"]);
    let matched = "SELECT * FROM orders MATCH_RECOGNIZE (PARTITION BY store_id ORDER BY ts MEASURES A.ts AS t PATTERN (A B) DEFINE A AS true)";
    refused(matched, "MATCH_RECOGNIZE", &["MATCH_RECOGNIZE is not supported yet"]);
    refused("SELECT ts FROM orders /*+ STATE_TTL('a' = '1h') */", "/*+", &["hints", "not supported yet"]);
    for escaped in ["note LIKE 'a!%' ESCAPE '!'", "note NOT ILIKE 'a!%' ESCAPE '!'"] {
        refused(
            &format!("SELECT ts FROM orders WHERE {escaped}"),
            "note",
            &["ESCAPE is not supported yet", "`\\` in front"],
        );
    }
    for (rounded, first) in
        [("FLOOR(ts TO DAY)", "ts TO"), ("CEIL(ts TO HOUR)", "ts TO"), ("FLOOR(amount, 1)", "amount")]
    {
        let sql = format!("SELECT {rounded} AS d FROM orders");
        refused(&sql, first, &["to a unit are not supported yet", "date_trunc"]);
    }
    refused("SELECT ts FROM orders JOIN stores ON true", "JOIN", &["JOIN is not supported yet"]);
    graph("INSERT INTO totals SELECT ts /* + a comment */ FROM orders");
}

#[test]
fn top_n_is_not_supported_yet() {
    let totals = format!(
        "CREATE VIEW m AS SELECT window_start, window_end, store_id, count(*) AS n {WINDOW} GROUP BY window_start, window_end, store_id;\n"
    );
    let top = format!(
        "{totals}INSERT INTO totals SELECT store_id FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY n DESC) AS rn FROM m) WHERE rn <= 3"
    );
    refused(&top, "ROW_NUMBER", &["Top-N", "not supported yet"]);
    let top = format!(
        "SELECT store_id FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY amount DESC) AS rn {WINDOW}) WHERE rn <= 3"
    );
    refused(&top, "ROW_NUMBER", &["Top-N", "not supported yet"]);
    let top = "SELECT ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY store_id ORDER BY ts) AS rn FROM orders) WHERE rn <= 3";
    refused(top, "ROW_NUMBER", &["Top-N is not supported yet", "`WHERE rn = 1`"]);
}

#[test]
fn an_aggregate_over_results_of_windows_is_not_told_to_write_what_it_wrote() {
    let sql = format!(
        "CREATE VIEW m AS SELECT window_start, window_end, count(*) AS n {WINDOW} GROUP BY window_start, window_end;\n\
         INSERT INTO totals SELECT window_start, sum(n) AS n FROM m\nGROUP BY window_start, window_end"
    );
    let error = refusal(&sql);
    assert_eq!(error.at, Some(Position { line: 3, column: 10 }));
    let text = error.to_string();
    assert!(text.contains("an aggregate over the results of windows is not supported yet"), "{text}");
    assert!(!text.contains("GROUP BY window_start, window_end"), "{text}");
}

#[test]
fn types_are_called_as_in_the_document() {
    refused("SELECT regexp_match(note, 'a') AS m FROM orders", "SELECT", &["column `m` is of type array"]);
    refused("SELECT ts - ts AS m FROM orders", "SELECT", &["column `m` is of type interval"]);
    refused("SELECT NULL AS n FROM orders", "SELECT", &["column `n` is of type null"]);
    refused("SELECT CAST(amount AS DECIMAL(50, 2)) AS n FROM orders", "amount", &["found the type DECIMAL(50,2)"]);
}
