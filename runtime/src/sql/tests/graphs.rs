//! Good statements and the graphs they mean.

use super::*;
use crate::graph::{NodeId, Partition, WindowColumn};

#[track_caller]
fn is(sql: &str, expected: &str) {
    let found = graph(sql).to_string();
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let lines: Vec<&str> = found.lines().map(str::trim).collect();
    assert_eq!(lines, expected, "{sql}\n{found}");
}

#[test]
fn two_sinks_share_the_work_of_one_view() {
    let graph = graph(STORE_SALES);
    assert_eq!(
        ids(&graph),
        [
            "source-orders",
            "deduplicate-orders-by-order_id",
            "map-window-deduplicated-by-store_id-60000ms",
            "window-deduplicated-by-store_id-60000ms",
            "map-sink-totals",
            "sink-totals",
            "map-sink-alerts",
            "sink-alerts",
        ]
    );
    assert_eq!(graph.nodes[4].inputs, [NodeId(3)]);
    assert_eq!(graph.nodes[6].inputs, [NodeId(3)]);
    let NodeKind::Source { source, projection } = named(&graph, "source-orders") else { panic!("no source") };
    assert_eq!((source.as_str(), projection.as_slice()), ("orders", [0, 1, 2, 4].as_slice()), "`note` is not decoded");
    let NodeKind::WindowAggregate(window) = named(&graph, "window-deduplicated-by-store_id-60000ms") else {
        panic!("no window")
    };
    assert_eq!((window.size_ms, window.time, window.keys.as_slice()), (60_000, 2, [0].as_slice()));
    assert_eq!(window.source, "orders");
    assert_eq!(
        window.output,
        [WindowColumn::Start, WindowColumn::Key(0), WindowColumn::Aggregate(0), WindowColumn::Aggregate(1)],
        "no sink reads window_end"
    );
    assert_eq!(graph.nodes[1].partition(), Partition::Hash(vec![0]));
    assert_eq!(
        columns(&graph, "sink-totals"),
        [
            ("window_start".into(), timestamp()),
            ("store_id".into(), DataType::Int64),
            ("orders".into(), DataType::Int64),
            ("total".into(), DataType::Decimal128(22, 2)),
        ]
    );
    assert_eq!(
        columns(&graph, "sink-alerts").iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["window_start", "store_id", "total"]
    );
}

#[test]
fn a_query_without_work_is_a_source_and_a_sink() {
    is(
        "INSERT INTO totals SELECT * FROM orders",
        "sink-totals  write totals
        source-orders  read orders, columns [0, 1, 2, 3, 4]",
    );
    is(
        "insert into TOTALS select O.* from (select * from Orders) o;",
        "sink-totals  write totals
        source-orders  read orders, columns [0, 1, 2, 3, 4]",
    );
}

#[test]
fn views_subqueries_and_with_become_one_map() {
    is(
        "CREATE VIEW big AS SELECT order_id AS id, amount, store_id FROM orders WHERE amount > 10;
         WITH near AS (SELECT id, amount FROM big WHERE store_id < 5)
         INSERT INTO totals SELECT id FROM (SELECT id, amount FROM near) WHERE id <> ''",
        "sink-totals  write totals
           map-sink-totals  where amount@2 > 10.00 AND store_id@1 < 5 AND order_id@0 !=  select order_id@0
             source-orders  read orders, columns [0, 1, 2, 4]",
    );
}

#[test]
fn an_unquoted_name_is_of_any_case() {
    let graph = graph("INSERT INTO totals SELECT userid, PAGE, \"Page\" AS Other, \"at\" AS \"When\" FROM Clicks");
    let names: Vec<String> = columns(&graph, "sink-totals").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["userId", "Page", "other", "When"]);
}

#[test]
fn a_column_list_names_what_the_sink_gets() {
    let names =
        |sql: &str| -> Vec<String> { columns(&graph(sql), "sink-totals").into_iter().map(|(name, _)| name).collect() };
    assert_eq!(names("INSERT INTO totals (Id, \"Twice\") SELECT order_id, amount * 2 FROM orders"), ["id", "Twice"]);
    assert_eq!(names("INSERT INTO totals (a, b, c) SELECT *, ts FROM stores"), ["a", "b", "c"]);
    assert_eq!(
        names("INSERT INTO totals (amount, order_id) SELECT order_id, amount FROM orders"),
        ["amount", "order_id"]
    );
}

#[test]
fn every_accepted_aggregate_is_computed_exactly() {
    let graph = graph(
        "INSERT INTO totals SELECT store_id, count(*) AS n, count(note) AS notes, count(DISTINCT order_id) AS ids,
           sum(amount) AS total, avg(amount) AS mean, min(ts) AS first, max(upper(note)) AS top,
           sum(store_id) FILTER (WHERE amount > 5) AS big, sum(amount) / count(*) AS each
         FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '10' SECOND)
         GROUP BY window_start, window_end, store_id HAVING sum(amount) > 10 AND max(amount) < 1000",
    );
    let id = "window-orders-by-store_id-10000ms";
    let NodeKind::WindowAggregate(window) = named(&graph, id) else { panic!("no window") };
    assert_eq!(window.aggregates.len(), 9, "sum, count and the HAVING share\n{graph}");
    for (column, (_, kind)) in window.output.iter().zip(columns(&graph, id)) {
        if let WindowColumn::Aggregate(index) = column {
            let aggregate = &window.aggregates[*index];
            assert_eq!(aggregate.field().data_type(), &kind, "{}", aggregate.name());
            assert!(aggregate.is_distinct() || aggregate.groups_accumulator_supported(), "{}", aggregate.name());
            assert_eq!(aggregate.is_distinct(), aggregate.name().contains("DISTINCT"));
        }
    }
    let kinds: Vec<DataType> = columns(&graph, "sink-totals").into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(
        kinds,
        [
            DataType::Int64,
            DataType::Int64,
            DataType::Int64,
            DataType::Int64,
            DataType::Decimal128(22, 2),
            DataType::Decimal128(16, 6),
            timestamp(),
            DataType::Utf8,
            DataType::Int64,
            DataType::Decimal128(26, 6),
        ]
    );
}

#[test]
fn the_forms_of_tumble_mean_the_same() {
    let forms = [
        "TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)",
        "tumble(table orders, descriptor(ts), interval '60' seconds) AS orders",
        "TABLE(TUMBLE(TABLE Orders, DESCRIPTOR(orders_time), INTERVAL '1 minute'))".replace("orders_time", "TS").leak(),
        "TUMBLE(DATA => TABLE orders, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '1' MINUTE)",
        "(SELECT window_start, window_end FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE))",
    ];
    for form in forms {
        for edges in ["window_start, window_end", "window_end", "window_start"] {
            let graph = graph(&format!("INSERT INTO totals SELECT count(*) AS n FROM {form} GROUP BY {edges}"));
            let NodeKind::WindowAggregate(window) = named(&graph, "window-orders-60000ms") else { panic!("{graph}") };
            assert_eq!(
                (window.size_ms, window.keys.len(), window.output.as_slice()),
                (60_000, 0, [WindowColumn::Aggregate(0)].as_slice())
            );
            let input =
                &graph.nodes[graph.nodes.iter().position(|node| node.id.0 == "window-orders-60000ms").unwrap() - 1];
            let time = input.schema.field(window.time);
            assert!(time.name() == "ts" || time.name() == "window_start", "{form}: {graph}");
        }
    }
}

#[test]
fn a_key_or_an_argument_that_is_no_column_is_computed_before() {
    is(
        "INSERT INTO totals SELECT window_end, lower(note) AS l, sum(store_id * 2) AS s
         FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' HOUR) WHERE store_id > 0 GROUP BY window_end, l",
        "sink-totals  write totals
           map-sink-totals  select window_end@0, lower(orders.note)@1, sum(orders.store_id * Int64(2))@2
             window-orders-by-lower_orders_note_-3600000ms  sum(orders.store_id * Int64(2)) of windows of 3600000 ms by column 0, exchanged by key [1]
               map-window-orders-by-lower_orders_note_-3600000ms  where store_id@0 > 0 select ts@2, lower(note@1), multiply(store_id@0, 2)
                 source-orders  read orders, columns [1, 3, 4]",
    );
}

#[test]
fn the_forms_of_deduplication_mean_the_same() {
    let ranked = "(SELECT *, ROW_NUMBER() OVER (PARTITION BY order_id ORDER BY ts ASC) AS rn FROM orders)";
    let expected = "sink-totals  write totals
        map-sink-totals  select order_id@0, amount@1
          deduplicate-orders-by-order_id  first row by column 2 of each key [0], exchanged by key [0]
            map-deduplicate-orders-by-order_id  select order_id@0, amount@1, ts@2
              source-orders  read orders, columns [0, 2, 4]"
        .replace("            map-deduplicate-orders-by-order_id  select order_id@0, amount@1, ts@2\n", "");
    for filter in ["rn = 1", "rn <= 1", "rn < 2", "1 = rn", "2 > rn", "1 >= rn AND rn = 1"] {
        is(&format!("INSERT INTO totals SELECT order_id, amount FROM {ranked} WHERE {filter}"), &expected);
    }
    is(
        "INSERT INTO totals SELECT order_id, amount FROM orders
         QUALIFY ROW_NUMBER() OVER (PARTITION BY order_id ORDER BY ts) = 1",
        &expected,
    );
    is(
        &format!(
            "CREATE VIEW orders_ranked AS SELECT * FROM {ranked};
         INSERT INTO totals SELECT order_id, amount FROM orders_ranked WHERE rn = 1"
        ),
        &expected.replace("deduplicate-orders-", "deduplicate-orders_ranked-"),
    );
    is(
        &format!(
            "INSERT INTO totals SELECT order_id, rn AS one FROM {ranked} AS firsts WHERE rn = 1 AND amount > 1 AND rn > 0"
        ),
        "sink-totals  write totals
           map-sink-totals  where amount@1 > 1.00 select order_id@0, 1
             deduplicate-firsts-by-order_id  first row by column 2 of each key [0], exchanged by key [0]
               source-orders  read orders, columns [0, 2, 4]",
    );
}

#[test]
fn ids_come_from_names_and_contents_not_from_places() {
    let window = |columns: &str, sink: &str| {
        format!(
            "INSERT INTO {sink} SELECT {columns} FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY window_start;\n"
        )
    };
    let [sums, counts] = [window("sum(amount) AS s", "totals"), window("count(*) AS n", "alerts")];
    let sorted = |sql: String| {
        let graph = graph(&sql);
        let mut ids: Vec<String> = ids(&graph).into_iter().map(str::to_owned).collect();
        ids.sort();
        ids
    };
    let both = sorted(format!("{sums}{counts}"));
    assert_eq!(both, sorted(format!("{counts}{sums}")));
    let windows: Vec<&String> = both.iter().filter(|id| id.starts_with("window-orders-60000ms-")).collect();
    assert_eq!(windows.len(), 2, "{both:?}");
    assert!(
        sorted(format!("{sums}INSERT INTO archive SELECT * FROM clicks")).contains(&"window-orders-60000ms".to_owned())
    );
    let long = sorted(format!(
        "INSERT INTO totals SELECT count(*) AS n FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
         GROUP BY window_start, concat(note, 'ä/{}')",
        "x".repeat(300)
    ));
    for id in long.iter().chain(&both) {
        assert!(id.len() <= 120 && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'), "{id}");
    }
}

#[test]
fn equal_subqueries_are_one_node() {
    let window = "SELECT window_start, count(*) AS n FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY window_start";
    let graph = graph(&format!("INSERT INTO totals {window}; INSERT INTO alerts {window}"));
    assert_eq!(
        ids(&graph),
        ["source-orders", "window-orders-60000ms", "map-sink-totals", "sink-totals", "sink-alerts"]
    );
}

#[test]
fn a_source_that_no_insert_reads_is_left_out() {
    let graph = graph("CREATE VIEW v AS SELECT * FROM clicks; INSERT INTO totals SELECT ts FROM stores");
    assert_eq!(ids(&graph), ["source-stores", "sink-totals"]);
}

#[test]
fn a_long_expression_is_planned() {
    graph(&format!("INSERT INTO totals SELECT ts FROM orders WHERE store_id = 1{}", " OR store_id = 2".repeat(90)));
    graph(&format!("INSERT INTO totals SELECT {}ts{} AS a FROM orders", "(".repeat(20), ")".repeat(20)));
}

#[test]
fn a_result_without_columns_of_its_input_still_counts_rows() {
    is(
        "INSERT INTO totals SELECT 1 AS one FROM stores",
        "sink-totals  write totals
        map-sink-totals  select 1
          source-stores  read stores, columns [0]",
    );
}
