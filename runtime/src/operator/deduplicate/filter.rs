//! Which keys were surely never seen: a Bloom filter over all keys of a table, so that a new one is not looked up at all.
//!
//! It grows level by level while there is memory for it, and is given up when there is none: then the table's own filters,
//! file by file, are what is left. Of a restored table it is made beside the task; until then it says of no key that it is
//! new.

use std::{
    convert::Infallible,
    ops::Range,
    sync::{
        Arc, Weak,
        mpsc::{Receiver, TryRecvError, channel},
    },
};

use parquet::bloom_filter::Sbbf;

use super::in_table::entry;
use crate::{
    env::Line,
    state::table::{
        Table, TableError,
        rocks::{Engine, Reserved, RocksTable},
    },
};

/// Bytes of the first level, a power of two as of all. Each further one has four times as many as the largest, or as many as
/// there are.
const FIRST_LEVEL: u64 = 512 << 10;
const GROWTH: u64 = 4;
/// A level can't have more.
const LARGEST_LEVEL: u64 = 128 << 20;
/// Split-block Bloom filters of so many bits a key take one new key in a hundred for a known one.
const BITS_A_KEY: u64 = 11;
/// A filter that has no room left is made anew if so small a share of its keys is left in the table.
const WORTH_RENEWING: u64 = 2;

pub struct Filter {
    engine: Engine,
    /// Key groups of the table.
    groups: Range<u32>,
    levels: Levels,
    state: State,
}

enum State {
    /// Every key is in a level.
    Whole,
    /// Those that came since are in a level; a thread collects the others.
    Collecting {
        collected: Receiver<Levels>,
        /// The thread goes on while this is there.
        _wanted: Arc<()>,
    },
    /// There is too little memory.
    GivenUp,
}

#[derive(Default)]
struct Levels(Vec<Level>);

struct Level {
    bits: Sbbf,
    keys: u64,
    room: u64,
    bytes: u64,
    _reserved: Reserved,
}

impl Level {
    fn new(engine: &Engine, bytes: u64) -> Option<Self> {
        let reserved = engine.reserve(bytes)?;
        let room = bytes * 8 / BITS_A_KEY;
        Some(Self { bits: Sbbf::new_with_num_of_bytes(bytes as usize), keys: 0, room, bytes, _reserved: reserved })
    }
}

impl Levels {
    fn keys(&self) -> u64 {
        self.0.iter().map(|level| level.keys).sum()
    }

    fn has(&self, hash: u128) -> bool {
        self.0.iter().any(|level| level.bits.check(&bytes(hash)[..]))
    }

    /// False when there is no room for the key, and no memory for another level.
    #[must_use]
    fn add(&mut self, hash: u128, engine: &Engine) -> bool {
        if self.with_room().is_none() {
            let largest = self.0.iter().map(|level| level.bytes).max();
            if !self.grow(largest.map_or(FIRST_LEVEL, |bytes| bytes * GROWTH), engine) {
                return false;
            }
        }
        if let Some(level) = self.with_room() {
            level.bits.insert(&bytes(hash)[..]);
            level.keys += 1;
        }
        true
    }

    /// Adds levels for so many keys. They add up to what these need: of one that is rounded up half might stay empty, and
    /// others have none. False when there is too little memory.
    fn make_room(&mut self, keys: u64, engine: &Engine) -> bool {
        let mut needed = (keys * BITS_A_KEY).div_ceil(8);
        while needed > 0 {
            let level = (1 << needed.ilog2()).clamp(FIRST_LEVEL, LARGEST_LEVEL);
            if !self.grow(level, engine) {
                return false;
            }
            needed = needed.saturating_sub(level);
        }
        true
    }

    fn with_room(&mut self) -> Option<&mut Level> {
        self.0.iter_mut().rev().find(|level| level.keys < level.room)
    }

    /// Adds a level of so many bytes, or of as many as there are. False when that is not even enough for a first one.
    fn grow(&mut self, bytes: u64, engine: &Engine) -> bool {
        let sizes = std::iter::successors(Some(bytes.min(LARGEST_LEVEL)), |bytes| Some(bytes / 2));
        let level = sizes.take_while(|bytes| *bytes >= FIRST_LEVEL).find_map(|bytes| Level::new(engine, bytes));
        let has_grown = level.is_some();
        self.0.extend(level);
        has_grown
    }
}

/// Of a hash that is as good as random, one half is enough.
fn bytes(hash: u128) -> [u8; 8] {
    ((hash >> 64) as u64).to_le_bytes()
}

impl Filter {
    /// Of a table without entries.
    pub fn new(engine: Engine, groups: Range<u32>) -> Self {
        Self { engine, groups, levels: Levels::default(), state: State::Whole }
    }

    /// Begins anew, with the keys of a table; those that are not in it yet have to be added again.
    pub fn collect(&mut self, table: &RocksTable) {
        self.give_up();
        let wanted = Arc::new(());
        let (send, collected) = channel();
        let (table, groups, engine) = (table.clone(), self.groups.clone(), self.engine.clone());
        let is_wanted = Arc::downgrade(&wanted);
        let line = match Line::<Infallible>::start("filter") {
            Ok(line) => line,
            Err(error) => return tracing::warn!(%error, "no thread for a filter"),
        };
        line.hand_over(move || {
            match all_keys(&table, groups, &engine, &is_wanted) {
                // Nobody waits for it when the task has ended.
                Ok(Some(levels)) => _ = send.send(levels),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(error = crate::error_chain(&error), "no filter was made of a table's keys");
                }
            }
            Ok(())
        });
        self.state = State::Collecting { collected, _wanted: wanted };
    }

    /// Takes what was collected, if it is there.
    pub fn settle(&mut self) {
        let State::Collecting { collected, .. } = &self.state else { return };
        match collected.try_recv() {
            Ok(Levels(mut levels)) => {
                // Most keys are there, so they are looked at first. There may be room left in them.
                levels.append(&mut self.levels.0);
                self.levels = Levels(levels);
                self.state = State::Whole;
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => self.give_up(),
        }
    }

    /// True of a key that was surely never added.
    pub fn is_new(&self, hash: u128) -> bool {
        matches!(self.state, State::Whole) && !self.levels.has(hash)
    }

    /// Adds a key. False when there is no room for it any more: then it is time for [`Filter::renew`].
    #[must_use]
    pub fn add(&mut self, hash: u128) -> bool {
        matches!(self.state, State::GivenUp) || self.levels.add(hash, &self.engine)
    }

    /// There is no room: begins anew with what is left in the table, if that is worth it, or gives up. Keys that are not in
    /// the table yet have to be added again.
    pub fn renew(&mut self, table: &RocksTable) {
        let keys = self.levels.keys();
        if matches!(self.state, State::Whole) && table.count() < keys / WORTH_RENEWING {
            self.collect(table);
        } else {
            tracing::info!(keys, "too little memory for a filter over all keys: new ones are looked up");
            self.give_up();
        }
    }

    /// From now on no key is known to be new.
    pub fn give_up(&mut self) {
        self.levels = Levels::default();
        self.state = State::GivenUp;
    }
}

/// All keys of a table; nothing if there is too little memory, or nobody wants to know any more.
fn all_keys(
    table: &RocksTable,
    groups: Range<u32>,
    engine: &Engine,
    wanted: &Weak<()>,
) -> Result<Option<Levels>, TableError> {
    let mut levels = Levels::default();
    let mut fits = levels.make_room(table.count(), engine);
    for group in groups {
        if !fits || wanted.strong_count() == 0 {
            return Ok(None);
        }
        table.scan_groups(group..group + 1, &mut |key, value| {
            fits = fits && levels.add(entry(key, value)?.0, engine);
            Ok(())
        })?;
    }
    Ok(fits.then_some(levels))
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
        let engine = Engine::new(LocalFolder::create(parent.path()).unwrap(), budget).unwrap();
        let filter = Filter::new(engine.clone(), 0..1);
        (parent, engine, filter)
    }

    #[test]
    fn a_key_that_was_added_is_never_new_and_few_others_are_taken_for_known() {
        let (_parent, _engine, mut filter) = filter(64 << 20);
        for hash in hashes(0..2_000_000) {
            assert!(filter.add(hash));
        }
        assert!(filter.levels.0.len() > 1);
        assert!(hashes(0..2_000_000).into_iter().all(|hash| !filter.is_new(hash)));
        let known = hashes(2_000_000..2_100_000).into_iter().filter(|hash| !filter.is_new(*hash)).count();
        assert!(known < 3_000, "{known} of 100,000 new keys are looked up");
    }

    #[test]
    fn room_is_made_for_the_keys_there_are_and_hardly_more() {
        let (_parent, engine, _) = filter(64 << 20);
        for keys in [0, 1, 381_000, 400_000, 1_600_000, 1_900_000] {
            let mut levels = Levels::default();
            assert!(levels.make_room(keys, &engine));
            let room: u64 = levels.0.iter().map(|level| level.room).sum();
            let in_a_level = FIRST_LEVEL * 8 / BITS_A_KEY;
            assert!((keys..=keys + in_a_level).contains(&room), "room for {room} keys, where there are {keys}");
        }
    }

    #[test]
    fn what_was_collected_takes_up_keys_as_long_as_it_has_room() {
        let (_parent, _engine, mut fresh) = filter(0);
        let at_most = hashes(0..10_000_000).into_iter().take_while(|hash| fresh.add(*hash)).count();
        let (_parent, engine, mut filter) = filter(0);
        let mut levels = Levels::default();
        assert!(levels.grow(2 << 20, &engine));
        assert!(hashes(0..800_000).into_iter().all(|hash| levels.add(hash, &engine)));
        let (send, collected) = channel();
        filter.state = State::Collecting { collected, _wanted: Arc::default() };
        assert!(hashes(800_000..800_001).into_iter().all(|hash| filter.add(hash)), "one that comes meanwhile");
        assert!(send.send(levels).is_ok());
        filter.settle();
        let more = hashes(800_001..10_000_000).into_iter().take_while(|hash| filter.add(*hash)).count();
        let in_a_level = (FIRST_LEVEL * 8 / BITS_A_KEY) as usize;
        assert!(800_001 + more + in_a_level > at_most, "{more} keys more, where {at_most} fit into the memory");
        assert!(hashes(0..800_001 + more as i64).into_iter().all(|hash| !filter.is_new(hash)));
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
