//! A run: partial states of one window that were made together.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::{accumulate::Shape, error::WindowError};
use crate::state::{
    Departed, Rows, StatePart, bytes_of,
    spilled::{SpillFolder, SpilledRows},
};

/// Kind of the parts that hold partial states; their tag is the window's start.
pub const PARTIAL: &str = "partial";
/// A part is uploaded as a whole, and read as a whole after a failure: it has about so many bytes at most.
pub const PART_BYTES: u64 = 16 << 20;

#[derive(Debug, Clone, Default)]
pub struct Run {
    parts: Vec<Arc<StatePart>>,
    /// Wherever they are.
    bytes: u64,
    /// Of those, in memory.
    in_memory: u64,
}

impl Run {
    /// Of a batch in memory.
    pub fn new(start: i64, batch: &RecordBatch) -> Self {
        let bytes = bytes_of(batch);
        let rows = (PART_BYTES * batch.num_rows() as u64).checked_div(bytes).map_or(usize::MAX, |rows| rows as usize);
        let mut run = Self::default();
        let mut from = 0;
        while from < batch.num_rows() {
            let rows = rows.clamp(1, batch.num_rows() - from);
            let cut = batch.slice(from, rows);
            let bytes = bytes_of(&cut);
            run.add(StatePart::new(PARTIAL, start, cut), bytes);
            from += rows;
        }
        run
    }

    /// Adds a part that is in memory.
    pub fn add(&mut self, part: Arc<StatePart>, bytes: u64) {
        self.parts.push(part);
        self.bytes += bytes;
        self.in_memory += bytes;
    }

    /// Adds a part that is on the local disk.
    pub fn add_spilled(&mut self, start: i64, rows: SpilledRows) {
        self.bytes += rows.bytes();
        self.parts.push(StatePart::spilled(PARTIAL, start, rows));
    }

    pub fn parts(&self) -> &[Arc<StatePart>] {
        &self.parts
    }

    pub fn rows(&self) -> usize {
        self.parts.iter().map(|part| part.rows()).sum()
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn in_memory(&self) -> u64 {
        self.in_memory
    }

    pub fn is_spilled(&self) -> bool {
        self.in_memory < self.bytes
    }

    /// The rows. Parts of a window that is open are at hand: in memory, or on the local disk.
    pub fn at_hand(&self) -> impl Iterator<Item = Rows> {
        self.parts.iter().filter_map(|part| part.at_hand())
    }

    /// The operator needs it no more.
    pub fn depart(self, departed: &mut Departed) {
        for part in self.parts {
            let bytes = part.batch().map_or(0, |batch| bytes_of(&batch));
            departed.add(&part, bytes);
        }
    }

    /// Writes what is in memory to the local disk.
    pub fn spill(&mut self, shape: &Shape, folder: &SpillFolder) -> Result<(), WindowError> {
        for part in &self.parts {
            if let Some(batch) = part.batch() {
                part.is_spilled(folder.write(&batch, shape.keys(&batch))?);
            }
        }
        self.in_memory = 0;
        Ok(())
    }
}
