use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
        StringArray, StringViewArray, TimestampMillisecondArray, TimestampSecondArray,
    },
    datatypes::SchemaRef,
};
use tidegate::{
    checkpoint::{
        CommitPermit, record,
        store::{Store, memory::MemoryStore},
    },
    ids::{Attempt, Epoch, Seq},
    sink::{Chunk, ChunkId, Preflight, Publisher, SinkError, clickhouse::ClickHousePublisher},
};
use tidegate_crds::{ClickHouseSink, Delivery};
use tidegate_tests::{
    counterparts::{
        ClickHouse, Toxiproxy, clickhouse,
        toxiproxy::{Direction, Toxic},
    },
    skip::is_named,
};

const COLUMNS: &str = "window_start DateTime64(3, 'UTC'), store_id Int64, total Decimal(22, 2)";
const WINDOW: &str = "SETTINGS non_replicated_deduplication_window = 10000";

fn name(test: &str) -> String {
    format!("{test}_{}", std::process::id())
}

async fn table(server: &ClickHouse, test: &str, rest: &str) -> String {
    let name = name(test);
    server.query(&format!("CREATE TABLE {name} {rest}")).await.unwrap();
    name
}

fn publisher_at(url: &str, table: &str, delivery: Delivery) -> ClickHousePublisher {
    let spec = ClickHouseSink {
        url: url.to_owned(),
        database: "default".to_owned(),
        table: table.to_owned(),
        user: None,
        password: None,
    };
    ClickHousePublisher::new("sales", "spec.sinks[0]", &spec, delivery, 200).unwrap()
}

fn publisher(server: &ClickHouse, table: &str, delivery: Delivery) -> ClickHousePublisher {
    publisher_at(server.url(), table, delivery)
}

fn sales(windows: std::ops::Range<i64>) -> RecordBatch {
    let times = TimestampMillisecondArray::from_iter_values(windows.clone().map(|n| 1_767_225_600_000 + n * 60_000));
    let totals = Decimal128Array::from_iter_values(windows.clone().map(|n| i128::from(n) * 101));
    RecordBatch::try_from_iter([
        ("window_start", Arc::new(times.with_timezone("UTC")) as ArrayRef),
        ("store_id", Arc::new(Int64Array::from_iter_values(windows)) as ArrayRef),
        ("total", Arc::new(totals.with_precision_and_scale(22, 2).unwrap()) as ArrayRef),
    ])
    .unwrap()
}

fn chunk(epoch: u64, index: u32, rows: Vec<RecordBatch>) -> Chunk {
    let id = ChunkId { lineage: "lineage".into(), sink: "sales".into(), slot: 0, epoch: Epoch(epoch), index };
    Chunk { id, schema: rows[0].schema(), rows, checksum: String::new() }
}

fn permit() -> CommitPermit {
    CommitPermit::for_test(Epoch(1))
}

async fn ask(server: &ClickHouse, sql: &str) -> String {
    server.query(sql).await.unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_chunk_published_again_changes_nothing() {
    if is_named(clickhouse::VARIABLE) {
        return;
    }
    let mut server = ClickHouse::start().await.unwrap();
    let table = table(&server, "again", &format!("({COLUMNS}) ENGINE = MergeTree ORDER BY store_id {WINDOW}")).await;
    let sink = publisher(&server, &table, Delivery::ExactlyOnce);
    let first = chunk(1, 0, vec![sales(0..3), sales(3..5)]);
    sink.preflight(&first.schema, 1, Preflight::default()).await.unwrap();
    let equal_rows = chunk(2, 0, vec![sales(0..3), sales(3..5)]);
    for _ in 0..3 {
        sink.publish(&permit(), &first).await.unwrap();
        sink.publish(&permit(), &equal_rows).await.unwrap();
        sink.publish(&permit(), &chunk(2, 1, vec![sales(5..6)])).await.unwrap();
    }
    server.kill_9().unwrap();
    let down = sink.publish(&permit(), &first).await.unwrap_err();
    assert!(matches!(down, SinkError::Failed { .. }), "{down}");
    server.restart().await.unwrap();
    publisher(&server, &table, Delivery::ExactlyOnce).publish(&permit(), &first).await.unwrap();
    let sql = format!("SELECT count(), sum(total), min(window_start), max(window_start) FROM {table}");
    assert_eq!(ask(&server, &sql).await, "11\t25.25\t2026-01-01 00:00:00.000\t2026-01-01 00:05:00.000");
}

#[tokio::test]
async fn who_has_lost_the_job_inserts_nothing_more() {
    let server = ClickHouse::start().await.unwrap();
    let table = table(&server, "lost", &format!("({COLUMNS}) ENGINE = MergeTree ORDER BY store_id {WINDOW}")).await;
    let sink = publisher(&server, &table, Delivery::ExactlyOnce);
    let log = Arc::new(MemoryStore::default());
    let permit = CommitPermit::for_test_in(Epoch(1), log.clone());
    sink.publish(&permit, &chunk(1, 0, vec![sales(0..3)])).await.unwrap();
    log.create(&record::path(Attempt(2), Seq(0)), "{}".into()).await.unwrap();
    sink.publish(&permit, &chunk(2, 0, vec![sales(3..5)])).await.expect_err("a later attempt has begun");
    assert_eq!(ask(&server, &format!("SELECT count() FROM {table}")).await, "3");
}

#[tokio::test]
async fn a_chunk_larger_than_a_block_goes_in_parts_each_once() {
    let server = ClickHouse::start().await.unwrap();
    let table = table(&server, "large", &format!("({COLUMNS}) ENGINE = MergeTree ORDER BY store_id {WINDOW}")).await;
    let sink = publisher(&server, &table, Delivery::ExactlyOnce);
    // The same rows in other batches: a later version may read the log in another way.
    for batches in [vec![sales(0..450_000)], vec![sales(0..7), sales(7..300_000), sales(300_000..450_000)]] {
        sink.publish(&permit(), &chunk(1, 0, batches)).await.unwrap();
    }
    let sql = format!("SELECT count(), uniqExact(store_id) FROM {table}");
    assert_eq!(ask(&server, &sql).await, "450000\t450000");
}

#[tokio::test]
async fn a_chunk_over_many_partitions_is_taken_and_repeated() {
    let server = ClickHouse::start().await.unwrap();
    let engine = "ENGINE = MergeTree PARTITION BY store_id ORDER BY store_id";
    let table = table(&server, "partitions", &format!("({COLUMNS}) {engine} {WINDOW}")).await;
    let sink = publisher(&server, &table, Delivery::ExactlyOnce);
    for _ in 0..2 {
        sink.publish(&permit(), &chunk(1, 0, vec![sales(0..150)])).await.unwrap();
    }
    assert_eq!(ask(&server, &format!("SELECT count() FROM {table}")).await, "150");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_whose_answer_is_lost_is_there_once() {
    let server = ClickHouse::start().await.unwrap();
    let table = table(&server, "lost", &format!("({COLUMNS}) ENGINE = MergeTree ORDER BY store_id {WINDOW}")).await;
    let toxiproxy = Toxiproxy::start().await.unwrap();
    let proxy = toxiproxy.proxy(server.url().trim_start_matches("http://")).await.unwrap();
    let sink = publisher_at(&format!("http://{}", proxy.address()), &table, Delivery::ExactlyOnce);
    let chunk = chunk(1, 0, vec![sales(0..5)]);
    proxy.add("lost", Toxic::LimitData { bytes: 0 }, Direction::ToClient).await.unwrap();
    let lost = sink.publish(&permit(), &chunk).await.unwrap_err();
    assert!(matches!(lost, SinkError::Failed { .. }), "{lost}");
    proxy.remove("lost").await.unwrap();
    sink.publish(&permit(), &chunk).await.unwrap();
    assert_eq!(ask(&server, &format!("SELECT count() FROM {table}")).await, "5");
}

#[tokio::test]
async fn every_type_arrives_as_it_was() {
    let server = ClickHouse::start().await.unwrap();
    let columns = "s String, v LowCardinality(Nullable(String)), b Bool, i Int64, f Float64, d Date32, d16 Date, \
                   m Decimal(38, 4), t DateTime64(6, 'UTC'), t0 DateTime('UTC'), n Nullable(Int32)";
    let table = table(&server, "types", &format!("({columns}) ENGINE = MergeTree ORDER BY s {WINDOW}")).await;
    let array = |array: ArrayRef| array;
    let rows = RecordBatch::try_from_iter_with_nullable([
        ("n", array(Arc::new(Int32Array::from(vec![None, Some(-5)]))), true),
        ("s", array(Arc::new(StringArray::from(vec!["a\n\"ä", "b"]))), false),
        ("v", array(Arc::new(StringViewArray::from(vec![Some("a string longer than twelve"), None]))), true),
        ("b", array(Arc::new(BooleanArray::from(vec![true, false]))), false),
        ("i", array(Arc::new(Int32Array::from(vec![i32::MIN, 7]))), false),
        ("f", array(Arc::new(Float64Array::from(vec![0.1, -1e300]))), false),
        ("d", array(Arc::new(Date32Array::from(vec![-1, 20_000]))), false),
        ("d16", array(Arc::new(Date32Array::from(vec![0, 20_000]))), false),
        ("m", array(Arc::new(Decimal128Array::from(vec![-1234, 5]).with_precision_and_scale(12, 2).unwrap())), false),
        (
            "t",
            array(Arc::new(TimestampMillisecondArray::from(vec![-1, 1_767_225_600_123]).with_timezone("UTC"))),
            false,
        ),
        ("t0", array(Arc::new(TimestampSecondArray::from(vec![0, 1_767_225_600]).with_timezone("UTC"))), false),
    ])
    .unwrap();
    let sink = publisher(&server, &table, Delivery::ExactlyOnce);
    sink.preflight(&rows.schema(), 1, Preflight::default()).await.unwrap();
    sink.publish(&permit(), &chunk(1, 0, vec![rows])).await.unwrap();
    let found = ask(&server, &format!("SELECT s, v, b, i, f, d, d16, m, t, t0, n FROM {table} ORDER BY s FORMAT JSONCompactEachRow SETTINGS output_format_json_quote_decimals = 1")).await;
    assert_eq!(
        found.replace(", ", ",").lines().collect::<Vec<_>>(),
        [
            r#"["a\n\"ä","a string longer than twelve",true,-2147483648,0.1,"1969-12-31","1970-01-01","-12.34","1969-12-31 23:59:59.999000","1970-01-01 00:00:00",null]"#,
            r#"["b",null,false,7,-1e300,"2024-10-04","2024-10-04","0.05","2026-01-01 00:00:00.123000","2026-01-01 00:00:00",-5]"#,
        ]
    );
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_refused_and_not_bent() {
    let server = ClickHouse::start().await.unwrap();
    let table = table(&server, "unfit", &format!("(n Int64, d Date) ENGINE = MergeTree ORDER BY n {WINDOW}")).await;
    let sink = publisher(&server, &table, Delivery::ExactlyOnce);
    for (n, d) in [(None, 0), (Some(1), 80_000), (Some(1), -1)] {
        let columns: [(&str, ArrayRef, bool); 2] =
            [("n", Arc::new(Int64Array::from(vec![n])), true), ("d", Arc::new(Date32Array::from(vec![d])), false)];
        let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let error = sink.publish(&permit(), &chunk(1, 0, vec![rows])).await.expect_err(&format!("{n:?} {d}"));
        assert!(matches!(error, SinkError::Refused { .. }), "{n:?} {d}: {error}");
    }
    assert_eq!(ask(&server, &format!("SELECT count() FROM {table}")).await, "0");
}

#[tokio::test]
async fn the_newest_row_of_a_key_stays_with_idempotent_delivery() {
    let server = ClickHouse::start().await.unwrap();
    let columns = "(store_id Int64, total Decimal(22, 2), update_time DateTime64(3, 'UTC'))";
    let table =
        table(&server, "idempotent", &format!("{columns} ENGINE = ReplacingMergeTree(update_time) ORDER BY store_id"))
            .await;
    let rows = |total: i128, time: i64| {
        let batch: [(&str, ArrayRef); 3] = [
            ("store_id", Arc::new(Int64Array::from(vec![1]))),
            ("total", Arc::new(Decimal128Array::from(vec![total]).with_precision_and_scale(22, 2).unwrap())),
            ("update_time", Arc::new(TimestampMillisecondArray::from(vec![time]).with_timezone("UTC"))),
        ];
        RecordBatch::try_from_iter(batch).unwrap()
    };
    let sink = publisher(&server, &table, Delivery::Idempotent);
    sink.preflight(&rows(0, 0).schema(), 1, Preflight::default()).await.unwrap();
    for (epoch, total, time) in [(1, 100, 1), (2, 250, 2), (1, 100, 1)] {
        sink.publish(&permit(), &chunk(epoch, 0, vec![rows(total, time)])).await.unwrap();
    }
    assert_eq!(ask(&server, &format!("SELECT total FROM {table} FINAL")).await, "2.5");
}

async fn refusal(server: &ClickHouse, table: &str, delivery: Delivery, schema: &SchemaRef) -> String {
    match publisher(server, table, delivery).preflight(schema, 1, Preflight::default()).await.unwrap_err() {
        SinkError::Refused { message, .. } => message,
        other => panic!("not a refusal: {other}"),
    }
}

#[tokio::test]
async fn an_unfit_table_is_refused_with_the_statement_that_fixes_it() {
    let server = ClickHouse::start().await.unwrap();
    let schema = sales(0..1).schema();
    let exactly = Delivery::ExactlyOnce;
    let plain = table(&server, "plain", &format!("({COLUMNS}) ENGINE = MergeTree ORDER BY store_id")).await;
    let message = refusal(&server, &plain, exactly, &schema).await;
    assert!(message.contains("non_replicated_deduplication_window = 0"), "{message}");
    // The statement is one that runs, and that helps.
    let (_, statement) = message.split_once("Run: ").unwrap();
    server.query(statement).await.unwrap();
    publisher(&server, &plain, exactly).preflight(&schema, 1, Preflight::default()).await.unwrap();

    let short = table(
        &server,
        "short",
        &format!("(window_start DateTime64(3, 'UTC'), store_id Int64) ENGINE = MergeTree ORDER BY store_id {WINDOW}"),
    )
    .await;
    let message = refusal(&server, &short, exactly, &schema).await;
    let (_, statement) = message.split_once("or run: ").unwrap();
    server.query(statement).await.unwrap();
    publisher(&server, &short, exactly).preflight(&schema, 1, Preflight::default()).await.unwrap();

    let extra = table(
        &server,
        "extra",
        &format!("({COLUMNS}, region LowCardinality(String)) ENGINE = MergeTree ORDER BY store_id {WINDOW}"),
    )
    .await;
    let message = refusal(&server, &extra, exactly, &schema).await;
    let (_, statement) = message.split_once("or run: ").unwrap();
    server.query(statement).await.unwrap();
    publisher(&server, &extra, exactly).preflight(&schema, 1, Preflight::default()).await.unwrap();

    let memory = table(&server, "memory", &format!("({COLUMNS}) ENGINE = Memory")).await;
    let message = refusal(&server, &memory, exactly, &schema).await;
    let (_, statement) = message.split_once("create one: ").unwrap();
    server.query(&format!("DROP TABLE {memory}")).await.unwrap();
    server.query(&statement.replace("<key>", "store_id").replace("Nullable(Int64)", "Int64")).await.unwrap();
    publisher(&server, &memory, exactly).preflight(&schema, 1, Preflight::default()).await.unwrap();

    let message = refusal(&server, &plain, Delivery::Idempotent, &schema).await;
    assert!(message.contains("ReplacingMergeTree(<version>)"), "{message}");
    let message = refusal(&server, &plain.replace("plain", "plane"), exactly, &schema).await;
    assert!(
        message.contains("there is no table") && message.contains(&format!("did you mean `{plain}`?")),
        "{message}"
    );
}
