//! Sinks: systems that results are written to, once.
//!
//! Exactly-once is rows in the checkpoint plus idempotent publication. A sink task only buffers: at a barrier the rows of
//! the epoch become *chunks*, files of the write-ahead log that the checkpoint names. When the checkpoint is owned (see
//! [`CommitPermit`]) its chunks are handed to the sink's [`Publisher`], as often as it takes.
//!
//! A publisher promises: publishing a chunk again, from this process or a later one, before or after a crash, changes
//! nothing once it was published, and `Ok` means that it is there for good. Chunks of one slot come in order of epoch
//! and index; chunks of different slots may come at the same time.

use std::{fmt, fmt::Debug};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidegate_crds::api::FailureReason;

use crate::{
    checkpoint::{CommitPermit, destination::Destination},
    failure::Reason,
    ids::Epoch,
    job::secrets::MissingSecret,
};

#[cfg(feature = "clickhouse")]
pub mod clickhouse;
pub mod files;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod print;

/// Identity of a chunk over the whole life of a job and its successors.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkId {
    /// The job's identity; kept when the job is moved, new when it is copied.
    pub lineage: String,
    pub sink: String,
    /// Subtask of the sink that wrote the rows.
    pub slot: u32,
    pub epoch: Epoch,
    /// Which of the chunks of this slot and epoch, from 0.
    pub index: u32,
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lineage, sink, slot, epoch, index } = self;
        write!(f, "{lineage}/{sink}/{slot}/{epoch}/{index}")
    }
}

/// Rows to publish, exactly as the write-ahead log has them: a repeat brings the same rows in the same batches.
#[derive(Debug, Clone)]
pub struct Chunk {
    pub id: ChunkId,
    pub schema: SchemaRef,
    pub rows: Vec<RecordBatch>,
    /// XXH3 of its file in the write-ahead log, 64 bits, hexadecimal: tells it from other rows under the same id.
    pub checksum: String,
}

/// What a look at a sink may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Preflight {
    /// Rows are owned that may be there already: what tells a repeat must not begin anew.
    pub awaited: bool,
    /// Nothing is made or changed: no job is about to start.
    pub dry_run: bool,
}

/// A sink with `ExactlyOnce` or `Idempotent` delivery.
#[async_trait]
pub trait Publisher: Debug + Send + Sync {
    /// Where chunks go, and what decides how they are published: a repeat must find it as it was.
    fn destination(&self) -> Destination;

    /// Looks at the system before the job starts: reachable, allowed, fit for the promise, with columns for `schema`.
    /// So many `slots` will publish. An error here names what to do, such as the statement that would fix the table.
    async fn preflight(&self, schema: &SchemaRef, slots: u32, preflight: Preflight) -> Result<(), SinkError>;

    /// Fails if the system has more of a lineage than the epoch `owned`, which is the newest that its log owns.
    async fn compare(&self, _owned: Epoch, _lineage: &str) -> Result<(), SinkError> {
        Ok(())
    }

    /// An attempt has taken the job over from one that may have published, and nothing is published for it yet: whether
    /// the system has more than the log knows of, and what to clear up. `permit` is of the newest epoch that is owned.
    async fn take_over(&self, _permit: &CommitPermit, _lineage: &str) -> Result<(), SinkError> {
        Ok(())
    }

    /// Writes the chunk, once in all. An error leaves it open whether the chunk is there; the caller tries again.
    async fn publish(&self, permit: &CommitPermit, chunk: &Chunk) -> Result<(), SinkError>;
}

/// A sink that is written through, with `AtLeastOnce` or `None` delivery.
#[async_trait]
pub trait DirectSink: Debug + Send + Sync {
    /// As [`Publisher::preflight`].
    async fn preflight(&self, schema: &SchemaRef) -> Result<(), SinkError>;

    /// A writer for one subtask.
    fn open(&self) -> Result<Box<dyn DirectWriter>, SinkError>;
}

/// Writes for one subtask of a [`DirectSink`]; lives on one thread, inside a task.
pub trait DirectWriter: Send {
    /// Hands rows to the system's client; may wait when its buffers are full. An error of an earlier write is returned by
    /// the next call.
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SinkError>;

    /// What has to be waited for before a barrier is acknowledged: `Ok` when all rows written so far are delivered.
    fn flush(&mut self) -> FlushFuture;
}

pub type FlushFuture = std::pin::Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send>>;

#[derive(Debug, Error)]
pub enum SinkError {
    /// A message for the user: what was found, what is accepted, where. Trying again does not help.
    #[error("sink `{sink}`: {message}")]
    Refused { sink: String, message: String },
    /// A message for the user, too, but nobody answers: it may work when tried again.
    #[error("sink `{sink}`: {message}")]
    Unreachable { sink: String, message: String },
    #[error("sink `{sink}`: {missing}")]
    Secret { sink: String, missing: MissingSecret },
    /// It may work when tried again.
    #[error("sink `{sink}`: failed to {action}")]
    Failed {
        sink: String,
        action: String,
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Reason for SinkError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Refused { .. } => FailureReason::SinkUnfit,
            Self::Unreachable { .. } | Self::Failed { .. } => FailureReason::SinkUnreachable,
            Self::Secret { missing, .. } => missing.reason(),
        }
    }
}
