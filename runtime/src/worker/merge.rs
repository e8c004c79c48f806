//! Keeps the number of a state's files bounded: many small ones become one.
//!
//! Parts that only grow in number, such as the keys a deduplication has seen, are merged in tiers: when [`FAN_IN`] files
//! are of about one size, their rows are written anew as one file, which the next checkpoint names in their stead. A row
//! is written anew a logarithmic number of times, and the files that are too large for it are few.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{array::RecordBatch, compute::concat_batches, error::ArrowError};
use futures::future::try_join_all;

use crate::{
    checkpoint::{manifest::PartRef, store::Store},
    state::file::{self, FileError},
};

/// So many files of one size class become one; a class ends where sizes are so many times those where it begins.
const FAN_IN: usize = 8;
/// Parts with more rows stay as they are: reading eight of them back would cost more memory than their number does.
const LARGEST_ROWS: u64 = 1 << 18;

/// Which of the parts to merge now: the oldest [`FAN_IN`] of a class that has so many, of the smallest such class.
pub fn due(parts: &[PartRef]) -> Vec<PartRef> {
    let mut classes: BTreeMap<(&str, u32), Vec<&PartRef>> = BTreeMap::new();
    for part in parts.iter().filter(|part| part.rows <= LARGEST_ROWS) {
        classes.entry((&part.kind, part.rows.max(1).ilog(FAN_IN as u64))).or_default().push(part);
    }
    let due = classes.into_values().find(|class| class.len() >= FAN_IN);
    due.into_iter().flatten().take(FAN_IN).cloned().collect()
}

/// The rows of all parts, as one batch.
pub async fn read(store: &Arc<dyn Store>, parts: &[PartRef]) -> Result<RecordBatch, FileError> {
    let read = parts.iter().map(|part| async move {
        let (_, batches) = file::read(store, &part.file).await?;
        let damaged = || FileError::Damaged { path: part.file.to_string() };
        batches.into_iter().nth(part.batch as usize).ok_or_else(damaged)
    });
    let batches = try_join_all(read).await?;
    let first = batches.first().ok_or_else(|| ArrowError::InvalidArgumentError("nothing to merge".to_owned()))?;
    Ok(concat_batches(&first.schema(), &batches)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{manifest::FileRef, store::ObjectPath};

    fn part(name: usize, rows: u64) -> PartRef {
        let file = FileRef::of(ObjectPath(format!("data/1/{name}")), b"");
        PartRef { kind: "keys".to_owned(), tag: name as i64, rows, file, batch: 0 }
    }

    #[test]
    fn the_number_of_parts_stays_logarithmic() {
        let mut parts: Vec<PartRef> = Vec::new();
        let (mut rows_written, mut rows_merged) = (0, 0);
        for name in 0..20_000 {
            let rows = 3 + (name as u64 * 7919) % 40;
            rows_written += rows;
            parts.push(part(name, rows));
            let merged = due(&parts);
            if !merged.is_empty() {
                assert_eq!(merged.len(), FAN_IN);
                let rows = merged.iter().map(|part| part.rows).sum();
                rows_merged += rows;
                parts.retain(|part| !merged.contains(part));
                parts.push(part(1_000_000 + name, rows));
            }
        }
        assert!(parts.len() < 60, "{} parts are left", parts.len());
        assert_eq!(parts.iter().map(|part| part.rows).sum::<u64>(), rows_written, "and no row is lost");
        assert!(rows_merged < 7 * rows_written, "{rows_merged} rows were written anew for {rows_written}");
    }

    #[test]
    fn large_parts_and_parts_of_other_kinds_stay_apart() {
        let large: Vec<PartRef> = (0..20).map(|name| part(name, LARGEST_ROWS + 1)).collect();
        assert!(due(&large).is_empty());
        let mut two_kinds: Vec<PartRef> = (0..14).map(|name| part(name, 10)).collect();
        two_kinds.iter_mut().step_by(2).for_each(|part| part.kind = "other".to_owned());
        assert!(due(&two_kinds).is_empty());
    }
}
