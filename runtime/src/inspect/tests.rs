//! Queries over a checkpoint that was put together by hand: two subtasks of each operator, in memory and on disk.

use arrow::{
    array::{
        ArrayRef, Decimal128Array, FixedSizeBinaryArray, Int64Array, ListArray, RecordBatch, StringArray,
        TimestampMillisecondArray,
    },
    datatypes::Int64Type,
    util::display::{ArrayFormatter, FormatOptions},
};
use serde_json::json;
use tidegate_crds::StateBackend;
use tokio::runtime::Handle;

use super::*;
use crate::{
    checkpoint::{
        manifest::{FileRef, OperatorState, PartRef, StateKind, SubtaskState, TableFile},
        pack::Packer,
        sample,
        store::{
            ObjectPath,
            memory::{Action, Fault, MemoryStore},
        },
    },
    exchange::partition::key_group,
    ids::{Attempt, Epoch, OperatorId, Run},
    state::{
        file,
        table::{Changes, Table as _, group, rocks::RocksTable},
    },
    worker::tables::{Destination, upload},
};

/// A file with these batches, and the parts that they are.
fn parts(store: &MemoryStore, name: &str, kind: &str, batches: &[RecordBatch]) -> Vec<PartRef> {
    let bytes = file::encode(&batches[0].schema(), batches).unwrap();
    let file = FileRef::of(ObjectPath(format!("data/00000001/000000000007/{name}.arrow")), &bytes);
    store.plant(&file.path.0, bytes);
    let part = |(index, batch): (usize, &RecordBatch)| {
        let rows = batch.num_rows() as u64;
        PartRef { kind: kind.into(), tag: 0, rows, file: file.clone(), batch: index as u32 }
    };
    batches.iter().enumerate().map(part).collect()
}

fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn keys(keys: &[(u128, i64)]) -> RecordBatch {
    let hashes = FixedSizeBinaryArray::try_from_iter(keys.iter().map(|(hash, _)| hash.to_le_bytes())).unwrap();
    let times = Int64Array::from_iter_values(keys.iter().map(|(_, time)| *time));
    batch([("key_xxh3_128", Arc::new(hashes)), ("time_ms", Arc::new(times))])
}

fn waiting() -> RecordBatch {
    let times = TimestampMillisecondArray::from(vec![61_000, 62_000]).with_timezone("UTC");
    batch([("order_id", Arc::new(StringArray::from(vec!["x", "y"]))), ("ts", Arc::new(times))])
}

fn partials(rows: &[(i64, &str, i128, i64)]) -> RecordBatch {
    let starts = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
    let stores = StringArray::from_iter_values(rows.iter().map(|row| row.1));
    let sums = Decimal128Array::from_iter_values(rows.iter().map(|row| row.2)).with_precision_and_scale(22, 2).unwrap();
    let counts = Int64Array::from_iter_values(rows.iter().map(|row| row.3));
    let distinct = ListArray::from_iter_primitive::<Int64Type, _, _>(rows.iter().map(|row| Some([Some(row.3)])));
    batch([
        ("window_start", Arc::new(starts)),
        ("store", Arc::new(stores)),
        ("avg(orders.amount)[count]", Arc::new(counts.clone())),
        ("avg(orders.amount)[sum]", Arc::new(sums)),
        ("count(*)[count]", Arc::new(counts)),
        ("count(DISTINCT orders.n)[distinct]", Arc::new(distinct)),
    ])
}

/// A table with these keys, uploaded as those on the local disk are.
async fn table(checkpoint_store: &MemoryStore, backend: &Backend, keys: &[(u128, i64)]) -> Vec<TableFile> {
    let engine = backend.engine().unwrap();
    let mut table = RocksTable::create(&engine, "table").unwrap();
    let mut changes = Changes::default();
    for (hash, time) in keys {
        let key = [&group(key_group(*hash, 128))[..], &hash.to_be_bytes()].concat();
        changes.put(&key, &time.to_le_bytes());
    }
    table.write(&changes).unwrap();
    let frozen = table.freeze(|_| unreachable!("it is not written as rows")).unwrap();
    let packer = Packer::eager(Arc::new(checkpoint_store.clone()), Handle::current());
    let to = Destination { packer: &packer, attempt: Attempt(1), run: Run(1), epoch: Epoch(7), name: "table".into() };
    upload(&to, &frozen).await.unwrap().0.into_iter().map(|(file, _)| file).collect()
}

struct World {
    store: MemoryStore,
    checkpoint: Arc<Checkpoint>,
    _folder: tempfile::TempDir,
}

async fn world() -> World {
    let (store, folder) = (MemoryStore::new(), tempfile::tempdir().unwrap());
    let memory = MemoryLimit::given(64 << 20);
    let backend = Backend::new(StateBackend::RocksDb, folder.path().to_owned(), memory);
    let subtask = |value: serde_json::Value, parts: Vec<PartRef>| SubtaskState { value, parts, table: Vec::new() };
    let operator =
        |id: &str, kind, subtasks| OperatorState { id: OperatorId(id.into()), kind, written_as: None, subtasks };
    let split =
        |name: &str, next: u64| json!({ "splits": [{ "split": name, "next": next, "end": null, "newest": 5 }] });

    // After a rescale two subtasks name the same keys.
    let shared = parts(&store, "a-keys", "keys", &[keys(&[(1, 1_000), (2, 2_000)])]);
    let mut first = shared.clone();
    first.extend(parts(&store, "b-keys", "keys", &[keys(&[(3, 3_000)])]));
    first.extend(parts(&store, "waiting", "waiting", &[waiting()]));
    let windows = json!({
        "watermark": 59_000,
        "sizeMs": 60_000,
        "aggregates": [
            { "computes": "avg(amount)", "states": 2 },
            { "computes": "count(1)", "states": 1 },
            { "computes": "count(DISTINCT n)", "states": 1 },
        ],
    });
    let both = [partials(&[(60_000, "a", 150, 1), (60_000, "b", 275, 2)]), partials(&[(120_000, "a", 5, 1)])];
    let on_disk =
        SubtaskState { table: table(&store, &backend, &[(0xabc, 9_000), (2, 8_000)]).await, ..SubtaskState::default() };
    let mut manifest = sample::manifest(1, 7, Vec::new());
    manifest.operators = vec![
        operator(
            "orders",
            StateKind::Source,
            vec![subtask(split("p-0", 10), vec![]), subtask(split("p-1", 20), vec![])],
        ),
        operator(
            "deduplicate-orders-by-order_id",
            StateKind::Deduplicate,
            vec![subtask(json!({ "watermark": 5 }), first), subtask(json!({ "watermark": i64::MIN }), shared)],
        ),
        operator("deduplicate-on-disk", StateKind::Deduplicate, vec![on_disk]),
        operator(
            "window-orders-by-store-60000ms",
            StateKind::WindowAggregate,
            vec![subtask(windows, parts(&store, "windows", "partial", &both))],
        ),
        operator("window-empty", StateKind::WindowAggregate, vec![subtask(json!({ "watermark": 5 }), vec![])]),
    ];
    let spilled = folder.path().to_owned();
    let checkpoint = Checkpoint { store: Arc::new(store.clone()), manifest, backend, memory, folder: spilled };
    World { store, checkpoint: Arc::new(checkpoint), _folder: folder }
}

impl World {
    async fn ask(&self, sql: &str) -> Result<Vec<String>, String> {
        let asked = async {
            let mut rows = query(self.checkpoint.clone(), sql).await?;
            let mut lines = Vec::new();
            let format = FormatOptions::default().with_null("-");
            while let Some(batch) = rows.next().await? {
                let columns: Vec<ArrayFormatter<'_>> =
                    batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &format).unwrap()).collect();
                let line =
                    |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|");
                lines.extend((0..batch.num_rows()).map(line));
            }
            Ok::<_, QueryError>(lines)
        };
        asked.await.map_err(|error| crate::error_chain(&error))
    }
}

#[tokio::test]
async fn a_query_sees_what_the_manifest_and_the_files_have() {
    let world = world().await;
    let cases: [(&str, &[&str]); 20] = [
        ("SELECT epoch, trigger, max_parallelism FROM checkpoint", &["7|Interval|128"]),
        (
            "SELECT operator, kind, subtasks, rows, local_tables, files FROM operators ORDER BY operator LIMIT 3",
            &[
                "deduplicate-on-disk|Deduplicate|1|0|1|2",
                "deduplicate-orders-by-order_id|Deduplicate|2|7|0|3",
                "orders|Source|2|0|0|0",
            ],
        ),
        ("SELECT split, next, until, newest FROM splits WHERE next > 10", &["p-1|20|-|1970-01-01T00:00:00.005Z"]),
        (
            "SELECT subtask, watermark FROM subtasks WHERE operator LIKE 'dedup%order_id' ORDER BY 1",
            &["0|1970-01-01T00:00:00.005Z", "1|-"],
        ),
        (
            "SELECT holds, count(*) FROM files GROUP BY holds ORDER BY holds",
            &["keys|3", "partial|1", "table|2", "waiting|1"],
        ),
        ("SELECT count(*) FROM chunks", &["0"]),
        ("SELECT count(*) > 10 FROM tables", &["true"]),
        (
            "SELECT * FROM deduplicate_orders_by_order_id_keys ORDER BY time DESC",
            &[
                "0|00000000000000000000000000000003|1970-01-01T00:00:03Z",
                "0|00000000000000000000000000000002|1970-01-01T00:00:02Z",
                "0|00000000000000000000000000000001|1970-01-01T00:00:01Z",
            ],
        ),
        (
            "SELECT key_hash, time FROM deduplicate_on_disk_keys ORDER BY key_hash",
            &[
                "00000000000000000000000000000002|1970-01-01T00:00:08Z",
                "00000000000000000000000000000abc|1970-01-01T00:00:09Z",
            ],
        ),
        ("SELECT order_id FROM deduplicate_orders_by_order_id_waiting WHERE ts >= '1970-01-01T00:01:02Z'", &["y"]),
        ("SELECT * FROM deduplicate_on_disk_waiting", &[]),
        (
            "SELECT * FROM window_orders_by_store_60000ms_partials ORDER BY window_start, store",
            &[
                "0|1970-01-01T00:01:00Z|1970-01-01T00:02:00Z|a|1|1.50|1|[1]",
                "0|1970-01-01T00:01:00Z|1970-01-01T00:02:00Z|b|2|2.75|2|[2]",
                "0|1970-01-01T00:02:00Z|1970-01-01T00:03:00Z|a|1|0.05|1|[1]",
            ],
        ),
        (
            "SELECT store, CAST(sum(avg_amount_sum) AS DOUBLE) / sum(avg_amount_count) AS average, sum(count) AS n
             FROM window_orders_by_store_60000ms_partials GROUP BY store HAVING sum(count) > 1 ORDER BY store",
            &["a|0.775|2", "b|1.375|2"],
        ),
        ("SELECT count(*) FROM window_empty_partials", &["0"]),
        (
            "SELECT k.key_hash FROM deduplicate_orders_by_order_id_keys k JOIN deduplicate_on_disk_keys d
             ON k.key_hash = d.key_hash AND d.time > k.time",
            &["00000000000000000000000000000002"],
        ),
        (
            "WITH newest AS (SELECT max(time) AS at FROM deduplicate_orders_by_order_id_keys)
             SELECT key_hash FROM deduplicate_orders_by_order_id_keys WHERE time = (SELECT at FROM newest)",
            &["00000000000000000000000000000003"],
        ),
        (
            "SELECT count(*) FROM deduplicate_orders_by_order_id_keys
             WHERE key_hash NOT IN (SELECT key_hash FROM deduplicate_on_disk_keys)",
            &["2"],
        ),
        (
            "SELECT count(*) FROM (SELECT key_hash FROM deduplicate_orders_by_order_id_keys
             UNION SELECT key_hash FROM deduplicate_on_disk_keys)",
            &["4"],
        ),
        ("SELECT DISTINCT store FROM window_orders_by_store_60000ms_partials ORDER BY store DESC OFFSET 1", &["a"]),
        ("SELECT 1 + 1 AS two", &["2"]),
    ];
    for (sql, wanted) in cases {
        assert_eq!(world.ask(sql).await.unwrap_or_else(|error| panic!("{sql}\n{error}")), wanted, "{sql}");
    }
}

#[tokio::test]
async fn what_is_no_query_of_these_tables_is_refused_with_what_is_accepted() {
    let world = world().await;
    let cases = [
        ("DELETE FROM files", "found `DELETE FROM …`; accepted is one SELECT: a checkpoint is only read"),
        ("SELECT 1; SELECT 2", "found 2 statements; accepted is one SELECT"),
        ("", "found nothing; accepted is one SELECT"),
        ("SELECT * INTO copy FROM files", "accepted is one SELECT"),
        ("SELEC 1", "Expected"),
        ("SELECT * FROM file", "there is no table `file` (did you mean `files`?); accepted are `checkpoint`, `tables`"),
        ("SELECT sise FROM files", "sise"),
        ("SELECT row_number() OVER () FROM files", "row_number"),
        ("SELECT count(*) FROM files GROUP BY ROLLUP (holds)", "is not supported here; accepted are columns"),
        ("SELECT * FROM (VALUES (1)) AS v", "is not supported here; accepted are columns"),
    ];
    for (sql, message) in cases {
        let said = world.ask(sql).await.expect_err(sql);
        assert!(said.contains(message), "{sql}\nsaid: {said}\nwanted: {message}");
    }
}

#[tokio::test]
async fn files_are_read_when_the_query_comes_to_them() {
    let world = world().await;
    world.store.fail(Action::Get, "b-keys", Fault::Before, u32::MAX);
    let first = world.ask("SELECT key_hash FROM deduplicate_orders_by_order_id_keys LIMIT 2").await.unwrap();
    assert_eq!(first.len(), 2);
    let said = world.ask("SELECT key_hash FROM deduplicate_orders_by_order_id_keys LIMIT 3").await.unwrap_err();
    assert!(said.contains("injected fault"), "{said}");
}

#[tokio::test]
async fn a_file_that_is_gone_or_damaged_is_told_of() {
    let world = world().await;
    let file = "data/00000001/000000000007/b-keys.arrow";
    world.store.plant(file, "not what was written");
    let all = "SELECT count(*) FROM deduplicate_orders_by_order_id_keys";
    let said = world.ask(all).await.unwrap_err();
    assert!(said.contains("is damaged: 20 bytes are there of"), "{said}");
    world.store.remove(file);
    let said = world.ask(all).await.unwrap_err();
    assert!(said.contains("is missing") && said.contains("ask a savepoint"), "{said}");
}
