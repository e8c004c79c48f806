//! What was seen, in memory: a hash table, and parts for what has come since the last barrier.

use std::sync::Arc;

use arrow::error::ArrowError;

use super::{
    in_table,
    keys::{KEYS, Keys, own_keys},
    seen::{FormerKeys, Noted, Remembers, Seen, Shards, Sights},
};
use crate::{
    operator::{KeyRange, RestoredPart},
    state::{Backend, StateError, StatePart, WriteAhead, retain_distinct},
};

pub struct InMemory {
    range: KeyRange,
    sighted: Shards,
    /// Keys that no part has yet.
    fresh: Keys,
    written: Vec<Arc<StatePart>>,
    ahead: WriteAhead,
    backend: Backend,
}

impl InMemory {
    /// Of `backend`, only what reads tables of a former one is needed.
    pub fn new(range: KeyRange, ahead: WriteAhead, backend: Backend) -> Self {
        Self { range, sighted: Shards::default(), fresh: Keys::default(), written: Vec::new(), ahead, backend }
    }

    /// Bytes in memory, and those that the table takes when it grows, if that is soon.
    pub fn size(&self) -> u64 {
        (self.sighted.size() + self.fresh.size()) as u64
    }

    /// All that was seen.
    pub fn sights(&self) -> impl Iterator<Item = (u128, i64)> {
        self.sighted.iter()
    }

    fn write_ahead(&mut self) -> Result<(), ArrowError> {
        if self.ahead.is_due(self.fresh.len()) {
            let part = self.fresh.take()?;
            self.ahead.part(&part);
            self.written.push(part);
        }
        Ok(())
    }
}

impl Seen for InMemory {
    fn note(&mut self, sights: &Sights<'_>, noted: &mut Vec<Noted>) -> Result<(), StateError> {
        for (hash, time) in sights.iter() {
            if sights.is_late(time) {
                noted.push(Noted::Late);
                continue;
            }
            let what = self.sighted.insert(hash, time, sights.oldest);
            if what.wins() {
                self.fresh.push(hash, time);
            }
            noted.push(what);
        }
        Ok(self.write_ahead()?)
    }

    fn forget(&mut self, oldest: i64) -> Result<(), StateError> {
        self.sighted.forget(oldest);
        self.written.retain(|part| part.tag() >= oldest);
        Ok(())
    }

    fn freeze(&mut self) -> Result<Remembers, StateError> {
        if self.fresh.len() > 0 {
            self.written.push(self.fresh.take()?);
        }
        retain_distinct(&mut self.written);
        Ok(Remembers { parts: self.written.clone(), table: None })
    }

    fn restore(&mut self, former: FormerKeys, oldest: i64) -> Result<(), StateError> {
        let batches = former.parts.iter().map(RestoredPart::batch).collect::<Result<Vec<_>, _>>()?;
        self.sighted.reserve(batches.iter().map(|batch| own_keys(batch, self.range, oldest).count()).sum());
        for (part, batch) in former.parts.into_iter().zip(batches) {
            for (hash, time) in own_keys(&batch, self.range, oldest) {
                self.sighted.insert(hash, time, i64::MIN);
            }
            // Named again by the next checkpoint as it is, also when only a share of it is ours.
            self.written.push(StatePart::named(KEYS, part.reference));
        }
        for table in former.tables {
            let engine = self.backend.engine()?;
            table.scan_groups(&engine, self.range.groups(), &mut |key, value| {
                let (hash, time) = in_table::entry(key, value)?;
                if time >= oldest && self.sighted.insert(hash, time, i64::MIN).wins() {
                    // No part has it yet.
                    self.fresh.push(hash, time);
                    self.write_ahead()?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}
