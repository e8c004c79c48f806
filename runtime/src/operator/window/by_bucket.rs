//! Rows of several parts, read a share of the keys at a time.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{BooleanArray, RecordBatch},
    compute::filter_record_batch,
};

use super::{accumulate::Shape, error::WindowError};
use crate::state::{
    Rows,
    spilled::{BUCKETS, SpilledRows, buckets_of},
};

/// Every bucket.
pub const ALL: Range<usize> = 0..BUCKETS;

pub struct ByBucket {
    sources: Vec<Source>,
}

enum Source {
    /// With the bucket of each row.
    Memory(RecordBatch, Vec<u8>),
    Spilled(Arc<SpilledRows>),
}

impl ByBucket {
    pub fn new(shape: &Shape, rows: Vec<Rows>) -> Result<Self, WindowError> {
        let source = |rows| {
            Ok(match rows {
                Rows::Memory(batch) => {
                    let buckets = buckets_of(shape.keys(&batch), batch.num_rows())?;
                    Source::Memory(batch, buckets)
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
                Source::Memory(batch, buckets) => {
                    let mask: BooleanArray =
                        buckets.iter().map(|bucket| Some(wanted.contains(&usize::from(*bucket)))).collect();
                    batches.push(filter_record_batch(batch, &mask)?);
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
