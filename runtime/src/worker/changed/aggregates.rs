//! Aggregates that are added, taken out and moved.

use super::*;

const COLUMNS: &[(&str, &str)] =
    &[("ts", "timestamp(3)"), ("a", "bigint"), ("b", "bigint"), ("c", "bigint"), ("d", "bigint"), ("k", "string")];

fn sql(calls: &str) -> String {
    format!(
        "INSERT INTO totals SELECT {calls} FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)\n\
         GROUP BY window_start, window_end"
    )
}

fn record(a: i64, b: i64, c: i64, d: i64) -> String {
    format!(r#"{{"ts":1000,"a":{a},"b":{b},"c":{c},"d":{d},"k":"x"}}"#)
}

/// Three rows before the change, one after it: what comes out.
async fn play(old: (&[(&str, &str)], &str), new: (&[(&str, &str)], &str)) -> Result<String, String> {
    let mut job = Version { columns: old.0, sql: old.1, more: "" }.start();
    job.read(&[&record(2, 10, 1, 5), &record(3, 10, 2, 6), &record(4, 10, 3, 7)], None);
    let saved = job.save().await;
    let mut job = Version { columns: new.0, sql: new.1, more: "" }.go_on(&saved).await?;
    job.read(&[&record(5, 10, 4, 1)], None);
    Ok(values(&job.finish("totals")).join("; "))
}

#[tokio::test]
async fn each_aggregate_goes_on_whatever_is_computed_beside_it() {
    // Sums of a*b: 90 and 50; of c*d: 38 and 4; c alone: 6 and 4; the largest d: 7 and 1.
    let cases = [
        ("SUM(a * b) AS x", "SUM(a * b) AS x, MAX(d) AS y", "140|1"),
        ("SUM(a * b) AS x, SUM(c * d) AS y", "SUM(c * d) AS y", "42"),
        ("SUM(a * b) AS x, SUM(c * d) AS y", "SUM(c * d) AS y, SUM(a * b) AS x", "140|42"),
        ("SUM(a * b) AS x, SUM(c * d) AS y", "SUM(a * b) AS x, SUM(a) AS z, SUM(c * d) AS y", "140|42|5"),
        ("SUM(a) FILTER (WHERE c > 1) AS x", "SUM(a) FILTER (WHERE c > 1) AS x, SUM(b) AS y", "12|10"),
        ("SUM(a) FILTER (WHERE c > 1) AS x, SUM(a) FILTER (WHERE c > 2) AS y", "SUM(a) FILTER (WHERE c > 2) AS y", "9"),
        ("COUNT(*) FILTER (WHERE c > 1) AS x", "MAX(c) AS z, COUNT(*) FILTER (WHERE c > 1) AS x", "3|4"),
        // Another product is another aggregate.
        ("SUM(a * b) AS x", "SUM(a * c) AS x", "20"),
        ("COUNT(DISTINCT a % 2) AS x, COUNT(DISTINCT c) AS y", "COUNT(DISTINCT c) AS y", "4"),
    ];
    for (old, new, expected) in cases {
        let played = play((COLUMNS, &sql(old)), (COLUMNS, &sql(new))).await;
        assert_eq!(played.as_deref(), Ok(expected), "{old} to {new}");
    }
}

#[tokio::test]
async fn the_order_of_columns_and_the_names_that_views_give_them_do_not_matter() {
    let moved: Vec<(&str, &str)> = COLUMNS.iter().rev().copied().collect();
    let calls = "SUM(a * b) AS x, SUM(c * d) AS y, SUM(b) FILTER (WHERE a > 2) AS z";
    let expected = Ok("140|42|30".to_owned());
    assert_eq!(play((COLUMNS, &sql(calls)), (&moved, &sql(calls))).await, expected);
    let view =
        "CREATE VIEW named AS SELECT k, d AS four, a * b AS product, b AS two, c AS three, ts, a AS one FROM orders;\n";
    let renamed = sql("SUM(product) AS x, SUM(three * four) AS y, SUM(two) FILTER (WHERE one > 2) AS z")
        .replace("TABLE orders", "TABLE orders_in");
    // The relation that a window reads is part of its name.
    let views = |select: &str| format!("CREATE VIEW orders_in AS SELECT {select} FROM orders;\n");
    let old = views("*") + &sql(calls).replace("TABLE orders", "TABLE orders_in");
    let new = view.to_owned() + "CREATE VIEW orders_in AS SELECT * FROM named;\n" + &renamed;
    assert_eq!(play((COLUMNS, &old), (&moved, &new)).await, expected);
}

#[tokio::test]
async fn a_change_that_nobody_can_carry_out_exactly_is_refused_by_name() {
    let cases = [
        ("SUM(a / 2) AS x", "SUM(CAST(a AS DOUBLE) / 2) AS x", "`sum(a / 2)` was computed of bigint and is of double"),
        ("SUM(CAST(a AS DOUBLE)) AS x", "SUM(a) AS x", "`sum(a)` was computed of double and is of bigint"),
        ("SUM(CAST(a AS INT)) AS x", "SUM(a) AS x", "`sum(a)` differs from it in casts only"),
    ];
    for (old, new, told) in cases {
        let error = play((COLUMNS, &sql(old)), (COLUMNS, &sql(new))).await.unwrap_err();
        assert!(error.contains(told) && error.contains("window-orders-60000ms"), "{error}");
    }
}

#[tokio::test]
async fn a_key_that_is_computed_otherwise_is_refused_though_its_name_stays() {
    let grouped = "SELECT key, COUNT(*) AS n FROM TUMBLE(TABLE v, DESCRIPTOR(ts), INTERVAL '1' MINUTE)\n\
                   GROUP BY window_start, window_end, key";
    let first =
        "SELECT key, a FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY key ORDER BY ts) AS n FROM v) WHERE n = 1";
    for select in [grouped, first] {
        let sql = |key: &str| {
            format!("CREATE VIEW v AS SELECT {key} AS key, a, ts FROM orders;\nINSERT INTO totals {select}")
        };
        let kept = play((COLUMNS, &sql("c")), (COLUMNS, &sql("orders.c"))).await;
        assert!(kept.is_ok(), "{kept:?}");
        let error = play((COLUMNS, &sql("c")), (COLUMNS, &sql("d"))).await.unwrap_err();
        assert!(error.contains("its keys were c, and are d"), "{error}");
    }
}
