//! What was seen, in memory: a hash table, and parts for what has come since the last barrier.

use std::sync::Arc;

use arrow::error::ArrowError;

use super::{
    in_table,
    keys::{Counting, KEYS, Keys, REPLACED},
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
    /// Sights that no part has yet, and that an earlier one came in the place of.
    replaced: Keys,
    written: Vec<Arc<StatePart>>,
    ahead: WriteAhead,
    backend: Backend,
}

impl InMemory {
    /// Of `backend`, only what reads tables of a former one is needed.
    pub fn new(range: KeyRange, ahead: WriteAhead, backend: Backend) -> Self {
        Self {
            range,
            sighted: Shards::default(),
            fresh: Keys::default(),
            replaced: Keys::default(),
            written: Vec::new(),
            ahead,
            backend,
        }
    }

    /// Bytes in memory, and those that the table takes when it grows, if that is soon.
    pub fn size(&self) -> u64 {
        (self.sighted.size() + self.fresh.size() + self.replaced.size()) as u64
    }

    /// All that was seen.
    pub fn sights(&self) -> impl Iterator<Item = (u128, i64)> {
        self.sighted.iter()
    }

    fn write_ahead(&mut self) -> Result<(), ArrowError> {
        for (keys, kind) in [(&mut self.fresh, KEYS), (&mut self.replaced, REPLACED)] {
            if self.ahead.is_due(keys.len()) {
                let part = keys.take(kind)?;
                self.ahead.part(&part);
                self.written.push(part);
            }
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
            // The one that took its place may be forgotten before it.
            if let Noted::Earlier { replaced } = what
                && !sights.live_for_ever
            {
                self.replaced.push(hash, replaced);
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
        for (keys, kind) in [(&mut self.fresh, KEYS), (&mut self.replaced, REPLACED)] {
            if keys.len() > 0 {
                self.written.push(keys.take(kind)?);
            }
        }
        retain_distinct(&mut self.written);
        Ok(Remembers { parts: self.written.clone(), table: None })
    }

    fn restore(&mut self, former: FormerKeys) -> Result<(), StateError> {
        let batches = former.parts.iter().map(RestoredPart::batch).collect::<Result<Vec<_>, _>>()?;
        let counting = Counting::new(self.range, &former)?;
        self.sighted.reserve(batches.iter().map(|batch| counting.of(batch).count()).sum());
        for (part, batch) in former.parts.iter().zip(batches) {
            for (hash, time) in counting.of(&batch) {
                self.sighted.insert(hash, time, i64::MIN);
            }
            // Named again by the next checkpoint as it is, also when only a share of it is ours.
            self.written.push(StatePart::named(KEYS, part.reference.clone()));
        }
        let replaced = former.replaced.into_iter().map(|part| StatePart::named(REPLACED, part.reference));
        self.written.extend(replaced);
        for table in former.tables {
            let engine = self.backend.engine()?;
            table.scan_groups(&engine, self.range.groups(), &mut |key, value| {
                let (hash, time) = in_table::entry(key, value)?;
                if time >= former.oldest.of(hash) && self.sighted.insert(hash, time, i64::MIN).wins() {
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
