//! What a run has met of all that can go wrong or be asked for, counted; and at which places processes have died.
//!
//! A kind counts when it has taken effect: a crash of a host where nobody lives is none. A series of runs that has not met
//! every kind says nothing about the ones it lacks.

use std::{collections::BTreeMap, fmt, ops::AddAssign};

use super::places::places;

macro_rules! kinds {
    ($($kind:ident: $words:literal,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $($kind,)*
        }

        impl Kind {
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            fn words(self) -> &'static str {
                match self {
                    $(Self::$kind => $words,)*
                }
            }
        }
    };
}

kinds! {
    Killed: "processes killed",
    LostPower: "hosts without power",
    Renamed: "processes back under another name",
    DiedAtBegun: "deaths at the beginning of an attempt",
    DiedAtSealed: "deaths at its end",
    DiedAtOwned: "deaths at an owned checkpoint",
    DiedAtCommitted: "deaths at a noted publication",
    DiedAtManifest: "deaths at a manifest",
    DiedAtPublished: "deaths at a published chunk",
    Parted: "partitions",
    PartedOneWay: "partitions in one direction",
    Frozen: "hosts that stood still",
    Jumped: "wall clocks that jumped",
    Storm: "storms",
    CutOff: "hosts that reached nothing outside",
    CutOffStore: "hosts that reached everything but the store",
    CutOffSinks: "hosts that reached everything but the sinks",
    SinkDown: "sinks that were down",
    Paused: "pauses of readers for longer than a partition may be silent",
    SlowLink: "slow links",
    Broken: "broken connections",
    ShortTransfer: "short reads and writes of a connection",
    DiskGone: "local disks that were full",
    FilesLeft: "crashes that left files on a local disk",
    SubtaskFailed: "failed subtasks",
    SlowRequest: "slow requests",
    RefusedRequest: "refused requests",
    LostRequest: "lost requests",
    LostAnswer: "lost answers",
    LateRequest: "requests that took place late",
    FlippedRead: "reads with a flipped bit",
    TruncatedRead: "reads cut short",
    Election: "partitions of a topic without a leader",
    PartitionFound: "looks that found partitions",
    PartitionBack: "partitions of a topic back after a silence",
    Forgotten: "rows of ids that were forgotten",
    Late: "rows that were late",
    Checkpoint: "checkpoints asked for",
    Savepoint: "savepoints asked for",
    StopAtOnce: "stops at once",
    Stop: "stops with a checkpoint",
    StopWithSavepoint: "stops with a savepoint",
    Drain: "drains asked for",
    Cancelled: "jobs cancelled that deleted what they had kept",
    HandOver: "jobs taken over by a later revision",
    CopyOfSavepoint: "jobs begun with a savepoint",
    CopyOfJob: "jobs begun with a checkpoint of one that ran",
    Rescale: "rescales asked for",
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// How often each kind was met, and a process died at each place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Met {
    kinds: BTreeMap<Kind, u64>,
    places: BTreeMap<&'static str, u64>,
}

impl Met {
    pub fn note(&mut self, kind: Kind) {
        *self.kinds.entry(kind).or_default() += 1;
    }

    pub fn died_at(&mut self, place: &'static str) {
        *self.places.entry(place).or_default() += 1;
    }

    /// The kinds that were never met, and the places at which nobody has died.
    pub fn lacks(&self) -> Vec<String> {
        let kinds = Kind::ALL.iter().filter(|kind| !self.kinds.contains_key(kind)).map(Kind::to_string);
        let places = places().filter(|place| !self.places.contains_key(place));
        kinds.chain(places.map(|place| format!("deaths at {place}"))).collect()
    }
}

impl AddAssign<&Self> for Met {
    fn add_assign(&mut self, other: &Self) {
        for (kind, count) in &other.kinds {
            *self.kinds.entry(*kind).or_default() += count;
        }
        for (place, count) in &other.places {
            *self.places.entry(place).or_default() += count;
        }
    }
}

/// `12 processes killed, 3 storms, 2 deaths at before-own`.
impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.kinds.iter().map(|(kind, count)| format!("{count} {kind}"));
        let places = self.places.iter().map(|(place, count)| format!("{count} deaths at {place}"));
        f.write_str(&kinds.chain(places).collect::<Vec<_>>().join(", "))
    }
}
