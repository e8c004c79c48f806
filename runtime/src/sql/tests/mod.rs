//! Statements in, graphs or refusals out.

mod aggregates;
mod arithmetic;
mod conditions;
mod durations;
mod execute;
mod graphs;
mod mangled;
mod names;
mod refusals;
mod run;
mod times;
mod touching;
mod views;
mod words;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::{Catalog, CatalogSource, SqlError, plan};
use crate::graph::{NodeKind, StreamGraph};

/// The main job: orders once each, their sums by store and minute, to two sinks.
const STORE_SALES: &str = "
CREATE TEMPORARY VIEW deduplicated AS
SELECT order_id, store_id, amount, ts
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY order_id ORDER BY ts ASC) AS rn FROM orders)
WHERE rn = 1;

CREATE VIEW totals_by_minute AS
SELECT window_start, window_end, store_id, count(*) AS orders, sum(amount) AS total
FROM TUMBLE(TABLE deduplicated, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
GROUP BY window_start, window_end, store_id;

INSERT INTO totals SELECT window_start, store_id, orders, total FROM totals_by_minute;
INSERT INTO alerts SELECT window_start, store_id, total FROM totals_by_minute WHERE total > 1000;
";

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect::<Vec<_>>()))
}

fn catalog() -> Catalog {
    let source = |name: &str, columns: &[(&str, DataType)], event_time: Option<&str>| CatalogSource {
        name: name.into(),
        schema: schema(columns),
        event_time: event_time.map(str::to_owned),
    };
    Catalog {
        sources: vec![
            source(
                "orders",
                &[
                    ("order_id", DataType::Utf8),
                    ("store_id", DataType::Int64),
                    ("amount", DataType::Decimal128(12, 2)),
                    ("note", DataType::Utf8),
                    ("ts", timestamp()),
                ],
                Some("ts"),
            ),
            source(
                "clicks",
                &[
                    ("userId", DataType::Int32),
                    ("Page", DataType::Utf8),
                    ("at", DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))),
                    ("seen", DataType::Boolean),
                    ("score", DataType::Float64),
                    ("day", DataType::Date32),
                    ("raw", DataType::Binary),
                ],
                Some("at"),
            ),
            source("stores", &[("store_id", DataType::Int64), ("ts", timestamp())], None),
        ],
        sinks: vec!["totals".into(), "alerts".into(), "archive".into()],
    }
}

fn graph(sql: &str) -> StreamGraph {
    plan(sql, &catalog()).unwrap_or_else(|error| panic!("{error}\nin {sql}"))
}

fn refusal(sql: &str) -> SqlError {
    match plan(sql, &catalog()) {
        Ok(graph) => panic!("planned as\n{graph}\nbut should have been refused: {sql}"),
        Err(error) => error,
    }
}

fn ids(graph: &StreamGraph) -> Vec<&str> {
    graph.nodes.iter().map(|node| node.id.0.as_str()).collect()
}

fn columns(graph: &StreamGraph, id: &str) -> Vec<(String, DataType)> {
    let node = graph.nodes.iter().find(|node| node.id.0 == id).unwrap_or_else(|| panic!("no {id} in\n{graph}"));
    node.schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
}

fn named<'a>(graph: &'a StreamGraph, id: &str) -> &'a NodeKind {
    &graph.nodes.iter().find(|node| node.id.0 == id).unwrap_or_else(|| panic!("no {id} in\n{graph}")).kind
}
