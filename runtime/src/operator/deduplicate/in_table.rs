//! What was seen, in a table on the local disk: one look-up and one write a batch.
//!
//! ```text
//! key group (2 bytes, big-endian) · hash (16 bytes, big-endian)  →  event time (8 bytes, little-endian)
//! ```

use std::sync::Arc;

use super::{
    keys::{Keys, own_keys},
    seen::{FormerKeys, Noted, Remembers, Seen, Sighted, Sights},
};
use crate::{
    exchange::partition::key_group,
    operator::KeyRange,
    state::{
        StateError, StatePart,
        table::{
            Changes, GROUP_BYTES, Table, TableError, group,
            rocks::{Engine, RocksTable},
            time_of,
        },
    },
};

const KEY_BYTES: usize = GROUP_BYTES + 16;
/// Keys that are written at a time.
const WRITTEN_AT_ONCE: usize = 1 << 14;
/// Keys of a checkpoint that are looked up at a time.
const RESTORED_AT_ONCE: usize = 1 << 14;

pub struct InTable {
    range: KeyRange,
    engine: Engine,
    name: String,
    table: RocksTable,
    /// The keys of one batch. Kept over calls to save allocations, as the next two.
    sighted: Sighted,
    keys: Vec<[u8; KEY_BYTES]>,
    changes: Changes,
}

impl InTable {
    /// In a folder whose name begins with `name`.
    pub fn new(range: KeyRange, engine: Engine, name: String) -> Result<Self, TableError> {
        let table = RocksTable::create(&engine, &name)?;
        let (sighted, keys, changes) = (Sighted::default(), Vec::new(), Changes::default());
        Ok(Self { range, engine, name, table, sighted, keys, changes })
    }

    /// Takes over what was seen elsewhere; it has seen nothing itself.
    pub fn fill(&mut self, sights: impl Iterator<Item = (u128, i64)>) -> Result<(), TableError> {
        self.changes.clear();
        for (index, (hash, time)) in (1..).zip(sights) {
            let key = self.key(hash);
            self.changes.put(&key, &time.to_le_bytes());
            if index % WRITTEN_AT_ONCE == 0 {
                self.table.write(&self.changes)?;
                self.changes.clear();
            }
        }
        self.table.write(&self.changes)
    }

    fn key(&self, hash: u128) -> [u8; KEY_BYTES] {
        let mut key = [0; KEY_BYTES];
        let (first, rest) = key.split_at_mut(GROUP_BYTES);
        first.copy_from_slice(&group(key_group(hash, self.range.max_parallelism)));
        rest.copy_from_slice(&hash.to_be_bytes());
        key
    }
}

/// The hash and the time of an entry.
pub fn entry(key: &[u8], value: &[u8]) -> Result<(u128, i64), TableError> {
    let hash = key.last_chunk().filter(|_| key.len() == KEY_BYTES).map(|hash| u128::from_be_bytes(*hash));
    let damaged = || TableError::Damaged(format!("a key of {} bytes, a value of {}", key.len(), value.len()));
    hash.zip(time_of(value)).ok_or_else(damaged)
}

/// As rows, which a backend in memory reads as well.
fn encode(entries: &Changes) -> Result<Arc<StatePart>, TableError> {
    let mut keys = Keys::default();
    for (key, value) in entries.iter() {
        let (hash, time) = entry(key, value.unwrap_or_default())?;
        keys.push(hash, time);
    }
    Ok(keys.take()?)
}

impl Seen for InTable {
    fn note(&mut self, sights: &Sights<'_>, noted: &mut Vec<Noted>) -> Result<(), StateError> {
        let mut keys = std::mem::take(&mut self.keys);
        keys.clear();
        keys.extend(sights.iter().filter(|(_, time)| !sights.is_late(*time)).map(|(hash, _)| self.key(hash)));
        self.sighted.clear();
        let looked_up: Vec<&[u8]> = keys.iter().map(<[u8; KEY_BYTES]>::as_slice).collect();
        self.table.get_many(&looked_up, &mut |index, value| {
            if let (Some(key), Some(value)) = (looked_up.get(index), value) {
                let (hash, time) = entry(key, value)?;
                self.sighted.insert(hash, time, i64::MIN);
            }
            Ok(())
        })?;
        // What the table has of the batch's keys is at hand: from here on it is as in memory.
        self.changes.clear();
        let mut keys_in_order = keys.iter();
        for (hash, time) in sights.iter() {
            if sights.is_late(time) {
                noted.push(Noted::Late);
                continue;
            }
            let what = self.sighted.insert(hash, time, sights.oldest);
            if let Some(key) = keys_in_order.next().filter(|_| what.wins()) {
                self.changes.put(key, &time.to_le_bytes());
            }
            noted.push(what);
        }
        self.keys = keys;
        Ok(self.table.write(&self.changes)?)
    }

    fn forget(&mut self, oldest: i64) -> Result<(), StateError> {
        Ok(self.table.forget(oldest)?)
    }

    fn freeze(&mut self) -> Result<Remembers, StateError> {
        Ok(Remembers { parts: Vec::new(), table: Some(self.table.freeze(encode)?) })
    }

    fn restore(&mut self, former: FormerKeys, oldest: i64) -> Result<(), StateError> {
        if !former.tables.is_empty() {
            self.table = RocksTable::restore(&self.engine, &self.name, self.range.groups(), &former.tables, oldest)?;
        }
        let mut noted = Vec::new();
        for part in &former.parts {
            let (hashes, times): (Vec<_>, Vec<_>) = own_keys(&part.batch()?, self.range, oldest).unzip();
            for (hashes, times) in hashes.chunks(RESTORED_AT_ONCE).zip(times.chunks(RESTORED_AT_ONCE)) {
                // All of them count: they were no late rows when they came.
                let sights = Sights { hashes, times, passed: i64::MIN, oldest };
                self.note(&sights, &mut noted)?;
                noted.clear();
            }
        }
        Ok(())
    }
}
