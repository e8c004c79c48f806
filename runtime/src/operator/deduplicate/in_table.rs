//! What was seen, in a table on the local disk.
//!
//! ```text
//! key group (2 bytes, big-endian) · hash (16 bytes, big-endian)  →  event time (8 bytes, little-endian)
//! ```
//!
//! What is new is kept in memory, and written as sorted files behind the task's back: at a barrier, and when it has become
//! much. A key is looked for where that costs least: among those seen last, in a filter that knows surely new ones, among
//! what is not written yet. Only what is left is looked up in the table, a batch at a time and in order.

use std::{collections::VecDeque, sync::Arc};

use super::{
    filter::Filter,
    keys::{Counting, KEYS, Keys},
    recent::Recent,
    seen::{FormerKeys, Noted, Remembers, Seen, Sighted, Sights},
};
use crate::{
    exchange::partition::key_group,
    operator::KeyRange,
    state::{
        StateError, StatePart,
        table::{
            Changes, GROUP_BYTES, Table, TableError, group,
            rocks::{Behind, Engine, RocksTable},
            time_of,
        },
    },
};

const KEY_BYTES: usize = GROUP_BYTES + 16;
/// Keys of a checkpoint that are noted at a time.
const RESTORED_AT_ONCE: usize = 1 << 14;
/// Steps that the table may be behind: what a barrier hands over, or two full memories.
const MOST_BEHIND: usize = 2;
/// Memories of new keys that there are at the same time: the one that is filled, those that are behind, and a sorted copy of
/// the one that is being written.
const MEMORIES: usize = 2 + MOST_BEHIND;

type Key = [u8; KEY_BYTES];

pub struct InTable {
    range: KeyRange,
    engine: Engine,
    name: String,
    table: RocksTable,
    behind: Behind,
    recent: Recent,
    filter: Filter,
    /// Not in the table yet.
    young: Sighted,
    /// So many keys of them at most.
    room: usize,
    /// What is handed over to be written, by step; nothing of a step that writes nothing.
    sealed: VecDeque<Option<Arc<Sighted>>>,
    /// Of one batch: what was known of each row's key before it, which keys the table was asked for, and what it has of
    /// them. Kept over calls to save allocations.
    before: Vec<Option<i64>>,
    asked: Vec<Key>,
    found: Sighted,
}

/// What is known of a key without asking the table.
enum Known {
    Seen(i64),
    New,
    Nothing,
}

impl InTable {
    /// In a folder whose name begins with `name`.
    pub fn new(range: KeyRange, engine: Engine, name: String) -> Result<Self, TableError> {
        let table = RocksTable::create(&engine, &name)?;
        Ok(Self {
            behind: Behind::start(table.clone())?,
            filter: Filter::new(engine.clone(), range.groups()),
            range,
            name,
            table,
            recent: Recent::new(),
            young: Sighted::default(),
            room: room(&engine),
            sealed: VecDeque::new(),
            before: Vec::new(),
            asked: Vec::new(),
            found: Sighted::default(),
            engine,
        })
    }

    /// Takes over what was seen elsewhere; it has seen nothing itself.
    pub fn fill(&mut self, sights: impl Iterator<Item = (u128, i64)>) -> Result<(), TableError> {
        for (hash, time) in sights {
            self.young.insert(hash, time, i64::MIN);
            self.filter_in(hash);
            self.keep_bounded()?;
        }
        Ok(())
    }

    /// Adds a key to the filter.
    fn filter_in(&mut self, hash: u128) {
        if self.filter.add(hash) {
            return;
        }
        self.filter.renew(&self.table);
        let unwritten = self.sealed.iter().flatten().flat_map(|sealed| sealed.iter()).chain(self.young.iter());
        // What does not fit into the new one is the next one's trouble.
        if !unwritten.fold(true, |fits, (hash, _)| self.filter.add(hash) && fits) {
            self.filter.give_up();
        }
    }

    /// What is known of a key without asking the table.
    fn known(&mut self, hash: u128) -> Known {
        if let Some(time) = self.recent.get(hash) {
            return Known::Seen(time);
        }
        if self.filter.is_new(hash) {
            return Known::New;
        }
        let mut unwritten = std::iter::once(&self.young).chain(self.sealed.iter().rev().flatten().map(Arc::as_ref));
        match unwritten.find_map(|sighted| sighted.get(hash)) {
            Some(time) => {
                self.recent.put(hash, time);
                Known::Seen(time)
            }
            None => Known::Nothing,
        }
    }

    /// Finds out what was known of each row's key before the batch.
    fn look_up(&mut self, sights: &Sights<'_>) -> Result<(), TableError> {
        let (mut before, mut asked) = (std::mem::take(&mut self.before), std::mem::take(&mut self.asked));
        before.clear();
        asked.clear();
        for (hash, time) in sights.iter() {
            let known = if sights.is_late(time) { Known::New } else { self.known(hash) };
            before.push(match known {
                Known::Seen(time) => Some(time),
                Known::New => None,
                Known::Nothing => {
                    asked.push(key_of(hash, self.range.max_parallelism));
                    None
                }
            });
        }
        self.found.clear();
        if !asked.is_empty() {
            asked.sort_unstable();
            asked.dedup();
            let keys: Vec<&[u8]> = asked.iter().map(Key::as_slice).collect();
            self.table.get_many(&keys, &mut |index, value| {
                if let (Some(key), Some(value)) = (keys.get(index), value) {
                    let (hash, time) = entry(key, value)?;
                    self.found.insert(hash, time, i64::MIN);
                    self.recent.put(hash, time);
                }
                Ok(())
            })?;
            for (before, hash) in before.iter_mut().zip(sights.hashes) {
                *before = before.or_else(|| self.found.get(*hash));
            }
        }
        (self.before, self.asked) = (before, asked);
        Ok(())
    }

    /// What is much goes to the disk.
    fn keep_bounded(&mut self) -> Result<(), TableError> {
        if self.young.len() >= self.room {
            self.seal();
            self.settle(MOST_BEHIND)?;
        }
        Ok(())
    }

    /// Hands over what is new.
    fn seal(&mut self) {
        if self.young.len() == 0 {
            return;
        }
        // Other tables may have come, or gone, since the last time.
        self.room = room(&self.engine);
        let sealed = Arc::new(std::mem::replace(&mut self.young, Sighted::with_room(self.room)));
        self.sealed.push_back(Some(sealed.clone()));
        let max_parallelism = self.range.max_parallelism;
        self.behind.step(move |table| {
            let mut entries: Vec<(Key, i64)> =
                sealed.iter().map(|(hash, time)| (key_of(hash, max_parallelism), time)).collect();
            entries.sort_unstable();
            table.take_in(|add| entries.iter().try_for_each(|(key, time)| add(key, &time.to_le_bytes())))
        });
    }

    /// What is written is looked up where it is.
    fn settle(&mut self, most: usize) -> Result<(), TableError> {
        let written = self.behind.settle(most)?;
        self.sealed.drain(..written.min(self.sealed.len()));
        Ok(())
    }
}

/// How many new keys may be in memory.
fn room(engine: &Engine) -> usize {
    #[cfg(any(test, feature = "test-util"))]
    if let Some(keys) = crate::simulation::ask(|doors| doors.unwritten_keys()) {
        return keys;
    }
    Sighted::room_in(engine.unwritten_bytes() / MEMORIES)
}

fn key_of(hash: u128, max_parallelism: u32) -> Key {
    let mut key = [0; KEY_BYTES];
    let (first, rest) = key.split_at_mut(GROUP_BYTES);
    first.copy_from_slice(&group(key_group(hash, max_parallelism)));
    rest.copy_from_slice(&hash.to_be_bytes());
    key
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
    Ok(keys.take(KEYS)?)
}

impl Seen for InTable {
    fn note(&mut self, sights: &Sights<'_>, noted: &mut Vec<Noted>) -> Result<(), StateError> {
        self.settle(MOST_BEHIND)?;
        self.filter.settle();
        self.look_up(sights)?;
        let before = std::mem::take(&mut self.before);
        for ((hash, time), before) in sights.iter().zip(&before) {
            if sights.is_late(time) {
                noted.push(Noted::Late);
                continue;
            }
            let what = match before.filter(|before| *before >= sights.oldest) {
                Some(before) if before <= time => Noted::NotEarlier,
                Some(before) => match self.young.insert(hash, time, sights.oldest) {
                    Noted::New => Noted::Earlier { replaced: before },
                    other => other,
                },
                None => self.young.insert(hash, time, sights.oldest),
            };
            if what.wins() {
                self.recent.put(hash, time);
            }
            if what == Noted::New {
                self.filter_in(hash);
            }
            noted.push(what);
        }
        self.before = before;
        Ok(self.keep_bounded()?)
    }

    fn forget(&mut self, oldest: i64) -> Result<(), StateError> {
        Ok(self.table.forget(oldest)?)
    }

    fn freeze(&mut self) -> Result<Remembers, StateError> {
        self.seal();
        self.sealed.push_back(None);
        Ok(Remembers { parts: Vec::new(), table: Some(self.behind.freeze(encode)) })
    }

    fn restore(&mut self, former: FormerKeys) -> Result<(), StateError> {
        if !former.tables.is_empty() {
            let oldest = former.oldest.of_all();
            self.table = RocksTable::restore(&self.engine, &self.name, self.range.groups(), &former.tables, oldest)?;
            self.behind = Behind::start(self.table.clone())?;
            self.filter.collect(&self.table);
        }
        let mut noted = Vec::new();
        let counting = Counting::new(self.range, &former)?;
        for part in &former.parts {
            let (hashes, times): (Vec<_>, Vec<_>) = counting.of(&part.batch()?).unzip();
            for (hashes, times) in hashes.chunks(RESTORED_AT_ONCE).zip(times.chunks(RESTORED_AT_ONCE)) {
                // All of them count: they were no late rows when they came.
                let sights = Sights { hashes, times, passed: i64::MIN, oldest: i64::MIN, live_for_ever: false };
                self.note(&sights, &mut noted)?;
                noted.clear();
            }
        }
        Ok(())
    }
}
