//! Sinks as operators: one that keeps rows for the write-ahead log, one that writes them through.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::{Frozen, Operator, OperatorError, Output};
use crate::{
    ids::EventTime,
    sink::DirectWriter,
    state::{ChunkRows, WriteAhead},
};

/// Most rows of one chunk: below ClickHouse's insert block, and little enough for one Kafka transaction.
const CHUNK_ROWS: usize = 200_000;
/// Most bytes of one chunk, as Arrow counts them.
const CHUNK_BYTES: usize = 16 << 20;

/// Keeps rows until a checkpoint that has them in its write-ahead log is completed. Those of one that is undecided, or was
/// given up, go into the next, too: its sources have moved past them. Full chunks are written ahead, and leave memory.
#[derive(Debug)]
pub struct Buffer {
    ahead: WriteAhead,
    /// Most rows of one chunk.
    chunk_rows: usize,
    /// The chunk that is being filled.
    open: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    cut: Vec<Arc<ChunkRows>>,
}

impl Buffer {
    pub fn new(ahead: WriteAhead) -> Self {
        Self { ahead, chunk_rows: chunk_rows(), open: Vec::new(), rows: 0, bytes: 0, cut: Vec::new() }
    }

    fn add(&mut self, batch: RecordBatch) {
        let size = batch.get_array_memory_size();
        if self.rows + batch.num_rows() > self.chunk_rows || self.bytes + size > CHUNK_BYTES {
            self.close(true);
        }
        self.rows += batch.num_rows();
        self.bytes += size;
        self.open.push(batch);
    }

    /// What was filled is a chunk; `write` says whether that begins at once.
    fn close(&mut self, write: bool) {
        if self.open.is_empty() {
            return;
        }
        let chunk = ChunkRows::new(std::mem::take(&mut self.open));
        (self.rows, self.bytes) = (0, 0);
        if write {
            self.ahead.chunk(&chunk);
        }
        self.cut.push(chunk);
    }
}

impl Operator for Buffer {
    fn on_batch(&mut self, batch: RecordBatch, _: &mut Output) -> Result<(), OperatorError> {
        for from in (0..batch.num_rows()).step_by(self.chunk_rows) {
            self.add(batch.slice(from, self.chunk_rows.min(batch.num_rows() - from)));
        }
        Ok(())
    }

    fn on_watermark(&mut self, _: EventTime, _: &mut Output) -> Result<bool, OperatorError> {
        Ok(false)
    }

    fn freeze(&mut self) -> Result<Frozen, OperatorError> {
        self.cut.retain(|chunk| !chunk.is_completed());
        self.close(false);
        Ok(Frozen { chunks: self.cut.clone(), ..Frozen::default() })
    }
}

fn chunk_rows() -> usize {
    #[cfg(any(test, feature = "test-util"))]
    if let Some(rows) = crate::simulation::ask(|doors| doors.chunk_rows()) {
        return rows;
    }
    CHUNK_ROWS
}

/// Writes through, without the write-ahead log.
pub struct Direct(pub Box<dyn DirectWriter>);

impl Operator for Direct {
    fn on_batch(&mut self, batch: RecordBatch, _: &mut Output) -> Result<(), OperatorError> {
        Ok(self.0.write(&batch)?)
    }

    fn on_watermark(&mut self, _: EventTime, _: &mut Output) -> Result<bool, OperatorError> {
        Ok(false)
    }

    fn freeze(&mut self) -> Result<Frozen, OperatorError> {
        Ok(Frozen { flush: Some(self.0.flush()), ..Frozen::default() })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use tokio::runtime::Handle;

    use super::*;
    use crate::checkpoint::{pack::Packer, store::memory::MemoryStore};

    #[tokio::test]
    async fn a_large_epoch_is_cut_into_chunks_without_losing_a_row() {
        let batch =
            |rows: i64| RecordBatch::try_from_iter([("n", Arc::new((0..rows).collect::<Int64Array>()) as _)]).unwrap();
        let packer = Packer::eager(Arc::new(MemoryStore::default()), Handle::current());
        let mut buffer = Buffer::new(WriteAhead::new(packer, Handle::current(), "data/1/0/".to_owned()));
        for rows in [10, 199_995, 450_000, 3] {
            buffer.on_batch(batch(rows), &mut Output::default()).unwrap();
        }
        let chunks = buffer.freeze().unwrap().chunks;
        let sizes: Vec<u64> = chunks.iter().map(|chunk| chunk.rows()).collect();
        assert_eq!(
            (CHUNK_ROWS, CHUNK_BYTES),
            (200_000, 16_777_216),
            "the sizes that the documentation and the limits of ClickHouse's blocks rest on"
        );
        assert_eq!(sizes, [10, 199_995, 200_000, 200_000, 50_003]);

        buffer.on_batch(batch(5), &mut Output::default()).unwrap();
        let again = buffer.freeze().unwrap().chunks;
        assert_eq!(again.len(), chunks.len() + 1, "no checkpoint has completed, so all rows go into the next");
        again.iter().for_each(|chunk| _ = chunk.completed());
        assert!(buffer.freeze().unwrap().chunks.is_empty(), "a completed checkpoint has them all");
    }
}
