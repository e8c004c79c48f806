//! Maps and window columns over a small batch: the values.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
        TimestampNanosecondArray,
    },
    compute::filter_record_batch,
    util::pretty::pretty_format_batches,
};
use datafusion_common::{ScalarValue, config::ConfigOptions};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, col};

use super::*;
use crate::{
    graph::Node,
    sql::tumble::{Edge, tumble},
};

fn orders() -> RecordBatch {
    let amounts = Decimal128Array::from(vec![Some(1050), Some(200), None, Some(-125)]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["a", "b", "c", "d"])),
        Arc::new(Int64Array::from(vec![1, 2, 1, 3])),
        Arc::new(amounts.with_precision_and_scale(12, 2).unwrap()),
        Arc::new(StringArray::from(vec![Some("Late"), None, Some("later"), Some("on time")])),
        Arc::new(TimestampMillisecondArray::from(vec![0, 59_999, 60_000, -1]).with_timezone("UTC")),
    ];
    RecordBatch::try_new(catalog().sources[0].schema.clone(), columns).unwrap()
}

/// Runs the maps of a graph that has nothing else, over what its source decodes.
fn run(sql: &str) -> RecordBatch {
    let graph = graph(sql);
    let mut batch = orders();
    for node in &graph.nodes {
        batch = match &node.kind {
            NodeKind::Source { projection, .. } => batch.project(projection).unwrap(),
            NodeKind::Map { .. } => map(node, &batch),
            NodeKind::Sink { .. } => batch,
            other => panic!("{other:?}"),
        };
        assert_eq!(batch.schema(), node.schema);
    }
    batch
}

fn map(node: &Node, batch: &RecordBatch) -> RecordBatch {
    let NodeKind::Map { predicate, columns } = &node.kind else { panic!("no map") };
    let kept = match predicate {
        None => batch.clone(),
        Some(predicate) => {
            let keep = predicate.evaluate(batch).unwrap().into_array(batch.num_rows()).unwrap();
            filter_record_batch(batch, keep.as_any().downcast_ref::<BooleanArray>().unwrap()).unwrap()
        }
    };
    let Some(columns) = columns else { return kept };
    let columns =
        columns.iter().map(|expr| expr.evaluate(&kept).unwrap().into_array(kept.num_rows()).unwrap()).collect();
    RecordBatch::try_new(node.schema.clone(), columns).unwrap()
}

#[track_caller]
fn prints(sql: &str, rows: &[&str]) {
    let printed = pretty_format_batches(&[run(sql)]).unwrap().to_string();
    let found: Vec<String> = printed
        .lines()
        .skip(3)
        .filter(|line| !line.starts_with('+'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|"))
        .collect();
    assert_eq!(found, rows, "{sql}\n{printed}");
}

#[test]
fn a_map_keeps_and_computes_rows() {
    prints(
        "INSERT INTO totals SELECT order_id, amount * 1.1 AS gross, upper(note) AS note FROM orders
         WHERE store_id IN (1, 3) AND note LIKE '%at%'",
        &["a|11.550|LATE", "c||LATER"],
    );
    prints(
        "INSERT INTO totals SELECT CASE WHEN amount > 5 THEN 'much' WHEN amount < 0 THEN 'back' ELSE 'some' END AS size,
         coalesce(note, '-') AS note, CAST(store_id AS VARCHAR) || order_id AS id FROM orders
         WHERE store_id BETWEEN 1 AND 2 OR note IS NULL",
        &["much|Late|1a", "some|-|2b", "some|later|1c"],
    );
    prints(
        "INSERT INTO totals SELECT extract(minute FROM ts) AS m, substring(order_id FROM 1 FOR 1) AS s, abs(store_id - 2) AS d
         FROM orders WHERE ts >= '1970-01-01T00:00:30Z'",
        &["0|b|0", "1|c|1"],
    );
}

#[test]
fn a_decimal_that_meets_a_double_is_one() {
    // As decimals these would be too large, and zero.
    let (much, little) =
        ("CAST(store_id AS DOUBLE) * CAST('1e300' AS DOUBLE)", "CAST(store_id AS DOUBLE) * CAST('1e-20' AS DOUBLE)");
    prints(
        &format!(
            "INSERT INTO totals SELECT order_id, {much} > 0.5 AS a, {much} IN (0.5, 1) AS b, {little} BETWEEN 0.0 AND 0.5 AS c,
             coalesce({little}, 0.5) > 0 AS d, amount < {much} AS e, {little} * 0.5 > 0 AS f FROM orders"
        ),
        &["a|true|false|true|true|true|true", "b|true|false|true|true|true|true", "c|true|false|true|true||true",
          "d|true|false|true|true|true|true"],
    );
    let sql = "INSERT INTO totals SELECT CASE WHEN score > 0.5 THEN score ELSE 0.25 END AS a, score + 0.1 AS b,
               coalesce(score, 0.5) AS c, nullif(0.1, score) AS d FROM clicks";
    let kinds: Vec<DataType> = columns(&graph(sql), "sink-totals").into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(kinds, vec![DataType::Float64; 4]);
}

#[test]
fn views_over_views_give_the_same_rows() {
    prints(
        "CREATE VIEW kept AS SELECT order_id AS id, amount, store_id + 1 AS next FROM orders WHERE amount IS NOT NULL;
         WITH twice AS (SELECT id, next * next AS square, amount FROM kept WHERE next > 2)
         INSERT INTO totals SELECT square - 1 AS s, square AS q, id FROM twice WHERE square < 16",
        &["8|9|b"],
    );
}

#[test]
fn a_row_without_aggregates_has_its_window() {
    prints(
        "INSERT INTO totals SELECT order_id, window_start, window_end, window_time
         FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE) WHERE window_end <= '1970-01-01T00:01:00Z'",
        &[
            "a|1970-01-01T00:00:00Z|1970-01-01T00:01:00Z|1970-01-01T00:00:59.999Z",
            "b|1970-01-01T00:00:00Z|1970-01-01T00:01:00Z|1970-01-01T00:00:59.999Z",
            "d|1969-12-31T23:59:00Z|1970-01-01T00:00:00Z|1969-12-31T23:59:59.999Z",
        ],
    );
}

#[test]
fn a_window_begins_at_or_before_its_rows_in_any_unit() {
    let datafusion_expr::Expr::ScalarFunction(call) = tumble(Edge::Start, col("ts"), 10) else { panic!("no call") };
    let times: ArrayRef =
        Arc::new(TimestampNanosecondArray::from(vec![Some(0), Some(-1), Some(10_000_000), Some(9_999_999), None]));
    let field = Arc::new(Field::new("ts", times.data_type().clone(), true));
    let size = ScalarValue::Int64(Some(10));
    let result = call
        .func
        .invoke_with_args(ScalarFunctionArgs {
            args: vec![ColumnarValue::Array(times), ColumnarValue::Scalar(size.clone())],
            arg_fields: vec![field, Arc::new(Field::new("size", DataType::Int64, false))],
            number_rows: 5,
            return_field: Arc::new(Field::new("start", timestamp(), true)),
            config_options: Arc::new(ConfigOptions::default()),
        })
        .unwrap()
        .into_array(5)
        .unwrap();
    let starts = TimestampMillisecondArray::from(vec![Some(0), Some(-10), Some(10), Some(0), None]);
    assert_eq!(result.as_ref(), &starts.with_timezone("UTC") as &dyn arrow::array::Array);
}

/// What a statement does not read stands before it, since another one does.
#[test]
fn a_condition_is_of_its_own_columns_whatever_else_is_read_of_the_source() {
    let columns = [("a", "bigint"), ("b", "bigint"), ("c", "bigint")];
    let records = [r#"{"a":9,"b":9,"c":0}"#, r#"{"a":0,"b":0,"c":9}"#];
    let sql = "INSERT INTO alerts SELECT c FROM t WHERE c > 1; INSERT INTO totals SELECT a, b, c FROM t";
    assert_eq!(super::run::run(&columns, &records, sql), Ok(vec![r#"{"c":9}"#.to_owned()]));
}

#[test]
fn a_pad_of_a_length_below_zero_is_empty() {
    let columns = [("ts", "timestamp(3)"), ("k", "string"), ("i", "bigint")];
    let records = [r#"{"ts":1,"k":"ab","i":-1}"#, r#"{"ts":2,"k":"ab","i":3}"#, r#"{"ts":3,"k":"ab","i":null}"#];
    let sql = "INSERT INTO totals SELECT lpad(k, i, 'x') AS l, rpad(k, i) AS r, lpad('a', i, 'xy') AS c FROM t";
    let expected =
        [r#"{"l":"","r":"","c":""}"#, r#"{"l":"xab","r":"ab ","c":"xya"}"#, r#"{"l":null,"r":null,"c":null}"#];
    assert_eq!(super::run::run(&columns, &records, sql), Ok(expected.map(str::to_owned).to_vec()));
}
