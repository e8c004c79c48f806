//! Rows of several parts, read a share of the keys at a time.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{RecordBatch, UInt32Array},
    compute::take_record_batch,
};

use super::{accumulate::Shape, error::WindowError};
use crate::state::{
    Rows,
    spilled::{BUCKETS, SpilledRows, by_bucket},
};

/// Every bucket.
pub const ALL: Range<usize> = 0..BUCKETS;

pub struct ByBucket {
    sources: Vec<Source>,
}

enum Source {
    /// With the rows of each bucket.
    Memory(RecordBatch, Vec<Vec<u32>>),
    Spilled(Arc<SpilledRows>),
}

impl ByBucket {
    pub fn new(shape: &Shape, rows: Vec<Rows>) -> Result<Self, WindowError> {
        let source = |rows| {
            Ok(match rows {
                Rows::Memory(batch) => {
                    let rows_of = by_bucket(shape.keys(&batch), batch.num_rows())?;
                    Source::Memory(batch, rows_of)
                }
                Rows::Spilled(rows) => Source::Spilled(rows),
            })
        };
        Ok(Self { sources: rows.into_iter().map(source).collect::<Result<_, WindowError>>()? })
    }

    /// The rows of some buckets.
    pub fn read(&self, wanted: &Range<usize>) -> Result<Vec<RecordBatch>, WindowError> {
        let mut batches = Vec::new();
        for source in &self.sources {
            match source {
                Source::Memory(batch, rows_of) => {
                    let rows: Vec<u32> = rows_of[wanted.clone()].concat();
                    batches.push(take_record_batch(batch, &UInt32Array::from(rows))?);
                }
                Source::Spilled(rows) => batches.extend(rows.of_buckets(wanted)?),
            }
        }
        Ok(batches)
    }
}

/// All rows, when that is not too much.
pub fn read_all(rows: &[Rows]) -> Result<Vec<RecordBatch>, WindowError> {
    let mut batches = Vec::new();
    for rows in rows {
        match rows {
            Rows::Memory(batch) => batches.push(batch.clone()),
            Rows::Spilled(rows) => batches.extend(rows.of_buckets(&ALL)?),
        }
    }
    Ok(batches)
}
