//! Keys as rows: how they are in checkpoints of a backend in memory, and in savepoints.

use std::sync::Arc;

use arrow::{
    array::{AsArray, FixedSizeBinaryArray, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
    error::ArrowError,
};

use crate::{operator::KeyRange, state::StatePart};

/// Kind of the parts that hold keys; their tag is the newest event time in them.
pub const KEYS: &str = "keys";

/// The keys of a part that are in `range` and not forgotten. A key that was forgotten and seen again is there twice, and
/// the forgotten sight must not win.
pub fn own_keys(part: &RecordBatch, range: KeyRange, oldest: i64) -> impl Iterator<Item = (u128, i64)> {
    all_keys(part).filter(move |(hash, time)| *time >= oldest && range.contains_hash(*hash))
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

    /// What was pushed, as a part; its tag is the newest event time.
    pub fn take(&mut self) -> Result<Arc<StatePart>, ArrowError> {
        let Self { hashes, times } = std::mem::take(self);
        let newest = times.iter().copied().max().unwrap_or(i64::MIN);
        let hashes = FixedSizeBinaryArray::try_new(16, hashes.into(), None)?;
        let schema: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("key_xxh3_128", DataType::FixedSizeBinary(16), false),
            Field::new("time_ms", DataType::Int64, false),
        ]));
        let batch = RecordBatch::try_new(schema, vec![Arc::new(hashes), Arc::new(Int64Array::from(times))])?;
        Ok(StatePart::write_only(KEYS, newest, batch))
    }
}
