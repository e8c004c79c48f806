use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::ipc::writer::StreamWriter;
use tidegate_tests::counterparts::{ClickHouse, Error, clickhouse};
use tidegate_tests::skip::is_named;

use super::leftovers::Traces;

/// A table of one test, with a deduplication window.
async fn table(server: &ClickHouse, name: &str, columns: &str, partition: &str) -> String {
    let name = format!("{name}_{}", std::process::id());
    let sql = format!(
        "CREATE TABLE {name} ({columns}) ENGINE = MergeTree {partition} ORDER BY id \
         SETTINGS non_replicated_deduplication_window = 1000"
    );
    server.query(&sql).await.unwrap();
    name
}

/// Inserts record batches as one stream with a token.
async fn insert(server: &ClickHouse, table: &str, token: &str, batches: &[RecordBatch]) {
    let sql = format!("INSERT INTO {table} FORMAT ArrowStream");
    let settings = [("insert_deduplication_token", token)];
    server.insert(&sql, &settings, stream(batches)).await.unwrap();
}

fn stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.into_inner().unwrap()
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn ids(ids: &[i64]) -> RecordBatch {
    batch(vec![("id", Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef)])
}

async fn all(server: &ClickHouse, table: &str) -> String {
    let sql = format!("SELECT * FROM {table} ORDER BY ALL FORMAT CSV");
    server.query(&sql).await.unwrap().replace('\n', " ")
}

#[tokio::test]
async fn a_repeated_token_is_dropped_also_after_a_crash() {
    let mut server = ClickHouse::start().await.unwrap();
    let name = table(&server, "crash", "id Int64", "").await;
    insert(&server, &name, "a", &[ids(&[1, 2])]).await;
    insert(&server, &name, "a", &[ids(&[1, 2])]).await;
    assert_eq!(all(&server, &name).await, "1 2 ");

    if is_named(clickhouse::VARIABLE) {
        return;
    }
    let traces = Traces::of(server.pid());
    server.kill_9().unwrap();
    server.query("SELECT 1").await.unwrap_err();
    server.restart().await.unwrap();
    insert(&server, &name, "a", &[ids(&[1, 2])]).await;
    insert(&server, &name, "b", &[ids(&[3])]).await;
    assert_eq!(all(&server, &name).await, "1 2 3 ");
    drop(server);
    assert!(traces.are_gone());
}

#[tokio::test]
async fn a_token_counts_per_partition_and_per_way_of_cutting() {
    let server = ClickHouse::start().await.unwrap();

    let name = table(&server, "parts", "id Int64", "PARTITION BY id % 3").await;
    insert(&server, &name, "a", &[ids(&[0, 3])]).await;
    insert(&server, &name, "a", &[ids(&[0, 1, 2, 3])]).await; // adds what was not there
    insert(&server, &name, "a", &[ids(&[0, 1, 2, 3])]).await;
    assert_eq!(all(&server, &name).await, "0 1 2 3 ");

    let name = table(&server, "cuts", "id Int64", "").await;
    insert(&server, &name, "a", &[ids(&[1]), ids(&[2])]).await;
    insert(&server, &name, "a", &[ids(&[1]), ids(&[2])]).await;
    assert_eq!(all(&server, &name).await, "1 2 ");
    insert(&server, &name, "a", &[ids(&[1, 2])]).await; // cut otherwise: not a repeat
    assert_eq!(all(&server, &name).await, "1 1 2 2 ");
}

#[tokio::test]
async fn arrow_decimals_and_instants_arrive_exactly() {
    let server = ClickHouse::start().await.unwrap();
    let columns = "id Int64, price Decimal(18, 4), at DateTime64(3, 'UTC'), second DateTime('UTC')";
    let name = table(&server, "types", columns, "").await;
    let price = Decimal128Array::from(vec![-123_456_789_012]).with_precision_and_scale(18, 4);
    let at = TimestampMillisecondArray::from(vec![1_767_323_045_678]).with_timezone("UTC");
    let row = batch(vec![
        ("id", Arc::new(Int64Array::from(vec![7])) as ArrayRef),
        ("price", Arc::new(price.unwrap())),
        ("at", Arc::new(at.clone())),
        ("second", Arc::new(at)),
    ]);
    insert(&server, &name, "a", &[row]).await;
    let stored = all(&server, &name).await;
    let expected = "7,-12345678.9012,\"2026-01-02 03:04:05.678\",\"2026-01-02 03:04:05\" ";
    assert_eq!(stored, expected);

    let about = format!(
        "SELECT engine, sorting_key, engine_full LIKE '%deduplication_window = 1000%', \
         create_table_query LIKE '%Decimal(18, 4)%' FROM system.tables WHERE name = '{name}'"
    );
    assert_eq!(server.query(&about).await.unwrap(), "MergeTree\tid\t1\t1\n");
    let about = format!("SELECT name, type FROM system.columns WHERE table = '{name}' LIMIT 2");
    assert_eq!(server.query(&about).await.unwrap(), "id\tInt64\nprice\tDecimal(18, 4)\n");
}

#[tokio::test]
async fn an_error_carries_the_code_and_the_text_of_clickhouse() {
    let server = ClickHouse::start().await.unwrap();
    let error = server.query("SELECT * FROM nowhere").await.unwrap_err();
    let Error::Refused { status, message, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(status, 404);
    assert!(message.starts_with("Code: 60. DB::Exception: "), "{message}");

    // A setting is for one statement only.
    let name = table(&server, "settings", "id Int64", "").await;
    insert(&server, &name, "a", &[ids(&[1])]).await;
    let token = server.query("SELECT getSetting('insert_deduplication_token')").await;
    assert_eq!(token.unwrap(), "\n");
}
