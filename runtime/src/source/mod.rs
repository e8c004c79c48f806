//! Sources: systems that records are read from, and can be read from again at a remembered place.
//!
//! A source is made of *splits* (Kafka partitions, files, stripes of the generator). A split is an ordered sequence with
//! positions; a reader owns some of them and, asked at a barrier, names the next position of each: that is all a source
//! has to remember. Which splits there are is found once, by the coordinator, or comes from a checkpoint; which reader owns
//! which follows from that and the parallelism, so readers agree without talking.
//!
//! A source promises: read again from a position, a split gives the same records in the same order.

use std::{fmt::Debug, ops::Range, sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidegate_crds::api::FailureReason;

use self::lag::LagProbe;
use crate::{
    failure::Reason,
    ids::{Epoch, EventTime, SubtaskIndex},
    job::secrets::MissingSecret,
};

pub mod files;
pub mod generator;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod lag;
mod silence;
mod unconfirmed;
pub mod watermark;

/// One split's place, as a checkpoint remembers it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitState {
    /// Name of the split, unique in its source: `orders-3`, a path, `stripe-0`.
    pub split: String,
    /// Position of the next record: an offset, a byte, an index.
    pub next: u64,
    /// Position at which a bounded split ends.
    pub end: Option<u64>,
    /// Largest event time read so far; the watermark goes on from it. Kept by the source task, not by the reader.
    pub newest: Option<EventTime>,
    /// What tells the split from another one that has its name; not every system does. Manifests before it have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Provenance>,
}

/// How a split's position stands to where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It has none.
    Open,
    Ahead,
    Reached,
}

impl End {
    pub fn of(next: u64, end: Option<u64>) -> Self {
        match end {
            None => Self::Open,
            Some(end) if next < end => Self::Ahead,
            Some(_) => Self::Reached,
        }
    }
}

impl SplitState {
    pub fn end(&self) -> End {
        End::of(self.next, self.end)
    }
}

/// Where positions come from: a topic can be made anew under its name, an unclean election can put other records at the
/// offsets that were read, and a file can be replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// The topic's id (KIP-516); `None` where the brokers have none.
    pub topic_id: Option<String>,
    /// The newest record that was read.
    pub newest_record: Option<RecordPlace>,
    /// What stands before the position, in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
}

/// The last bytes before a position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    pub bytes: u64,
    /// XXH3 of them, 64 bits, hexadecimal.
    pub xxh3: String,
}

/// A record, as the leader wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordPlace {
    pub offset: u64,
    /// Of the leader that took it in: of two leaders, the later has the higher one (KIP-101, KIP-320).
    pub leader_epoch: i32,
}

/// A system to read from, as the job names it.
#[async_trait]
pub trait Source: Debug + Send + Sync {
    /// Looks at the system before the job starts: reachable, allowed, there. An error here names what to do.
    async fn preflight(&self) -> Result<(), SourceError>;

    /// Whether a checkpoint's splits, of all subtasks, can be this source's. Asks no system; the reader may still find that
    /// they are gone.
    fn fits(&self, splits: &[SplitState]) -> Result<(), SourceError>;

    /// Whether this source has nothing to read behind a checkpoint's splits, of all subtasks. Asks no system.
    fn is_at_end(&self, splits: &[SplitState]) -> bool {
        splits.iter().all(|split| split.end.is_some_and(|end| split.next >= end))
    }

    /// Finds every split, where it begins and, if it is bounded, where it ends: once for all readers, before anything is read.
    /// `known` is what was found at an earlier start, which came to no checkpoint: it holds as long as the system is the one
    /// it was.
    async fn find_splits(&self, known: Option<&[SplitState]>) -> Result<Vec<SplitState>, SourceError>;

    /// What [`Source::find_splits`] goes by, of what the document says, where its answer is to be kept: what is found later may
    /// leave out records that were there at the first start. `None` where it never does.
    fn begins_by(&self) -> Option<String> {
        None
    }

    /// A reader for one subtask, which picks its own splits.
    async fn reader(&self, context: ReaderContext, from: Positions) -> Result<Box<dyn SourceReader>, SourceError>;
}

/// The splits of *all* subtasks, each where it is to be read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Positions {
    /// As [`Source::find_splits`] found them: nothing that was read of them is in a checkpoint.
    Found(Vec<SplitState>),
    /// As a checkpoint knows them.
    Restored(Vec<SplitState>),
}

impl Positions {
    pub fn splits(&self) -> &[SplitState] {
        match self {
            Self::Found(splits) | Self::Restored(splits) => splits,
        }
    }

    pub fn into_splits(self) -> Vec<SplitState> {
        match self {
            Self::Found(splits) | Self::Restored(splits) => splits,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct ReaderContext {
    pub subtask: SubtaskIndex,
    pub parallelism: u32,
}

/// Reads some of a source's splits; lives on one thread, inside a source task.
#[async_trait(?Send)]
pub trait SourceReader: Send {
    /// Waits for the next records. Cancel safe: a future that is dropped has read nothing.
    async fn fetch(&mut self) -> Result<Fetched, SourceError>;

    /// The splits of this reader with the position after the last record that `fetch` returned. A split never read from
    /// has a number too. [`SplitState::newest`] is left empty.
    fn positions(&self) -> Vec<SplitState>;

    /// How a split (its index in [`SourceReader::positions`]) stands to its end.
    fn end(&self, split: usize) -> End;

    /// When this reader last knew that it, and every other reader of the source, had all splits there were, in the time of
    /// [`crate::env::monotonic`]; `None` where no split comes later, or nobody waits for it.
    fn splits_known_at(&self) -> Option<Duration> {
        None
    }

    /// Looks for splits at once, so that [`SourceReader::splits_known_at`] is not before this call; gives up soon if the
    /// system does not answer. Whether the set of splits has changed.
    async fn look_for_splits(&mut self) -> Result<bool, SourceError> {
        Ok(false)
    }

    /// What the system last said of a split (its index in [`SourceReader::positions`]); `None` where it says nothing.
    fn remaining(&self, _split: usize) -> Option<Remaining> {
        None
    }

    /// What knows how far this reader is behind, where that can be known.
    fn lag_probe(&self) -> Option<Arc<dyn LagProbe>> {
        None
    }

    /// The positions of `epoch` are durable: a source may tell its system, for people and monitors.
    fn checkpoint_completed(&mut self, epoch: Epoch, positions: &[SplitState]) -> Result<(), SourceError>;
}

/// What a reader found.
pub enum Fetched {
    /// Encoded records, to be decoded by the source's format.
    Records(Box<dyn RawRecords>),
    /// Rows that need no decoding, with all columns of the source; `runs` cover the rows in order.
    Rows { batch: RecordBatch, runs: Vec<Run> },
    /// The set of splits has changed: ask for `positions` again.
    SplitsChanged,
    /// The reader has looked for splits and knows all: ask for `splits_known_at` again.
    SplitsKnown,
    /// Every split is at its end. Not called again.
    Exhausted,
}

/// What a system says of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remaining {
    /// Whether there is something behind what was handed over.
    pub records: bool,
    /// When the question was asked, in the time of [`crate::env::monotonic`].
    pub asked_at: Duration,
}

/// Neighbouring records of one split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Index into [`SourceReader::positions`].
    pub split: usize,
    /// Which records of the batch.
    pub records: Range<usize>,
}

/// A batch of encoded records, not copied out of where the system's client keeps them.
pub trait RawRecords: Send {
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of a record; `None` for a record without a value (a Kafka tombstone).
    fn payload(&self, index: usize) -> Option<&[u8]>;

    /// The record's place in its split.
    fn position(&self, index: usize) -> u64;

    /// Which split each record is of; the runs cover the records in order.
    fn runs(&self) -> &[Run];
}

#[derive(Debug, Error)]
pub enum SourceError {
    /// A message for the user: what was found, what is accepted, where.
    #[error("source `{source_name}`: {message}")]
    Refused { source_name: String, message: String },
    /// As above, but nobody answers: it may work when tried again.
    #[error("source `{source_name}`: {message}")]
    Unreachable { source_name: String, message: String },
    #[error("source `{source_name}`: {missing}")]
    Secret { source_name: String, missing: MissingSecret },
    #[error("source `{source_name}`: failed to {action}")]
    Failed {
        source_name: String,
        action: String,
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Reason for SourceError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Refused { .. } => FailureReason::SourceUnfit,
            Self::Unreachable { .. } | Self::Failed { .. } => FailureReason::SourceUnreachable,
            Self::Secret { missing, .. } => missing.reason(),
        }
    }
}
