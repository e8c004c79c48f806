//! A table that recognises an insert by its token, as ClickHouse does.

use std::collections::{BTreeMap, BTreeSet};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Decimal128Type, Int64Type, SchemaRef, TimeUnit, TimestampMillisecondType},
};
use async_trait::async_trait;
use tidegate::{
    checkpoint::{CommitPermit, destination::Destination},
    ids::Epoch,
    sink::{Chunk, Preflight, Publisher, SinkError},
};

use super::{
    faults::Moment,
    world::{Outlet, Pid, Shared, World},
};

#[derive(Debug, Default)]
pub struct Table {
    tokens: BTreeSet<String>,
    /// By lane, the epoch and chunk that came last.
    newest: BTreeMap<String, (Epoch, u32)>,
    /// By job and sink, with their epochs, in the reference's words.
    pub rows: BTreeMap<String, Vec<(Epoch, String)>>,
}

#[derive(Debug)]
pub struct TablePublisher {
    pub world: Shared,
    pub pid: Pid,
    /// Of the job's store.
    pub root: &'static str,
    pub sink: String,
}

impl TablePublisher {
    async fn ask(&self, action: &str, serve: impl FnOnce(&mut World) + Send + 'static) -> Result<(), SinkError> {
        let answered = self.world.lock().request(Outlet::Table, self.pid, action, serve);
        answered.await.ok().flatten().ok_or_else(|| SinkError::Failed {
            sink: self.sink.clone(),
            action: action.to_owned(),
            cause: "no answer".into(),
        })
    }
}

#[async_trait]
impl Publisher for TablePublisher {
    fn destination(&self) -> Destination {
        Destination::from([("sink".to_owned(), self.sink.clone())])
    }

    async fn preflight(&self, _: &SchemaRef, _: u32, _: Preflight) -> Result<(), SinkError> {
        self.ask("look at the table", |_| ()).await
    }

    async fn publish(&self, permit: &CommitPermit, chunk: &Chunk) -> Result<(), SinkError> {
        assert!(chunk.id.epoch <= permit.epoch(), "a permit covers its own epoch and earlier ones");
        let (token, rows) = (chunk.id.to_string(), rows(chunk));
        let (epoch, index) = (chunk.id.epoch, chunk.id.index);
        let (root, sink) = (self.root, format!("{}{}", self.root, self.sink));
        let lane = format!("{}/{}/{}", chunk.id.lineage, chunk.id.sink, chunk.id.slot);
        let insert = move |world: &mut World| {
            world.publishes_for(root, epoch);
            let is_new = world.table.tokens.insert(token.clone());
            world.note(format_args!("insert {token}: {}", if is_new { rows.len() } else { 0 }));
            if is_new {
                let rows = rows.into_iter().map(|row| (epoch, row));
                world.table.rows.entry(sink).or_default().extend(rows);
                let before = world.table.newest.insert(lane, (epoch, index));
                if let Some(newer) = before.filter(|before| *before >= (epoch, index)) {
                    world.violate(format!("{token} comes after {newer:?} of the same lane"));
                }
            }
        };
        self.ask(&format!("insert {}", chunk.id), insert).await
    }
}

impl World {
    /// Rows of an epoch are about to be seen by others. Where that was given up, a later one owns them. `root` is that of
    /// the job's store.
    pub fn publishes_for(&mut self, root: &str, epoch: Epoch) {
        self.moments.push(Moment::Published);
        if self.owned.get(root).and_then(|owned| owned.range(epoch.0..).next()).is_none() {
            self.violate(format!("epoch {epoch} is published, and nobody owns it"));
        }
    }
}

/// A chunk's rows, in the reference's words.
pub fn rows(chunk: &Chunk) -> Vec<String> {
    chunk.rows.iter().flat_map(words).collect()
}

fn words(batch: &RecordBatch) -> Vec<String> {
    if batch.column_by_name("order_id").is_some() {
        return orders(batch);
    }
    // What came late is read when the run has ended.
    if let Some(records) = batch.column_by_name("record") {
        return records.as_string::<i32>().iter().flatten().map(str::to_owned).collect();
    }
    let column = |name: &str| batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
    let starts = cast(column("window_start"), &DataType::Timestamp(TimeUnit::Millisecond, None)).expect("instants");
    let (starts, stores) =
        (starts.as_primitive::<TimestampMillisecondType>(), column("store_id").as_primitive::<Int64Type>());
    let (totals, orders) =
        (column("total").as_primitive::<Decimal128Type>(), column("orders").as_primitive::<Int64Type>());
    let word = |row| {
        let (start, store) = (starts.value(row), stores.value(row));
        format!("{start} store {store}: {} cents, {} orders", totals.value(row), orders.value(row))
    };
    assert_eq!(totals.null_count() + stores.null_count(), 0, "no column has nulls");
    (0..batch.num_rows()).map(word).collect()
}

fn orders(batch: &RecordBatch) -> Vec<String> {
    let column = |name: &str, kind| {
        let column = batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
        cast(column, &kind).unwrap_or_else(|error| panic!("column {name}: {error}"))
    };
    let (ids, stores) = (column("order_id", DataType::Utf8), column("store_id", DataType::Int64));
    let amounts = column("amount", DataType::Decimal128(12, 2));
    let times = column("ts", DataType::Timestamp(TimeUnit::Millisecond, None));
    let (ids, stores) = (ids.as_string::<i32>(), stores.as_primitive::<Int64Type>());
    let (amounts, times) = (amounts.as_primitive::<Decimal128Type>(), times.as_primitive::<TimestampMillisecondType>());
    let word = |row| {
        let (id, store, cents, ms) = (ids.value(row), stores.value(row), amounts.value(row), times.value(row));
        passed_on(id, store, cents, ms)
    };
    (0..batch.num_rows()).map(word).collect()
}

/// An order that is passed on as it is.
pub fn passed_on(id: &str, store: i64, cents: i128, ms: i64) -> String {
    format!("{id} of store {store}: {cents} cents at {ms}")
}
