//! The key groups of one subtask.

use std::ops::Range;

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    error::ArrowError,
};

use crate::{
    exchange::partition::{hash_rows, key_group, subtask_of},
    ids::SubtaskIndex,
};

/// Which rows are a subtask's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRange {
    pub subtask: SubtaskIndex,
    pub parallelism: u32,
    pub max_parallelism: u32,
}

impl KeyRange {
    pub fn contains_hash(&self, hash: u128) -> bool {
        let group = key_group(hash, self.max_parallelism);
        self.parallelism == 1 || subtask_of(group, self.parallelism, self.max_parallelism) == self.subtask
    }

    /// The key groups of the range.
    pub fn groups(&self) -> Range<u32> {
        let first = |subtask: u32| {
            (u64::from(subtask) * u64::from(self.max_parallelism)).div_ceil(u64::from(self.parallelism)) as u32
        };
        first(self.subtask.0)..first(self.subtask.0 + 1)
    }

    /// The rows whose key, in `keys`, is of this range.
    pub fn filter(&self, batch: &RecordBatch, keys: &[ArrayRef]) -> Result<RecordBatch, ArrowError> {
        if self.parallelism == 1 {
            return Ok(batch.clone());
        }
        let mine: BooleanArray =
            hash_rows(keys, batch.num_rows())?.into_iter().map(|hash| Some(self.contains_hash(hash))).collect();
        filter_record_batch(batch, &mine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_agree_with_the_owner_of_each_group() {
        for (parallelism, max_parallelism) in [(1, 128), (3, 128), (7, 10), (10, 10)] {
            for group in 0..max_parallelism {
                let subtask = subtask_of(group, parallelism, max_parallelism);
                let range = KeyRange { subtask, parallelism, max_parallelism };
                assert!(range.groups().contains(&group), "{group} of {parallelism}/{max_parallelism}");
            }
        }
    }
}
