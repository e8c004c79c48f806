//! Statements that are refused: where, and in which words.

use super::*;
use crate::sql::Position;

/// `sql` is refused at `line`, `column`, in a message with all of `words`.
#[track_caller]
fn refused(sql: &str, line: u64, column: u64, words: &[&str]) {
    let error = refusal(sql);
    let text = error.to_string();
    assert_eq!(error.at, Some(Position { line, column }), "{text}\nin {sql}");
    assert!(text.starts_with(&format!("spec.sql, line {line}, column {column}: ")), "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in `{text}`\nof {sql}");
    }
}

const WINDOW: &str = "FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)";
const RANKED: &str = "(SELECT *, ROW_NUMBER() OVER (PARTITION BY order_id ORDER BY ts) AS rn FROM orders)";

#[test]
fn an_unknown_name_is_refused_with_the_nearest() {
    refused(
        "INSERT INTO totals\nSELECT order_id\nFROM ordres",
        3,
        6,
        &["there is no source or view `ordres` (did you mean `orders`?)"],
    );
    refused("INSERT INTO total SELECT ts FROM orders", 1, 13, &["there is no sink `total` (did you mean `totals`?)"]);
    refused(
        "INSERT INTO totals SELECT store_id, amont FROM orders",
        1,
        37,
        &["`orders` has no column `amont` (did you mean `amount`?)"],
    );
    refused(
        "INSERT INTO totals SELECT ts FROM orders WHERE xyzzy > 1",
        1,
        48,
        &["no column `xyzzy`; it has `order_id`"],
    );
    refused("INSERT INTO totals SELECT o.ts FROM orders AS p", 1, 27, &["no relation `o` here", "reads `p`"]);
    refused("INSERT INTO totals SELECT o.* FROM orders AS p", 1, 27, &["no relation `o` here", "reads `p`"]);
    refused("INSERT INTO totals SELECT a.b.c FROM orders", 1, 27, &["found `a.b.c`", "`orders.<column>`"]);
    refused(
        "INSERT INTO totals SELECT uper(note) AS n FROM orders",
        1,
        27,
        &["no function `uper` (did you mean `upper`?)"],
    );
    refused(
        "INSERT INTO totals SELECT \"Order_ID\" FROM orders",
        1,
        27,
        &["no column `Order_ID` (did you mean `order_id`?)"],
    );
    refused(
        &format!("INSERT INTO totals SELECT summ(amount) AS s {WINDOW} GROUP BY window_start"),
        1,
        27,
        &["`summ`", "`sum`"],
    );
    refused(
        "INSERT INTO totals SELECT ts FROM TUMBEL(TABLE orders, DESCRIPTOR(ts), 1)",
        1,
        35,
        &["`tumbel`", "did you mean `tumble`?"],
    );
    refused("INSERT INTO totals SELECT ts FROM a.orders", 1, 35, &["found `a.orders`", "without a dot"]);
}

#[test]
fn what_is_no_sql_is_refused_where_it_goes_wrong() {
    refused("INSERT INTO totals\nSELECT ts FORM orders", 2, 16, &["found: orders"]);
    refused("INSERT INTO totals SELECT (ts FROM orders", 1, 31, &["expected", "found: FROM"]);
    refused("INSERT INTO totals SELECT", 1, 26, &["the end of the text"]);
    refused("INSERT INTO totals SELECT 'abc FROM orders", 1, 27, &["nterminated string"]);
    refused("INSERT INTO totals SELECT ts FROM orders INSERT INTO alerts SELECT 1", 1, 49, &["found: INTO"]);
    refused("SELEC 1", 1, 1, &["expected", "SELEC"]);
    let nested = format!("INSERT INTO totals SELECT {}ts{} AS a FROM orders", "(".repeat(200), ")".repeat(200));
    refused(&nested, 1, 1, &["nested too deeply"]);
    let long = format!("INSERT INTO totals SELECT 1{} AS a FROM orders", " + 1".repeat(120));
    refused(&long, 1, 27, &["nested too deeply; accepted are 100 levels"]);
    let long = format!("INSERT INTO totals SELECT 1{} AS a FROM orders", " + 1".repeat(3000));
    refused(&long, 1, 1629, &["nested too deeply or too long"]);
    let longer = format!("INSERT INTO totals SELECT 1{} AS a FROM orders", " + 1".repeat(6000));
    assert!(refusal(&longer).to_string().contains("too long; accepted are 10000"));
}

#[test]
fn what_the_parser_would_read_thousands_of_times_is_refused_before() {
    for (before, behind) in
        [("CAST(", " AS INT)"), ("NOT (", ")"), ("CASE WHEN ", " THEN 1 END"), ("FLOOR(", ")"), ("NOT ", "")]
    {
        let nested = |times: usize| {
            format!(
                "INSERT INTO totals SELECT {}ts FORM{} AS a FROM orders",
                before.repeat(times),
                behind.repeat(times)
            )
        };
        let error = refusal(&nested(60)).to_string();
        assert!(error.contains("nested too deeply"), "{error}");
        let error = refusal(&nested(8)).to_string();
        assert!(!error.contains("nested too deeply"), "{error}");
    }
    let beside = format!("INSERT INTO totals SELECT 1{} AS a FROM orders", " + CAST(1 AS INT)".repeat(40));
    graph(&beside);
}

#[test]
fn a_text_that_would_take_all_memory_is_refused() {
    for call in ["repeat('x', 2000000000)", "lpad(order_id, 2147483647)", "rpad('x', 1000001, 'y')"] {
        let error = refusal(&format!("INSERT INTO totals SELECT {call} AS a FROM orders")).to_string();
        assert!(error.contains("accepted are 1000000 at most"), "{call}: {error}");
    }
}

#[test]
fn types_that_columns_do_not_have_are_refused() {
    for written in [
        "VARCHAR(3)",
        "CHAR",
        "CHAR(2)",
        "STRING(3)",
        "TINYINT",
        "SMALLINT",
        "INT UNSIGNED",
        "INT(3)",
        "DECIMAL",
        "TIME",
        "INTERVAL",
        "TIMESTAMP(2)",
        "UUID",
        "FLOAT(3)",
        "ENUM('a')",
    ] {
        for cast in ["CAST", "TRY_CAST"] {
            let sql = format!("INSERT INTO totals SELECT {cast}(amount AS {written}) AS a FROM orders");
            let error = refusal(&sql).to_string();
            assert!(error.contains("found the type") && error.contains("VARCHAR without a length"), "{sql}: {error}");
        }
    }
    refused("INSERT INTO totals SELECT TIME '10:00:00' AS a FROM orders", 1, 32, &["found the type TIME"]);
}

#[test]
fn a_statement_that_is_no_view_and_no_insert_is_refused() {
    refused("SELECT 1", 1, 1, &["found `SELECT 1 …`", "CREATE VIEW name AS SELECT"]);
    refused(
        "INSERT INTO totals SELECT ts FROM orders;\n  DROP TABLE orders",
        2,
        3,
        &["`DROP TABLE` is not supported yet"],
    );
    refused("CREATE TABLE t (a INT)", 1, 1, &["`CREATE TABLE` is not supported yet"]);
    refused(
        "CREATE OR REPLACE VIEW v AS SELECT ts FROM orders",
        1,
        1,
        &["accepted is CREATE [TEMPORARY] VIEW name AS"],
    );
    refused("INSERT INTO totals VALUES (1)", 1, 20, &["VALUES is not supported"]);
    refused("INSERT INTO totals SET a = 1", 1, 20, &["expected"]);
    refused("CREATE VIEW orders AS SELECT ts FROM clicks", 1, 13, &["already the name of a source"]);
    refused(
        "CREATE VIEW v AS SELECT ts FROM orders; CREATE VIEW V AS SELECT ts FROM orders",
        1,
        53,
        &["name of a view"],
    );
    refused(
        "INSERT INTO totals SELECT ts FROM orders;\nINSERT INTO totals SELECT ts FROM stores",
        2,
        13,
        &["sink `totals` is already written by the INSERT at line 1, column 1"],
    );
    for nothing in ["", "-- nothing", "CREATE VIEW v AS SELECT ts FROM orders", ";;"] {
        let error = refusal(nothing);
        assert_eq!((error.at, error.to_string().contains("writes to no sink")), (None, true), "{error}");
    }
}

#[test]
fn columns_of_a_sink_have_names_each_its_own() {
    refused(
        "INSERT INTO totals SELECT ts, amount * 2 FROM orders",
        1,
        31,
        &["`amount * 2` has no name", "`amount * 2 AS name`"],
    );
    refused(
        "INSERT INTO totals SELECT amount, store_id AS Amount FROM orders",
        1,
        47,
        &["two columns are called `amount`"],
    );
    refused("INSERT INTO totals SELECT *, ts FROM orders", 1, 30, &["two columns are called `ts`"]);
    refused("INSERT INTO totals (a, b) SELECT ts FROM orders", 1, 27, &["names 2 columns, this SELECT has 1"]);
    refused("INSERT INTO totals (a) SELECT * FROM orders", 1, 24, &["names 1 columns, this SELECT has 5"]);
    refused("INSERT INTO totals (a, A) SELECT ts, amount FROM orders", 1, 24, &["named twice"]);
    refused("INSERT INTO totals SELECT regexp_match(note, 'a') AS m FROM orders", 1, 20, &["column `m`", "CAST it"]);
    refused("INSERT INTO totals SELECT NULL AS n FROM orders", 1, 20, &["column `n` is of type null"]);
}

#[test]
fn arguments_that_do_not_fit_are_refused_at_the_call() {
    refused("INSERT INTO totals SELECT ts, upper(note, 1) AS u FROM orders", 1, 31, &["upper"]);
    refused("INSERT INTO totals SELECT ts, store_id + sqrt(note) AS u FROM orders", 1, 42, &["sqrt"]);
    refused("INSERT INTO totals SELECT ts FROM orders WHERE note", 1, 48, &["string"]);
    refused(
        "INSERT INTO totals SELECT ts FROM orders\nWHERE store_id > 1 AND seconds(ts) > 1",
        2,
        24,
        &["no function `seconds`"],
    );
    refused("INSERT INTO totals SELECT seen + 1 AS s FROM clicks", 1, 27, &["boolean"]);
    refused(&format!("INSERT INTO totals SELECT sum(note) AS s {WINDOW} GROUP BY window_start"), 1, 27, &["sum"]);
    refused("INSERT INTO totals SELECT CAST(note AS BLORB) AS s FROM orders", 1, 32, &["BLORB"]);
}

#[test]
fn a_function_of_the_clock_or_of_chance_is_refused() {
    for function in ["now()", "random()", "current_date", "CURRENT_TIMESTAMP", "uuid()", "current_time"] {
        refused(
            &format!("INSERT INTO totals SELECT ts, {function} AS x FROM orders"),
            1,
            31,
            &["gives another value each time it runs", "rows replayed after a failure would differ"],
        );
    }
}

#[test]
fn clauses_without_a_meaning_for_streams_are_refused_at_their_keyword() {
    let cases: [(&str, u64, &[&str]); 22] = [
        ("SELECT ts FROM orders JOIN stores ON true", 43, &["JOIN is not supported", "TUMBLE"]),
        ("SELECT ts FROM orders, stores", 44, &["found a second relation"]),
        ("SELECT ts FROM orders UNION ALL SELECT ts FROM stores", 43, &["UNION is not supported"]),
        ("SELECT ts FROM orders ORDER BY ts", 43, &["ORDER BY is not supported"]),
        ("SELECT ts FROM orders LIMIT 3", 43, &["LIMIT, OFFSET and FETCH are not supported"]),
        ("SELECT ts FROM orders OFFSET 3", 43, &["LIMIT, OFFSET and FETCH are not supported"]),
        ("SELECT DISTINCT ts FROM orders", 28, &["SELECT DISTINCT is not supported", "ROW_NUMBER()"]),
        ("SELECT ts FROM orders WHERE ts IN (SELECT ts FROM stores)", 49, &["a subquery in an expression"]),
        ("SELECT (SELECT 1) AS a FROM orders", 29, &["a subquery in an expression"]),
        ("SELECT ts FROM orders WHERE EXISTS (SELECT 1)", 57, &["a subquery in an expression"]),
        ("SELECT 1 AS a", 21, &["reads nothing"]),
        ("SELECT * EXCEPT (ts) FROM orders", 28, &["accepted"]),
        ("SELECT rank() OVER (PARTITION BY order_id ORDER BY ts) AS r FROM orders", 28, &["`rank` is not supported"]),
        ("SELECT sum(amount) OVER (PARTITION BY order_id) AS r FROM orders", 28, &["`sum(…) OVER (…)`"]),
        ("SELECT ts FROM orders WINDOW w AS (PARTITION BY ts)", 43, &["WINDOW is not supported"]),
        ("WITH RECURSIVE r AS (SELECT ts FROM orders) SELECT ts FROM r", 21, &["WITH RECURSIVE"]),
        ("WITH r (a) AS (SELECT ts FROM orders) SELECT a FROM r", 26, &["columns after a WITH name"]),
        ("SELECT ts FROM orders AS o (a, b)", 46, &["columns after an alias"]),
        ("SELECT ts FROM orders WHERE ts > $1", 54, &["parameter `$1`"]),
        ("SELECT ts FROM HOP(TABLE orders, DESCRIPTOR(ts), 1, 2)", 36, &["windows of HOP are not supported yet"]),
        ("SELECT ts FROM UNNEST(note)", 36, &["accepted after FROM"]),
        ("SELECT tumble(ts, 1) AS t FROM orders", 28, &["TUMBLE is accepted after FROM"]),
    ];
    for (sql, column, words) in cases {
        refused(&format!("INSERT INTO totals {sql}"), 1, column - 1, words);
    }
}

#[test]
fn an_aggregate_needs_a_window() {
    let words = ["needs a window", "FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY window_start"];
    refused("INSERT INTO totals\nSELECT store_id, sum(amount) AS s FROM orders\nGROUP BY store_id", 3, 10, &words);
    refused("INSERT INTO totals SELECT count(*) AS n FROM orders", 1, 27, &words);
    refused(&format!("INSERT INTO totals SELECT store_id, count(*) AS n {WINDOW} GROUP BY store_id"), 1, 123, &words);
    let again = format!(
        "CREATE VIEW m AS SELECT window_start, window_end, count(*) AS n {WINDOW} GROUP BY window_start, window_end;\n\
         INSERT INTO totals SELECT window_start, sum(n) AS n FROM m GROUP BY window_start"
    );
    refused(&again, 2, 69, &["over the results of windows is not supported yet"]);
}

#[test]
fn what_a_window_cannot_aggregate_is_refused() {
    let cases: [(&str, u64, &[&str]); 12] = [
        (
            "SELECT stddev(store_id) AS s {W} GROUP BY window_start",
            27,
            &["`stddev` is not supported", "avg, count, max, min, sum"],
        ),
        (
            "SELECT sum(DISTINCT store_id) AS s {W} GROUP BY window_start",
            27,
            &["DISTINCT is accepted in count(DISTINCT"],
        ),
        ("SELECT count(store_id, ts) AS s {W} GROUP BY window_start", 27, &["takes one argument, found 2"]),
        ("SELECT sum(*) AS s {W} GROUP BY window_start", 27, &["`sum`"]),
        ("SELECT sum(count(*)) AS s {W} GROUP BY window_start", 31, &["inside another aggregate"]),
        (
            "SELECT count(*) AS s {W} WHERE sum(amount) > 1 GROUP BY window_start",
            110,
            &["SELECT list and after HAVING only"],
        ),
        ("SELECT note, count(*) AS s {W} GROUP BY window_start", 27, &["note"]),
        ("SELECT count(*) AS s {W} GROUP BY window_time", 113, &["GROUP BY window_time is not supported"]),
        ("SELECT count(*) AS s {W} GROUP BY CUBE (window_start)", 119, &["CUBE"]),
        ("SELECT count(*) AS s {W} GROUP BY ALL", 104, &["GROUP BY ALL"]),
        (
            "SELECT count(*) AS s {W} GROUP BY window_start, wndow_end",
            127,
            &["`wndow_end` (did you mean `window_end`?)"],
        ),
        ("SELECT upper(DISTINCT note) AS s FROM orders", 27, &["`upper` is no aggregate"]),
    ];
    for (sql, column, words) in cases {
        refused(&format!("INSERT INTO totals {}", sql.replace("{W}", WINDOW)), 1, column, words);
    }
}

#[test]
fn the_arguments_of_tumble_are_checked_one_by_one() {
    let cases: [(&str, u64, &[&str]); 14] = [
        ("TABLE orders, DESCRIPTOR(ts)", 36, &["takes 3 arguments, found 2", "accepted is TUMBLE(TABLE t,"]),
        (
            "TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '1' SECOND",
            94,
            &["with an offset is not supported"],
        ),
        ("orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE", 43, &["found `orders` as the first argument"]),
        ("TABLE ordres, DESCRIPTOR(ts), INTERVAL '1' MINUTE", 49, &["`ordres` (did you mean `orders`?)"]),
        ("TABLE orders, ts, INTERVAL '1' MINUTE", 57, &["found `ts` as the second argument"]),
        ("TABLE orders, DESCRIPTOR(tz), INTERVAL '1' MINUTE", 68, &["no column `tz`", "`ts`"]),
        (
            "TABLE orders, DESCRIPTOR(note), INTERVAL '1' MINUTE",
            68,
            &["not the event time of `orders`; accepted is DESCRIPTOR(ts)"],
        ),
        (
            "TABLE stores, DESCRIPTOR(ts), INTERVAL '1' MINUTE",
            68,
            &["`stores` has no event time; set `watermark` on the source"],
        ),
        ("TABLE orders, DESCRIPTOR(ts), 60", 73, &["found `60` as the length"]),
        ("TABLE orders, DESCRIPTOR(ts), INTERVAL '0' MINUTE", 73, &["not above zero"]),
        ("TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MONTH", 73, &["found `INTERVAL '1' MONTH` as the length"]),
        ("TABLE orders, DESCRIPTOR(ts), INTERVAL 'x' DAY", 73, &["found `INTERVAL 'x' DAY` as the length"]),
        ("TABLE orders, DESCRIPTOR(ts), INTERVAL '99999999999999' DAY", 73, &["too long"]),
        (
            "DATA => TABLE orders, TIME => DESCRIPTOR(ts), SIZE => INTERVAL '1' DAY",
            65,
            &["no argument `time` (did you mean `timecol`?)"],
        ),
    ];
    for (args, column, words) in cases {
        let sql = format!("INSERT INTO totals SELECT window_start FROM TUMBLE({args})");
        refused(&sql, 1, column + 9, words);
    }
    let twice = format!(
        "CREATE VIEW w AS SELECT * {WINDOW};\nINSERT INTO totals SELECT ts FROM TUMBLE(TABLE w, DESCRIPTOR(ts), INTERVAL '1' DAY)"
    );
    refused(&twice, 2, 35, &["already has a column `window_start`"]);
    let over = format!(
        "CREATE VIEW m AS SELECT window_end AS e, count(*) AS n {WINDOW} GROUP BY window_start, window_end;\n\
         INSERT INTO totals SELECT n FROM TUMBLE(TABLE m, DESCRIPTOR(e), INTERVAL '1' DAY)"
    );
    refused(&over, 2, 61, &["a window over windows is not supported"]);
    let lost = "CREATE VIEW m AS SELECT date_trunc('hour', ts) AS ts FROM orders;\n\
         INSERT INTO totals SELECT ts FROM TUMBLE(TABLE m, DESCRIPTOR(ts), INTERVAL '1' DAY)";
    refused(lost, 2, 62, &["must keep the column `ts` as it is"]);
}

#[test]
fn a_row_number_is_for_deduplication_only() {
    let cases: [(&str, u64, &[&str]); 13] = [
        ("SELECT order_id FROM {R}", 45, &["the first row of each key only", "WHERE rn = 1"]),
        ("SELECT order_id FROM {R} WHERE rn = 2", 45, &["`WHERE rn = 1`"]),
        ("SELECT order_id FROM {R} WHERE rn <= 2", 45, &["`WHERE rn = 1`"]),
        ("SELECT order_id FROM {R} WHERE rn >= 1", 45, &["`WHERE rn = 1`"]),
        ("SELECT order_id FROM {R} WHERE rn = 1 OR amount > 1", 45, &["`WHERE rn = 1`"]),
        ("SELECT order_id FROM {R} WHERE amount > 1", 45, &["`WHERE rn = 1`"]),
        (
            "SELECT ts FROM (SELECT ts, ROW_NUMBER() OVER (ORDER BY ts) AS rn FROM orders) WHERE rn = 1",
            47,
            &["has no PARTITION BY"],
        ),
        (
            "SELECT ts FROM (SELECT ts, ROW_NUMBER() OVER (PARTITION BY order_id) AS rn FROM orders) WHERE rn = 1",
            47,
            &["one ORDER BY column"],
        ),
        (
            "SELECT ts FROM (SELECT ts, ROW_NUMBER() OVER (PARTITION BY order_id ORDER BY ts DESC) AS rn FROM orders) WHERE rn = 1",
            97,
            &["accepted is ASC, the first row"],
        ),
        (
            "SELECT ts FROM (SELECT ts, ROW_NUMBER() OVER (PARTITION BY order_id ORDER BY amount) AS rn FROM orders) WHERE rn = 1",
            97,
            &["`amount` is not the event time of `orders`; accepted is ORDER BY ts"],
        ),
        (
            "SELECT ts FROM (SELECT ts, ROW_NUMBER() OVER (PARTITION BY store_id ORDER BY ts) AS rn FROM stores) WHERE rn = 1",
            97,
            &["source `stores` has none, set `watermark` on it"],
        ),
        ("SELECT ROW_NUMBER() AS rn FROM orders", 27, &["accepted is ROW_NUMBER() OVER (PARTITION BY key"]),
        (
            "SELECT ts FROM orders WHERE ROW_NUMBER() OVER (PARTITION BY ts ORDER BY ts) = 1",
            48,
            &["after QUALIFY only"],
        ),
    ];
    for (sql, column, words) in cases {
        let sql = format!("INSERT INTO totals {}", sql.replace("{R}", RANKED));
        // Inside RANKED the function stands 11 characters after its parenthesis.
        let column = if sql.contains(RANKED) { sql.find("ROW_NUMBER").unwrap() as u64 + 1 } else { column };
        refused(&sql, 1, column, words);
    }
}

#[test]
fn types_that_no_column_has_are_refused() {
    for written in ["DECIMAL(10,-2)", "DECIMAL(39,0)", "DECIMAL(5,7)", "DECIMAL(0,0)", "DECIMAL(40)"] {
        let sql = format!("INSERT INTO totals SELECT CAST(amount AS {written}) AS x FROM orders");
        refused(&sql, 1, 32, &["found the type DECIMAL(", "DECIMAL(p, s) with p up to 38 and s from 0 to p"]);
    }
}

#[test]
fn operators_that_are_not_supported_are_found_where_they_stand() {
    for (written, operator) in [
        ("amount DIV 2", "DIV"),
        ("amount << 2", "<<"),
        ("amount >> 2", ">>"),
        ("amount # 2", "#"),
        ("ts && ts", "&&"),
        ("note ^@ note", "^@"),
    ] {
        let sql = format!("INSERT INTO totals SELECT {written} AS x FROM orders");
        let column = sql.find(operator).unwrap() as u64 + 1;
        refused(
            &sql,
            1,
            column,
            &[&format!("found the operator {operator}, which is not supported; accepted are + -")],
        );
    }
    for operator in ["@>", "<@"] {
        let sql = format!("INSERT INTO totals SELECT note {operator} 'a' AS x FROM orders");
        refused(&sql, 1, 27, &[&format!("found the operator {operator}, which is not supported")]);
    }
    refused(
        "INSERT INTO totals SELECT N'abc' AS x FROM orders",
        1,
        27,
        &["found N'abc'; accepted is the text without"],
    );
}

#[test]
fn a_key_that_is_the_same_for_every_row_is_refused_where_it_stands() {
    for (key, select) in [("'x'", ""), ("1.5", ""), ("true", ""), ("region", "'eu' AS region, "), ("2", "'eu' AS r, ")]
    {
        let sql = format!(
            "INSERT INTO totals SELECT window_start, {select}COUNT(*) AS n {WINDOW} GROUP BY window_start, {key}"
        );
        let column = sql.len() - key.len() + 1;
        refused(&sql, 1, column as u64, &[&format!("found `{key}` after GROUP BY, which is the same for every row")]);
    }
    for key in ["5", "0"] {
        let sql =
            format!("INSERT INTO totals SELECT window_start, COUNT(*) AS n {WINDOW} GROUP BY window_start, {key}");
        refused(
            &sql,
            1,
            sql.len() as u64,
            &[&format!("found {key} after GROUP BY"), "places in the SELECT list, 1 to 2"],
        );
    }
}

#[test]
fn from_unixtime_with_a_pattern_is_refused() {
    refused(
        "INSERT INTO totals SELECT from_unixtime(amount, 'yyyy-MM-dd') AS x FROM orders",
        1,
        27,
        &["accepted are from_unixtime(seconds)", "DATE_FORMAT of that with a pattern"],
    );
}
