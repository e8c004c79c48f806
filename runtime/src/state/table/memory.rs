//! A table in memory.

use std::{
    collections::BTreeMap,
    ops::{Bound, Range},
};

use super::{Changes, Table, TableError, Visit, group, time_of};

/// Entries in a B-tree.
#[derive(Debug, Default)]
pub struct MemoryTable {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl MemoryTable {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Table for MemoryTable {
    fn get_many(
        &self,
        keys: &[&[u8]],
        found: &mut dyn FnMut(usize, Option<&[u8]>) -> Result<(), TableError>,
    ) -> Result<(), TableError> {
        keys.iter().enumerate().try_for_each(|(index, key)| found(index, self.entries.get(*key).map(Vec::as_slice)))
    }

    fn write(&mut self, changes: &Changes) -> Result<(), TableError> {
        for (key, value) in changes.iter() {
            match value {
                Some(value) => self.entries.insert(key.to_vec(), value.to_vec()),
                None => self.entries.remove(key),
            };
        }
        Ok(())
    }

    fn scan_prefix(&self, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), TableError> {
        let from = self.entries.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
        from.take_while(|(key, _)| key.starts_with(prefix)).try_for_each(|(key, value)| visit(key, value))
    }

    fn scan_groups(&self, groups: Range<u32>, visit: &mut Visit<'_>) -> Result<(), TableError> {
        let (from, to) = (group(groups.start), group(groups.end));
        if from >= to {
            return Ok(());
        }
        let own = self.entries.range::<[u8], _>((Bound::Included(&from[..]), Bound::Excluded(&to[..])));
        own.into_iter().try_for_each(|(key, value)| visit(key, value))
    }

    fn forget(&mut self, oldest: i64) -> Result<(), TableError> {
        self.entries.retain(|_, value| time_of(value).is_none_or(|time| time >= oldest));
        Ok(())
    }
}
