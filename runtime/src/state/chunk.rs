//! Rows that a sink has to publish, until a checkpoint has them.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use arrow::array::RecordBatch;
use tokio::sync::Mutex;

use super::file::{self, FileError};
use crate::checkpoint::{
    manifest::FileRef,
    pack::{Life, Packer},
    store::ObjectPath,
};
use crate::ids::Epoch;

/// The rows of one chunk of the write-ahead log: in memory, in a file, or both.
#[derive(Debug)]
pub struct ChunkRows {
    rows: u64,
    /// The epoch that it was cut in, and which of its slot's chunks it is there.
    number: OnceLock<(Epoch, u32)>,
    /// Held while the rows are written, so that they are written once.
    place: Mutex<Place>,
    completed: AtomicBool,
}

#[derive(Debug)]
struct Place {
    /// Empty once they have left memory.
    batches: Vec<RecordBatch>,
    durable: Option<FileRef>,
}

impl ChunkRows {
    pub fn new(batches: Vec<RecordBatch>) -> Arc<Self> {
        let rows = batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u64;
        let place = Mutex::new(Place { batches, durable: None });
        Arc::new(Self { rows, number: OnceLock::new(), place, completed: AtomicBool::new(false) })
    }

    /// A barrier has cut it. It keeps the number that the first one gives it.
    pub fn cut(&self, epoch: Epoch, index: u32) -> (Epoch, u32) {
        *self.number.get_or_init(|| (epoch, index))
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The file that has the rows: one at `path`, or a shared one, unless they were written before.
    pub async fn write(&self, packer: &Packer, path: ObjectPath) -> Result<FileRef, FileError> {
        let mut place = self.place.lock().await;
        if let Some(durable) = &place.durable {
            return Ok(durable.clone());
        }
        let first = place.batches.first().ok_or_else(|| FileError::Missing { path: path.to_string() })?;
        let durable = file::write(packer, Life::Passing, path, &first.schema(), &place.batches).await?;
        place.durable = Some(durable.clone());
        Ok(durable)
    }

    /// Rows that are in a file leave memory.
    pub async fn forget(&self) {
        let mut place = self.place.lock().await;
        if place.durable.is_some() {
            place.batches = Vec::new();
        }
    }

    /// The rows, while they are in memory.
    pub async fn batches(&self) -> Option<Vec<RecordBatch>> {
        let place = self.place.lock().await;
        (!place.batches.is_empty()).then(|| place.batches.clone())
    }

    /// A checkpoint whose shares name the chunk has completed: it is no part of those that are cut from now on. False if
    /// that was told before, of an earlier one.
    pub fn completed(&self) -> bool {
        !self.completed.swap(true, Ordering::AcqRel)
    }

    pub fn is_completed(&self) -> bool {
        self.completed.load(Ordering::Acquire)
    }
}
