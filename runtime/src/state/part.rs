//! A part of state, in memory, durable, or both.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::array::{Array, ArrayRef, RecordBatch};

use super::{
    file::{self, FileError},
    spilled::SpilledRows,
    table::rocks::Freezing,
};
use crate::checkpoint::{
    manifest::{FileRef, PartRef},
    store::{ObjectPath, Store},
};

/// Some rows of an operator's state; see the module above.
#[derive(Debug)]
pub struct StatePart {
    /// Which of the operator's collections the rows belong to.
    pub kind: &'static str,
    tag: i64,
    rows: usize,
    /// Nobody reads the rows in this process once they are durable.
    forget: bool,
    place: Mutex<Place>,
    /// Held while the rows are written ahead, so that a barrier waits for it and does not write them again.
    writing: tokio::sync::Mutex<()>,
}

/// Where a part's rows are. They never are nowhere.
#[derive(Debug, Clone)]
enum Place {
    Here(Rows),
    Both(Rows, PartRef),
    Durable(PartRef),
}

/// Rows that this process has.
#[derive(Debug, Clone)]
pub enum Rows {
    Memory(RecordBatch),
    Spilled(Arc<SpilledRows>),
}

/// Where a part's rows can be had.
#[derive(Debug, Clone)]
pub enum Found {
    Here(Rows),
    Durable(PartRef),
}

impl StatePart {
    /// A new part that the operator goes on reading.
    pub fn new(kind: &'static str, tag: i64, batch: RecordBatch) -> Arc<Self> {
        Self::build(kind, tag, batch.num_rows(), Place::Here(Rows::Memory(batch)), false)
    }

    /// As [`StatePart::new`], of rows that are on the local disk.
    pub fn spilled(kind: &'static str, tag: i64, rows: SpilledRows) -> Arc<Self> {
        Self::build(kind, tag, rows.rows(), Place::Here(Rows::Spilled(Arc::new(rows))), false)
    }

    /// A new part that is only written: its rows leave memory when they are durable.
    pub fn write_only(kind: &'static str, tag: i64, batch: RecordBatch) -> Arc<Self> {
        Self::build(kind, tag, batch.num_rows(), Place::Here(Rows::Memory(batch)), true)
    }

    /// A part read from a checkpoint; it needs no upload.
    pub fn restored(kind: &'static str, tag: i64, batch: RecordBatch, durable: PartRef) -> Arc<Self> {
        Self::build(kind, tag, batch.num_rows(), Place::Both(Rows::Memory(batch), durable), false)
    }

    /// A part of a checkpoint whose rows the operator has taken into its own structures.
    pub fn named(kind: &'static str, durable: PartRef) -> Arc<Self> {
        Self::build(kind, durable.tag, durable.rows as usize, Place::Durable(durable), true)
    }

    fn build(kind: &'static str, tag: i64, rows: usize, place: Place, forget: bool) -> Arc<Self> {
        Arc::new(Self { kind, tag, rows, forget, place: Mutex::new(place), writing: tokio::sync::Mutex::default() })
    }

    /// What the rows have in common, such as the start of their window in milliseconds.
    pub fn tag(&self) -> i64 {
        match &*self.lock() {
            Place::Here(_) => self.tag,
            // Merged with others, it has what they all have in common.
            Place::Both(_, durable) | Place::Durable(durable) => durable.tag,
        }
    }

    /// Nobody reads the rows in this process: they may be merged with others where they are durable.
    pub fn is_write_only(&self) -> bool {
        self.forget
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The rows, while they are in memory.
    pub fn batch(&self) -> Option<RecordBatch> {
        match self.at_hand() {
            Some(Rows::Memory(batch)) => Some(batch),
            Some(Rows::Spilled(_)) | None => None,
        }
    }

    /// The rows, while this process has them.
    pub fn at_hand(&self) -> Option<Rows> {
        match &*self.lock() {
            Place::Here(rows) | Place::Both(rows, _) => Some(rows.clone()),
            Place::Durable(_) => None,
        }
    }

    /// Where the rows can be had: in a completed checkpoint if there is one, else here.
    pub fn found(&self) -> Found {
        match &*self.lock() {
            Place::Here(rows) => Found::Here(rows.clone()),
            Place::Both(_, durable) | Place::Durable(durable) => Found::Durable(durable.clone()),
        }
    }

    /// The rows are on the local disk now, and leave memory.
    pub fn is_spilled(&self, rows: SpilledRows) {
        let rows = Rows::Spilled(Arc::new(rows));
        let mut place = self.lock();
        *place = match &*place {
            Place::Here(_) => Place::Here(rows),
            Place::Both(_, durable) | Place::Durable(durable) => Place::Both(rows, durable.clone()),
        };
    }

    /// Writes the rows to a file of their own, ahead of their barrier.
    pub(super) async fn write(&self, store: &dyn Store, path: ObjectPath) -> Result<u64, FileError> {
        let _writing = self.writing.lock().await;
        let Found::Here(Rows::Memory(batch)) = self.found() else { return Ok(0) };
        let bytes = file::encode(&batch.schema(), [&batch])?;
        let file = FileRef::of(path, &bytes);
        store.put(&file.path, bytes).await?;
        let written = file.bytes;
        self.is_at(PartRef { kind: self.kind.to_owned(), tag: self.tag, rows: self.rows as u64, file, batch: 0 });
        Ok(written)
    }

    /// As [`StatePart::found`], once nobody writes the rows ahead any more.
    pub async fn settled(&self) -> Found {
        let _written = self.writing.lock().await;
        self.found()
    }

    /// The rows are at `durable`, which stays: a completed checkpoint names it, or this attempt wrote it for one. Not to
    /// be called for the file of a checkpoint that may still be given up.
    pub fn is_at(&self, durable: PartRef) {
        let mut place = self.lock();
        *place = match &*place {
            Place::Here(rows) | Place::Both(rows, _) if !self.forget => Place::Both(rows.clone(), durable),
            _ => Place::Durable(durable),
        };
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Place> {
        // A place is replaced as a whole: a panic elsewhere leaves it usable.
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that the rows of a batch take, whatever else is in their buffers.
pub fn bytes_of(batch: &RecordBatch) -> u64 {
    let of_column =
        |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size());
    batch.columns().iter().map(of_column).sum::<usize>() as u64
}

/// Lists parts that were merged in one place once.
pub fn retain_distinct(parts: &mut Vec<Arc<StatePart>>) {
    let mut places = BTreeSet::new();
    parts.retain(|part| match part.found() {
        Found::Here(_) => true,
        Found::Durable(reference) => places.insert((reference.file.path, reference.batch)),
    });
}

/// What an operator's subtask remembers at a barrier.
#[derive(Debug, Default)]
pub struct StateSnapshot {
    /// A small value, as JSON.
    pub value: serde_json::Value,
    pub parts: Vec<Arc<StatePart>>,
    /// What it keeps on the local disk.
    pub table: Option<Freezing>,
}
