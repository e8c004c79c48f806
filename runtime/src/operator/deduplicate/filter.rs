//! Which keys were surely never seen: a Bloom filter over all keys of a table, so that a new one is not looked up at all.
//!
//! It grows level by level while there is memory for it, and is given up when there is none: then the table's own filters,
//! file by file, are what is left. Of a restored table it is made beside the task; until then it says of no key that it is
//! new.

use std::{
    ops::Range,
    sync::{
        Arc, Weak,
        mpsc::{Receiver, TryRecvError, channel},
    },
};

use parquet::bloom_filter::Sbbf;

use super::in_table::entry;
use crate::{
    env,
    state::table::{
        Table, TableError,
        rocks::{Engine, Reserved, RocksTable},
    },
};

/// Keys of the first level; each further one has four times as many as the one before.
const FIRST_LEVEL: u64 = 1 << 18;
const GROWTH: u64 = 4;
/// Split-block Bloom filters of so many bits a key take one new key in a hundred for a known one.
const BITS_A_KEY: u64 = 11;
/// A filter that has no room left is made anew if so small a share of its keys is left in the table.
const WORTH_RENEWING: u64 = 2;

pub struct Filter {
    engine: Engine,
    /// Key groups of the table.
    groups: Range<u32>,
    levels: Vec<Level>,
    state: State,
}

enum State {
    /// Every key is in a level.
    Whole,
    /// Those that came since are in a level; a thread collects the others.
    Collecting {
        collected: Receiver<Level>,
        /// The thread goes on while this is there.
        _wanted: Arc<()>,
    },
    /// There is too little memory.
    GivenUp,
}

struct Level {
    bits: Sbbf,
    keys: u64,
    room: u64,
    _bytes: Reserved,
}

impl Level {
    fn new(engine: &Engine, keys: u64) -> Option<Self> {
        // A filter has a power of two of bytes.
        let bytes = (keys * BITS_A_KEY / 8).next_power_of_two();
        let reserved = engine.reserve(bytes)?;
        let room = bytes * 8 / BITS_A_KEY;
        Some(Self { bits: Sbbf::new_with_num_of_bytes(bytes as usize), keys: 0, room, _bytes: reserved })
    }

    fn add(&mut self, hash: u128) {
        self.bits.insert(&bytes(hash)[..]);
        self.keys += 1;
    }
}

/// Of a hash that is as good as random, one half is enough.
fn bytes(hash: u128) -> [u8; 8] {
    ((hash >> 64) as u64).to_le_bytes()
}

impl Filter {
    /// Of a table without entries.
    pub fn new(engine: Engine, groups: Range<u32>) -> Self {
        Self { engine, groups, levels: Vec::new(), state: State::Whole }
    }

    /// Begins anew, with the keys of a table; those that are not in it yet have to be added again.
    pub fn collect(&mut self, table: &RocksTable) {
        self.levels.clear();
        // Keys that come meanwhile need a level of their own.
        let level = Level::new(&self.engine, table.count().max(FIRST_LEVEL));
        self.state = State::GivenUp;
        let Some(level) = level else { return };
        let wanted = Arc::new(());
        let (send, collected) = channel();
        let (table, groups, is_wanted) = (table.clone(), self.groups.clone(), Arc::downgrade(&wanted));
        let started = env::spawn_thread("filter", move || match all_keys(&table, groups, level, &is_wanted) {
            Ok(level) => {
                // Nobody waits for it when the task has ended.
                let _ended = send.send(level);
            }
            Err(error) => tracing::warn!(error = crate::error_chain(&error), "no filter was made of a table's keys"),
        });
        match started {
            Ok(_) => self.state = State::Collecting { collected, _wanted: wanted },
            Err(error) => tracing::warn!(%error, "no thread for a filter"),
        }
    }

    /// Takes what was collected, if it is there.
    pub fn settle(&mut self) {
        let State::Collecting { collected, .. } = &self.state else { return };
        match collected.try_recv() {
            Ok(level) => {
                // Looked at first: it has most keys. What is added goes into the last.
                self.levels.insert(0, level);
                self.state = State::Whole;
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => self.give_up(),
        }
    }

    /// True of a key that was surely never added.
    pub fn is_new(&self, hash: u128) -> bool {
        matches!(self.state, State::Whole) && !self.levels.iter().any(|level| level.bits.check(&bytes(hash)[..]))
    }

    /// Adds a key. False when there is no room for it any more: then it is time for [`Filter::renew`].
    #[must_use]
    pub fn add(&mut self, hash: u128) -> bool {
        if matches!(self.state, State::GivenUp) {
            return true;
        }
        let is_full = self.levels.last().is_none_or(|level| level.keys >= level.room);
        if is_full {
            let keys = self.levels.last().map_or(FIRST_LEVEL, |level| level.room * GROWTH);
            match Level::new(&self.engine, keys) {
                Some(level) => self.levels.push(level),
                None => return false,
            }
        }
        if let Some(level) = self.levels.last_mut() {
            level.add(hash);
        }
        true
    }

    /// There is no room: begins anew with what is left in the table, if that is worth it, or gives up. Keys that are not in
    /// the table yet have to be added again.
    pub fn renew(&mut self, table: &RocksTable) {
        let keys: u64 = self.levels.iter().map(|level| level.keys).sum();
        if matches!(self.state, State::Whole) && table.count() < keys / WORTH_RENEWING {
            self.collect(table);
        } else {
            tracing::info!(keys, "too little memory for a filter over all keys: new ones are looked up");
            self.give_up();
        }
    }

    /// From now on no key is known to be new.
    pub fn give_up(&mut self) {
        self.levels.clear();
        self.state = State::GivenUp;
    }
}

/// All keys of a table, unless nobody wants to know any more.
fn all_keys(
    table: &RocksTable,
    mut groups: Range<u32>,
    mut level: Level,
    wanted: &Weak<()>,
) -> Result<Level, TableError> {
    while let Some(group) = groups.next().filter(|_| wanted.strong_count() > 0) {
        table.scan_groups(group..group + 1, &mut |key, value| {
            level.add(entry(key, value)?.0);
            Ok(())
        })?;
    }
    Ok(level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        exchange::partition::hash_rows,
        state::{
            local::LocalFolder,
            table::{Changes, group},
        },
    };

    fn hashes(numbers: Range<i64>) -> Vec<u128> {
        let rows = numbers.clone().count();
        let keys: arrow::array::ArrayRef = Arc::new(arrow::array::Int64Array::from_iter_values(numbers));
        hash_rows(&[keys], rows).unwrap()
    }

    fn filter(budget: u64) -> (tempfile::TempDir, Engine, Filter) {
        let parent = tempfile::tempdir().unwrap();
        let engine = Engine::new(LocalFolder::create(parent.path()).unwrap(), budget);
        let filter = Filter::new(engine.clone(), 0..1);
        (parent, engine, filter)
    }

    #[test]
    fn a_key_that_was_added_is_never_new_and_few_others_are_taken_for_known() {
        let (_parent, _engine, mut filter) = filter(64 << 20);
        for hash in hashes(0..2_000_000) {
            assert!(filter.add(hash));
        }
        assert!(filter.levels.len() > 1);
        assert!(hashes(0..2_000_000).into_iter().all(|hash| !filter.is_new(hash)));
        let known = hashes(2_000_000..2_100_000).into_iter().filter(|hash| !filter.is_new(*hash)).count();
        assert!(known < 3_000, "{known} of 100,000 new keys are looked up");
    }

    #[test]
    fn without_room_for_more_keys_none_is_taken_for_new() {
        let (_parent, engine, mut filter) = filter(0);
        let fits = hashes(0..10_000_000).into_iter().take_while(|hash| filter.add(*hash)).count();
        assert!((1_000_000..10_000_000).contains(&fits), "{fits} keys fit");
        let table = RocksTable::create(&engine, "table").unwrap();
        let mut changes = Changes::default();
        for hash in hashes(0..10) {
            changes.put(&[&group(0)[..], &hash.to_be_bytes()].concat(), &0_i64.to_le_bytes());
        }
        table.clone().write(&changes).unwrap();
        // Of all that was added, ten keys are left: it is worth while to begin again.
        filter.renew(&table);
        assert!(hashes(0..20).into_iter().all(|hash| !filter.is_new(hash)), "it is not known yet what the table has");
        while matches!(filter.state, State::Collecting { .. }) {
            filter.settle();
        }
        assert!(hashes(0..10).into_iter().all(|hash| !filter.is_new(hash)));
        assert!(hashes(10..1_000).into_iter().filter(|hash| filter.is_new(*hash)).count() > 900);
        // And now it is not.
        assert!(hashes(0..5).into_iter().all(|hash| filter.add(hash)));
        filter.renew(&table);
        assert!(hashes(10..1_000).into_iter().all(|hash| !filter.is_new(hash)));
    }
}
