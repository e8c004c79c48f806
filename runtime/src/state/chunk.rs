//! Rows that a sink has to publish, from their barrier until a checkpoint has them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arrow::array::RecordBatch;

/// The rows of one chunk of the write-ahead log.
#[derive(Debug)]
pub struct ChunkRows {
    pub batches: Vec<RecordBatch>,
    completed: AtomicBool,
}

impl ChunkRows {
    pub fn new(batches: Vec<RecordBatch>) -> Arc<Self> {
        Arc::new(Self { batches, completed: AtomicBool::new(false) })
    }

    /// A checkpoint whose manifest names the chunk has completed. Told before the next barrier, so that no chunk is in
    /// two completed checkpoints.
    pub fn completed(&self) {
        self.completed.store(true, Ordering::Release);
    }

    pub fn is_completed(&self) -> bool {
        self.completed.load(Ordering::Acquire)
    }
}
