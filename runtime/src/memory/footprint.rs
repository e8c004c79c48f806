//! What batches take.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, ArrayData, RecordBatch},
    buffer::NullBuffer,
};

/// Bytes that a batch keeps in memory. What came from another worker lies in one piece that all its columns share.
pub fn footprint(batch: &RecordBatch) -> usize {
    let mut allocations = BTreeMap::new();
    batch.columns().iter().for_each(|column| look_at(&column.to_data(), &mut allocations));
    allocations.into_values().sum()
}

fn look_at(data: &ArrayData, allocations: &mut BTreeMap<usize, usize>) {
    let nulls = data.nulls().map(NullBuffer::buffer);
    for buffer in data.buffers().iter().chain(nulls) {
        allocations.insert(buffer.data_ptr().as_ptr() as usize, buffer.capacity());
    }
    data.child_data().iter().for_each(|child| look_at(child, allocations));
}
