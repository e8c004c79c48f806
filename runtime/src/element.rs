//! What travels between operators.

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, EventTime};

/// One thing on a channel, in order: rows, a promise about time, a cut, or the end.
#[derive(Debug, Clone)]
pub enum Element {
    Batch(RecordBatch),
    /// No later row on this channel has an event time at or before this one, but for late rows.
    Watermark(EventTime),
    /// The channel brings nothing for now and says nothing of time, until the next batch or watermark.
    Idle,
    Barrier(Barrier),
    /// Nothing follows.
    End,
}

/// The line between two epochs: rows before it belong to `epoch`, rows after it to the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Barrier {
    pub epoch: Epoch,
    /// The last barrier of this attempt: nothing but [`Element::End`] follows.
    pub last: bool,
    /// All state is written as rows, which every backend reads: it becomes a savepoint.
    #[serde(default)]
    pub open: bool,
}
