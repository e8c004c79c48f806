use std::sync::Arc;

use arrow::{
    array::{Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    ipc::reader::StreamReader,
};
use clickhouse::error::Error;
use tidegate_crds::Delivery;

use super::{
    blocks::{ROWS, cut, encode},
    error::lasting,
    fit::{ColumnFacts, Facts, judge},
    types::accepts,
};
use crate::{
    ids::Epoch,
    sink::{Chunk, ChunkId},
};

fn sales() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("window_start", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false),
        Field::new("store_id", DataType::Int64, true),
        Field::new("total", DataType::Decimal128(22, 2), true),
    ]))
}

fn facts(engine_full: &str, columns: &[(&str, &str)]) -> Facts {
    let engine = engine_full.split(['(', ' ']).next().unwrap().to_owned();
    let column = |(name, kind): &(&str, &str)| {
        let (kind, default_kind) = kind.split_once('=').unwrap_or((kind, ""));
        ColumnFacts { name: (*name).into(), kind: kind.into(), default_kind: default_kind.into() }
    };
    Facts {
        database: "shop".into(),
        table: "sales".into(),
        engine,
        engine_full: engine_full.into(),
        sorting_key: "window_start, store_id".into(),
        columns: columns.iter().map(column).collect(),
        defaults: [
            ("non_replicated_deduplication_window".into(), 0),
            ("replicated_deduplication_window".into(), 10_000),
            ("replicated_deduplication_window_seconds".into(), 3600),
        ]
        .into(),
        deduplicate_insert: Some("enable".into()),
    }
}

const GOOD: [(&str, &str); 3] =
    [("window_start", "DateTime64(3, 'UTC')"), ("store_id", "Int64"), ("total", "Nullable(Decimal(38, 2))")];

#[test]
fn a_fit_table_is_taken_and_an_unfit_one_refused_with_what_fixes_it() {
    use Delivery::{ExactlyOnce, Idempotent};
    let with = |change: &[(&'static str, &'static str)]| {
        let mut columns = GOOD.to_vec();
        for (name, kind) in change {
            columns.retain(|column| column.0 != *name);
            if !kind.is_empty() {
                columns.push((name, kind));
            }
        }
        columns
    };
    let plain = "MergeTree ORDER BY (window_start, store_id) SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 4000";
    let replacing =
        "ReplacingMergeTree(store_id_version) ORDER BY (window_start, store_id) SETTINGS index_granularity = 8192";
    for (engine, delivery, columns, words) in [
        (plain, ExactlyOnce, with(&[]), ""),
        (plain, ExactlyOnce, with(&[("note", "String=DEFAULT"), ("extra", "Nullable(String)")]), ""),
        (
            "MergeTree ORDER BY x SETTINGS index_granularity = 8192",
            ExactlyOnce,
            with(&[]),
            "ALTER TABLE `shop`.`sales` MODIFY SETTING non_replicated_deduplication_window = 4000",
        ),
        (
            "ReplicatedMergeTree('/p', 'r') ORDER BY x",
            ExactlyOnce,
            with(&[]),
            "MODIFY SETTING replicated_deduplication_window_seconds = 604800",
        ),
        (
            "ReplicatedMergeTree('/p', 'r') ORDER BY x SETTINGS replicated_deduplication_window_seconds = 1000000",
            ExactlyOnce,
            with(&[]),
            "",
        ),
        (
            "Memory",
            ExactlyOnce,
            with(&[]),
            "CREATE TABLE `shop`.`sales` (`window_start` DateTime64(3, 'UTC'), `store_id` Nullable(Int64), `total` Nullable(Decimal(22, 2))) ENGINE = MergeTree ORDER BY (<key>) SETTINGS non_replicated_deduplication_window = 4000, allow_nullable_key = 1",
        ),
        (plain, Idempotent, with(&[]), "ReplacingMergeTree(<version>)"),
        ("ReplacingMergeTree ORDER BY x", Idempotent, with(&[]), "without a version column"),
        (
            replacing,
            Idempotent,
            with(&[]),
            "does not put out `store_id_version`; it puts out `window_start`, `store_id`, `total`",
        ),
        ("ReplacingMergeTree(total) ORDER BY x", Idempotent, with(&[]), ""),
        ("ReplicatedReplacingMergeTree('/a', '{replica}', total) ORDER BY x", Idempotent, with(&[]), ""),
        ("ReplacingMergeTree(store_id) ORDER BY x", Idempotent, with(&[]), "no row ever replaces another"),
        (
            plain,
            ExactlyOnce,
            with(&[("total", ""), ("totl", "Decimal(38, 2)")]),
            "no column `total` (did you mean `totl`?)",
        ),
        (plain, ExactlyOnce, with(&[("total", "Decimal(38, 1)")]), "at least 20 digits before and 2 after the point"),
        (plain, ExactlyOnce, with(&[("total", "Float64")]), "MODIFY COLUMN `total` Nullable(Decimal(22, 2))"),
        (plain, ExactlyOnce, with(&[("store_id", "UInt64")]), "accepted are Int64"),
        (plain, ExactlyOnce, with(&[("window_start", "DateTime")]), "DateTime64(3, 'UTC')"),
        (plain, ExactlyOnce, with(&[("total", "Decimal(38, 2)=ALIAS")]), "is ALIAS and can't be written"),
        (
            plain,
            ExactlyOnce,
            with(&[("region", "String")]),
            "MODIFY COLUMN `region` DEFAULT defaultValueOfTypeName('String')",
        ),
    ] {
        let verdict = judge(&facts(engine, &columns), &sales(), delivery, 400);
        match verdict {
            Ok(()) => assert_eq!(words, "", "{engine} {columns:?}"),
            Err(message) => assert!(!words.is_empty() && message.contains(words), "{engine} {columns:?}: {message}"),
        }
    }
}

#[test]
fn a_user_whose_repeats_are_stored_is_refused() {
    let engine = "MergeTree ORDER BY x SETTINGS non_replicated_deduplication_window = 100000";
    let facts = Facts { deduplicate_insert: Some("disable".into()), ..facts(engine, &GOOD) };
    let message = judge(&facts, &sales(), Delivery::ExactlyOnce, 1).unwrap_err();
    assert!(message.contains("ALTER USER <user> SETTINGS deduplicate_insert = 'enable'"), "{message}");
}

#[test]
fn types_go_into_what_holds_them() {
    for (kind, found, fits) in [
        (DataType::Utf8View, "LowCardinality(Nullable(String))", true),
        (DataType::Utf8, "Enum8('a' = 1)", true),
        (DataType::Int32, "Int64", true),
        (DataType::Int64, "Int32", false),
        (DataType::Boolean, "Bool", true),
        (DataType::Date32, "Date", true),
        (DataType::Float64, "Float32", false),
        (DataType::Decimal128(12, 2), "Decimal(9, 2)", false),
        (DataType::Decimal128(12, 2), "Decimal(13, 3)", true),
        (DataType::Decimal128(12, 2), "Decimal(12, 3)", false),
        (DataType::Decimal128(12, 2), "Decimal64(2)", true),
        (DataType::Decimal128(12, 2), "Decimal(9)", false),
        (DataType::Decimal128(12, 2), "SimpleAggregateFunction(sum, Decimal(38, 2))", true),
        (DataType::Timestamp(TimeUnit::Microsecond, None), "DateTime64(3)", false),
        (DataType::Timestamp(TimeUnit::Second, None), "DateTime('UTC')", true),
        (DataType::Int64, "String", false),
        (DataType::Interval(arrow::datatypes::IntervalUnit::DayTime), "String", false),
    ] {
        assert_eq!(accepts(&kind, found), fits, "{kind} into {found}");
    }
}

fn chunk(rows: &[usize]) -> Chunk {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
    let mut next = 0;
    let batches = rows.iter().map(|rows| {
        let values: Vec<i64> = (next..next + *rows as i64).collect();
        next += *rows as i64;
        RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(values))]).unwrap()
    });
    let id = ChunkId { lineage: "j".into(), sink: "s".into(), slot: 1, epoch: Epoch(2), index: 0 };
    Chunk { id, rows: batches.collect(), schema, checksum: String::new() }
}

#[test]
fn a_chunk_is_cut_at_the_same_rows_however_it_is_batched() {
    let sizes = |rows: &[usize]| {
        let pieces = cut(&chunk(rows));
        pieces
            .into_iter()
            .map(|(token, piece)| (token, piece.iter().map(RecordBatch::num_rows).sum()))
            .collect::<Vec<(String, usize)>>()
    };
    assert_eq!(sizes(&[5, 0, 7]), [("j/s/1/2/0".to_owned(), 12)]);
    assert_eq!(sizes(&[ROWS]), [("j/s/1/2/0".to_owned(), ROWS)]);
    assert_eq!(sizes(&[]), []);
    let expected = [("j/s/1/2/0#0".to_owned(), ROWS), ("j/s/1/2/0#1".to_owned(), ROWS), ("j/s/1/2/0#2".to_owned(), 1)];
    for batches in [
        vec![2 * ROWS + 1],
        vec![1, 2 * ROWS],
        vec![ROWS - 1, 2, ROWS],
        vec![ROWS / 2; 4].into_iter().chain([1]).collect(),
    ] {
        assert_eq!(sizes(&batches), expected);
    }
}

#[test]
fn a_block_is_one_batch_of_plain_types() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("v", DataType::Utf8View, true)]));
    let batch = |text: &str| {
        let array = arrow::array::StringViewArray::from(vec![Some(text), None]);
        RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(array)]).unwrap()
    };
    let bytes = encode(&[batch("a"), batch("b")], &schema).unwrap();
    let batches: Vec<RecordBatch> = StreamReader::try_new(&bytes[..], None).unwrap().map(Result::unwrap).collect();
    assert_eq!((batches.len(), batches[0].num_rows()), (1, 4));
    assert_eq!(batches[0].schema().field(0).data_type(), &DataType::Utf8);
}

#[test]
fn an_error_lasts_when_the_table_is_at_fault() {
    let said = |text: &str| Error::BadResponse(text.to_owned());
    assert!(lasting(&said("Code: 60. DB::Exception: Table shop.sales does not exist. (UNKNOWN_TABLE)")).is_some());
    assert!(lasting(&said("Code: 349. DB::Exception: Cannot convert NULL value")).is_some());
    assert!(lasting(&said("Code: 252. DB::Exception: Too many parts. (TOO_MANY_PARTS)")).is_none());
    assert!(lasting(&said("Code: 241. DB::Exception: Memory limit exceeded")).is_none());
    assert!(lasting(&said("bad gateway")).is_none());
    assert!(lasting(&Error::TimedOut).is_none());
}
