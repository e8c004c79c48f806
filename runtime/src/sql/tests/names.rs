//! What state is named by: durable words, which a new version of the engine must not change.

use super::*;
use crate::graph::Called;

fn called(call: &str) -> String {
    let graph = graph(&format!(
        "INSERT INTO totals SELECT {call} AS x FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
         GROUP BY window_start, window_end"
    ));
    let NodeKind::WindowAggregate(window) = named(&graph, "window-orders-60000ms") else { panic!("no window") };
    window.called.iter().map(Called::text).collect::<Vec<_>>().join("; ")
}

#[test]
fn an_aggregate_is_called_by_what_is_written() {
    let cases = [
        ("COUNT(*)", "count(1)"),
        ("COUNT(DISTINCT Order_Id)", "count(DISTINCT order_id)"),
        ("SUM(amount)", "sum(amount)"),
        ("AVG(store_id)", "avg(store_id)"),
        ("SUM(store_id * 2 + 1)", "sum((store_id * 2) + 1)"),
        ("SUM(store_id * (2 + 1))", "sum(store_id * (2 + 1))"),
        ("SUM(amount * 1.5)", "sum(amount * 1.5)"),
        ("SUM(-store_id)", "sum((- store_id))"),
        ("MAX(upper(note))", "max(upper(note))"),
        ("MIN(coalesce(note, 'it''s'))", "min(coalesce(note, 'it''s'))"),
        ("MIN(substring(note FROM 2 FOR 3))", "min(substr(note, 2, 3))"),
        ("MAX(note || order_id)", "max(note || order_id)"),
        ("SUM(CAST(note AS INT))", "sum(CAST(note AS Int32))"),
        ("SUM(CAST(amount AS INT))", "sum(CAST(amount AS Int32))"),
        ("SUM(CAST(store_id AS DOUBLE))", "sum(store_id)"),
        ("SUM(CAST(CAST(store_id AS FLOAT) AS DOUBLE))", "sum(CAST(store_id AS Float32))"),
        ("SUM(CAST(3.0 AS INT) + CAST(3.7 AS INT))", "sum(3.0 + CAST(3.7 AS Int32))"),
        ("MAX(CASE WHEN note = 'x' THEN store_id ELSE 0 END)", "max(CASE WHEN (note = 'x') THEN store_id ELSE 0 END)"),
        ("MAX(CASE store_id WHEN 1 THEN amount END)", "max(CASE store_id WHEN 1 THEN amount END)"),
        (
            "SUM(amount) FILTER (WHERE store_id > 5 AND note IS NOT NULL)",
            "sum(CASE WHEN ((store_id > 5) AND (note IS NOT NULL)) THEN amount END)",
        ),
        ("SUM(amount) FILTER (WHERE note LIKE 'a%')", "sum(CASE WHEN (note LIKE 'a%') THEN amount END)"),
        (
            "SUM(amount) FILTER (WHERE store_id BETWEEN 1 AND 2)",
            "sum(CASE WHEN (store_id BETWEEN 1 AND 2) THEN amount END)",
        ),
        ("SUM(amount) FILTER (WHERE NOT store_id = 3)", "sum(CASE WHEN (NOT (store_id = 3)) THEN amount END)"),
        ("SUM(amount) FILTER (WHERE store_id IN (1, 2))", "sum(CASE WHEN (store_id IN ([1, 2])) THEN amount END)"),
        ("MAX(extract(hour FROM ts))", "max(date_part('HOUR', ts))"),
    ];
    for (call, expected) in cases {
        assert_eq!(called(call), expected, "{call}");
    }
}

#[test]
fn a_name_of_a_column_is_never_taken_for_an_expression() {
    let catalog = Catalog {
        sources: vec![CatalogSource {
            name: "odd".into(),
            schema: schema(&[
                ("a * b", DataType::Int64),
                ("a", DataType::Int64),
                ("b", DataType::Int64),
                ("ts", timestamp()),
            ]),
            event_time: Some("ts".into()),
        }],
        sinks: vec!["totals".into()],
    };
    let sql = "INSERT INTO totals SELECT SUM(\"a * b\") AS x, SUM(a * b) AS y
               FROM TUMBLE(TABLE odd, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY window_start, window_end";
    let graph = plan(sql, &catalog).unwrap();
    let NodeKind::WindowAggregate(window) = named(&graph, "window-odd-60000ms") else { panic!("no window") };
    let called: Vec<String> = window.called.iter().map(Called::text).collect();
    assert_eq!(called, ["sum(\"a * b\")", "sum(a * b)"]);
}
