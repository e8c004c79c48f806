//! What a subtask has seen, wherever it is kept: the rule, and the interface of the places.

use std::{ops::Range, sync::Arc};

use hashbrown::{HashTable, hash_table::Entry};

use crate::{
    exchange::partition::key_group,
    operator::RestoredPart,
    state::{
        StateError, StatePart,
        table::rocks::{Downloaded, Freezing},
    },
};

/// Of each key, the smallest event time it was seen with.
pub trait Seen: Send {
    /// Notes the rows of a batch, one after the other, and says of each what it is.
    fn note(&mut self, sights: &Sights<'_>, noted: &mut Vec<Noted>) -> Result<(), StateError>;

    /// What was seen before `oldest` will not be asked for any more.
    fn forget(&mut self, oldest: i64) -> Result<(), StateError>;

    /// What is remembered at a barrier.
    fn freeze(&mut self) -> Result<Remembers, StateError>;

    /// Takes over the own share of what former subtasks remembered and had not forgotten.
    fn restore(&mut self, former: FormerKeys) -> Result<(), StateError>;
}

/// The rows of a batch.
pub struct Sights<'a> {
    pub hashes: &'a [u128],
    /// Event times.
    pub times: &'a [i64],
    /// Where the watermark is: rows up to it are late and not seen.
    pub passed: i64,
    /// What was seen before this is forgotten.
    pub oldest: i64,
    /// Nothing is ever forgotten.
    pub live_for_ever: bool,
}

impl Sights<'_> {
    pub fn iter(&self) -> impl Iterator<Item = (u128, i64)> {
        self.hashes.iter().copied().zip(self.times.iter().copied())
    }

    /// Whether a row of this time is late.
    pub fn is_late(&self, time: i64) -> bool {
        time <= self.passed
    }
}

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    Late,
    /// Of a key that is not remembered.
    New,
    /// The earliest of its key by now, in the place of one.
    Earlier {
        replaced: i64,
    },
    NotEarlier,
}

impl Noted {
    /// Whether the row takes its key's place.
    pub fn wins(self) -> bool {
        matches!(self, Self::New | Self::Earlier { .. })
    }
}

/// What is remembered at a barrier: as parts or as a table.
#[derive(Default)]
pub struct Remembers {
    pub parts: Vec<Arc<StatePart>>,
    pub table: Option<Freezing>,
}

/// What former subtasks remembered that had some of our key groups.
#[derive(Default)]
pub struct FormerKeys {
    pub parts: Vec<RestoredPart>,
    /// Sights among these that count no more.
    pub replaced: Vec<RestoredPart>,
    pub tables: Vec<Downloaded>,
    pub oldest: OldestOfGroup,
}

/// What former subtasks had not forgotten, by key group: they may have come differently far in time, and each forgot by its
/// own watermark. A part may have keys of several.
#[derive(Default)]
pub struct OldestOfGroup {
    limits: Vec<(Range<u32>, i64)>,
    max_parallelism: u32,
}

impl OldestOfGroup {
    /// By the key groups of each, in ascending order, and the oldest time that it had not forgotten.
    pub fn new(limits: Vec<(Range<u32>, i64)>, max_parallelism: u32) -> Self {
        Self { limits, max_parallelism }
    }

    /// Sights of the key before this time were forgotten.
    pub fn of(&self, hash: u128) -> i64 {
        let group = key_group(hash, self.max_parallelism);
        let place = self.limits.partition_point(|(groups, _)| groups.end <= group);
        self.limits.get(place).map_or(i64::MIN, |(_, oldest)| *oldest)
    }

    /// Sights before this time were forgotten, whosever they were.
    pub fn of_all(&self) -> i64 {
        self.limits.iter().map(|(_, oldest)| *oldest).min().unwrap_or(i64::MIN)
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Sight {
    /// High and low half of the key's hash: two words, since a `u128` would be padded to 32 bytes with the time.
    hash: [u64; 2],
    time: i64,
}

/// Keys in a hash table, and the rule of what counts.
#[derive(Default)]
pub(super) struct Sighted(HashTable<Sight>);

impl Sight {
    pub fn new(hash: u128, time: i64) -> Self {
        Self { hash: halves(hash), time }
    }

    pub fn hash(&self) -> u128 {
        whole(self.hash)
    }

    pub fn time(&self) -> i64 {
        self.time
    }
}

impl Sighted {
    /// Notes that a key was seen. What was seen before `oldest` is forgotten.
    pub fn insert(&mut self, hash: u128, time: i64, oldest: i64) -> Noted {
        let key = halves(hash);
        // By the high half: of the low one, which makes the key group, a subtask sees only a share of the values.
        match self.0.entry(key[0], |seen| seen.hash == key, |seen| seen.hash[0]) {
            Entry::Vacant(entry) => {
                entry.insert(Sight { hash: key, time });
                Noted::New
            }
            Entry::Occupied(mut entry) if entry.get().time < oldest => {
                entry.get_mut().time = time;
                Noted::New
            }
            Entry::Occupied(mut entry) if entry.get().time > time => {
                let replaced = std::mem::replace(&mut entry.get_mut().time, time);
                Noted::Earlier { replaced }
            }
            Entry::Occupied(_) => Noted::NotEarlier,
        }
    }

    /// The smallest time that a key was seen with.
    pub fn get(&self, hash: u128) -> Option<i64> {
        let key = halves(hash);
        self.0.find(key[0], |seen| seen.hash == key).map(|seen| seen.time)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// At once: a table that grows is written anew each time.
    pub fn reserve(&mut self, count: usize) {
        self.0.reserve(count, |seen| seen.hash[0]);
    }

    /// How many keys fit into so many bytes: those of the largest table that does. It has a power of two of places, each with
    /// one byte beside it, of which seven in eight are taken.
    pub fn room_in(bytes: usize) -> usize {
        let places = 1 << (bytes / (size_of::<Sight>() + 1)).max(64).ilog2();
        places / 8 * 7
    }

    pub fn with_room(count: usize) -> Self {
        Self(HashTable::with_capacity(count))
    }

    pub fn iter(&self) -> impl Iterator<Item = (u128, i64)> {
        self.0.iter().map(|seen| (whole(seen.hash), seen.time))
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// As [`Sighted`], of so many keys that a table which grows must not be all of them: it takes two tables beside itself, and
/// the task waits.
pub(super) struct Shards([Sighted; SHARDS]);

const SHARDS: usize = 64;
/// Of the high half, which bits choose: neither the highest nor the lowest, by which a table finds its places.
const SHARD_SHIFT: u32 = 40;

impl Shards {
    pub fn insert(&mut self, hash: u128, time: i64, oldest: i64) -> Noted {
        self.0[(hash >> (u64::BITS + SHARD_SHIFT)) as usize % SHARDS].insert(hash, time, oldest)
    }

    /// At once: a table that grows is written anew each time.
    pub fn reserve(&mut self, count: usize) {
        let share = count / SHARDS;
        // Hashes are spread evenly, but not quite.
        self.0.iter_mut().for_each(|shard| shard.reserve(share + share / 64));
    }

    pub fn iter(&self) -> impl Iterator<Item = (u128, i64)> {
        self.0.iter().flat_map(Sighted::iter)
    }

    /// Bytes in memory. A shard that grows takes one of twice the size, and is counted when it is near.
    pub fn size(&self) -> usize {
        let size = |Sighted(table): &Sighted| {
            let grows_soon = table.len() > table.capacity() / 8 * 7;
            if grows_soon { 2 * table.allocation_size() } else { table.allocation_size() }
        };
        self.0.iter().map(size).sum()
    }

    pub fn forget(&mut self, oldest: i64) {
        self.0.iter_mut().for_each(|shard| shard.0.retain(|seen| seen.time >= oldest));
    }
}

impl Default for Shards {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Sighted::default()))
    }
}

fn halves(hash: u128) -> [u64; 2] {
    [(hash >> 64) as u64, hash as u64]
}

fn whole([high, low]: [u64; 2]) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}
