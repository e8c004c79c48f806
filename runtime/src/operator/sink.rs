//! Sinks as operators: one that keeps rows for the write-ahead log, one that writes them through.

use std::{collections::VecDeque, sync::Arc};

use arrow::array::RecordBatch;

use super::{Frozen, Operator, OperatorError, Output};
use crate::{ids::EventTime, sink::DirectWriter, state::ChunkRows};

/// Most rows of one chunk: below ClickHouse's insert block, and little enough for one Kafka transaction.
const CHUNK_ROWS: usize = 200_000;
/// Most bytes of one chunk, as Arrow counts them.
const CHUNK_BYTES: usize = 32 << 20;

/// Keeps rows until a checkpoint that has them in its write-ahead log is completed. Those of one that was given up go
/// into the next: its sources have moved past them.
#[derive(Debug, Default)]
pub struct Buffer {
    rows: VecDeque<RecordBatch>,
    cut: Vec<Arc<ChunkRows>>,
}

impl Buffer {
    /// Cuts what has come since the last barrier into chunks.
    fn cut(&mut self) -> Vec<Vec<RecordBatch>> {
        let mut chunks: Vec<Vec<RecordBatch>> = Vec::new();
        let (mut rows, mut bytes) = (0, 0);
        while let Some(batch) = self.rows.pop_front() {
            let size = batch.get_array_memory_size();
            if chunks.is_empty() || rows + batch.num_rows() > CHUNK_ROWS || bytes + size > CHUNK_BYTES {
                chunks.push(Vec::new());
                (rows, bytes) = (0, 0);
            }
            rows += batch.num_rows();
            bytes += size;
            if rows > CHUNK_ROWS {
                // A single batch above the limit goes on as two.
                let over = rows - CHUNK_ROWS;
                let keep = batch.num_rows() - over;
                self.rows.push_front(batch.slice(keep, over));
                if let Some(chunk) = chunks.last_mut() {
                    chunk.push(batch.slice(0, keep));
                }
            } else if let Some(chunk) = chunks.last_mut() {
                chunk.push(batch);
            }
        }
        chunks
    }
}

impl Operator for Buffer {
    fn on_batch(&mut self, batch: RecordBatch, _: &mut Output) -> Result<(), OperatorError> {
        self.rows.push_back(batch);
        Ok(())
    }

    fn on_watermark(&mut self, _: EventTime, _: &mut Output) -> Result<(), OperatorError> {
        Ok(())
    }

    fn freeze(&mut self) -> Result<Frozen, OperatorError> {
        self.cut.retain(|chunk| !chunk.is_completed());
        let fresh = self.cut();
        self.cut.extend(fresh.into_iter().map(ChunkRows::new));
        Ok(Frozen { chunks: self.cut.clone(), ..Frozen::default() })
    }
}

/// Writes through, without the write-ahead log.
pub struct Direct(pub Box<dyn DirectWriter>);

impl Operator for Direct {
    fn on_batch(&mut self, batch: RecordBatch, _: &mut Output) -> Result<(), OperatorError> {
        Ok(self.0.write(&batch)?)
    }

    fn on_watermark(&mut self, _: EventTime, _: &mut Output) -> Result<(), OperatorError> {
        Ok(())
    }

    fn freeze(&mut self) -> Result<Frozen, OperatorError> {
        Ok(Frozen { flush: Some(self.0.flush()), ..Frozen::default() })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;

    use super::*;

    #[test]
    fn a_large_epoch_is_cut_into_chunks_without_losing_a_row() {
        let batch =
            |rows: i64| RecordBatch::try_from_iter([("n", Arc::new((0..rows).collect::<Int64Array>()) as _)]).unwrap();
        let mut buffer = Buffer::default();
        for rows in [10, 199_995, 450_000, 3] {
            buffer.on_batch(batch(rows), &mut Output::default()).unwrap();
        }
        let chunks = buffer.freeze().unwrap().chunks;
        let sizes = |chunks: &[Arc<ChunkRows>]| -> Vec<usize> {
            chunks.iter().map(|chunk| chunk.batches.iter().map(RecordBatch::num_rows).sum()).collect()
        };
        assert_eq!(sizes(&chunks).iter().sum::<usize>(), 10 + 199_995 + 450_000 + 3);
        assert!(sizes(&chunks).iter().all(|rows| (1..=CHUNK_ROWS).contains(rows)), "{:?}", sizes(&chunks));

        buffer.on_batch(batch(5), &mut Output::default()).unwrap();
        let again = buffer.freeze().unwrap().chunks;
        assert_eq!(again.len(), chunks.len() + 1, "no checkpoint has completed, so all rows go into the next");
        again.iter().for_each(|chunk| chunk.completed());
        assert!(buffer.freeze().unwrap().chunks.is_empty(), "a completed checkpoint has them all");
    }
}
