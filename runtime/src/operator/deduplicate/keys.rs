//! Keys as rows: how they are in checkpoints of a backend in memory, and in savepoints.
//!
//! A row is written once and stays. So the rows of a key are all sights that counted for a while: those after which it was
//! forgotten, and those in whose place an earlier one came. The former are told by their time; the latter are named by
//! rows of their own, as long as keys are forgotten at all. Without these the smallest time counts.

use std::{collections::HashSet, sync::Arc};

use arrow::{
    array::{AsArray, FixedSizeBinaryArray, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
    error::ArrowError,
};

use super::seen::{FormerKeys, OldestOfGroup};
use crate::{
    operator::KeyRange,
    state::{StateError, StatePart},
};

/// Kind of the parts that hold keys; their tag is the newest event time in them.
pub const KEYS: &str = "keys";
/// Kind of the parts that hold sights which count no more, since an earlier one came in their place.
pub const REPLACED: &str = "replaced";

/// Which sights of former subtasks still count.
pub struct Counting<'a> {
    range: KeyRange,
    oldest: &'a OldestOfGroup,
    replaced: HashSet<(u128, i64)>,
}

impl<'a> Counting<'a> {
    /// Those of `range` that were not forgotten, and not replaced.
    pub fn new(range: KeyRange, former: &'a FormerKeys) -> Result<Self, StateError> {
        let mut this = Self { range, oldest: &former.oldest, replaced: HashSet::new() };
        for part in &former.replaced {
            let batch = part.batch()?;
            let own: Vec<_> = this.of(&batch).collect();
            this.replaced.extend(own);
        }
        Ok(this)
    }

    /// Those of a part. A key that was forgotten and seen again is there twice, and the forgotten sight must not win.
    pub fn of(&self, part: &RecordBatch) -> impl Iterator<Item = (u128, i64)> {
        all_keys(part).filter(|sight @ (hash, time)| {
            self.range.contains_hash(*hash) && *time >= self.oldest.of(*hash) && !self.replaced.contains(sight)
        })
    }
}

/// The keys of a part: hashes and event times.
pub fn all_keys(part: &RecordBatch) -> impl Iterator<Item = (u128, i64)> {
    let hashes = part.column(0).as_fixed_size_binary().iter().flatten().map(|hash| {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(hash);
        u128::from_le_bytes(bytes)
    });
    let times = part.column(1).as_primitive::<Int64Type>().values().iter().copied();
    hashes.zip(times)
}

/// Keys as they are stored: hashes and event times, column by column.
#[derive(Debug, Default)]
pub struct Keys {
    /// 16 bytes each, little-endian.
    hashes: Vec<u8>,
    times: Vec<i64>,
}

impl Keys {
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Bytes in memory.
    pub fn size(&self) -> usize {
        self.hashes.capacity() + self.times.capacity() * size_of::<i64>()
    }

    pub fn push(&mut self, hash: u128, time: i64) {
        self.hashes.extend_from_slice(&hash.to_le_bytes());
        self.times.push(time);
    }

    /// What was pushed, as a part of a kind; its tag is the newest event time.
    pub fn take(&mut self, kind: &'static str) -> Result<Arc<StatePart>, ArrowError> {
        let Self { hashes, times } = std::mem::take(self);
        let newest = times.iter().copied().max().unwrap_or(i64::MIN);
        let hashes = FixedSizeBinaryArray::try_new(16, hashes.into(), None)?;
        let schema: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("key_xxh3_128", DataType::FixedSizeBinary(16), false),
            Field::new("time_ms", DataType::Int64, false),
        ]));
        let batch = RecordBatch::try_new(schema, vec![Arc::new(hashes), Arc::new(Int64Array::from(times))])?;
        Ok(StatePart::write_only(kind, newest, batch))
    }
}
