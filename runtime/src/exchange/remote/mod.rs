//! Channels between processes: one Arrow Flight stream (`DoExchange`) each.
//!
//! The first message names the channel ([`ChannelId`], JSON in `app_metadata`). Schemas, dictionaries and batches follow
//! as Flight has them; barriers, watermarks, idleness and the end are messages without a body, JSON in `app_metadata`
//! ([`frame`]), and each has its checksum before that. A stream has a window of its own, and the connection one larger than all of them together: a channel that
//! is held at a barrier stops no other. The sending end is an [`super::local::Outbox`] that [`send`] drains, the receiving
//! end a [`super::local::Sender`] that [`post`] feeds; tasks see the same channels as inside a process.

pub mod frame;
pub mod post;
pub mod send;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    exchange::remote::frame::FrameError,
    failure::Reason,
    ids::{Attempt, Run, SubtaskIndex},
};

/// Bytes that may be under way on one stream.
const STREAM_WINDOW: u32 = 1 << 20;
/// As large as HTTP/2 allows: only streams hold each other's data back, never the connection.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// The largest message: far above any batch, and a bound on what a broken peer can ask for.
const LONGEST_MESSAGE: usize = 1 << 30;

/// Names a channel by its receiving end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChannelId {
    pub attempt: Attempt,
    /// Of both ends: a channel joins subtasks of one region.
    pub run: Run,
    /// Index in the topology.
    pub task: usize,
    pub subtask: SubtaskIndex,
    /// Which of the channels into that subtask.
    pub channel: usize,
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attempt, run, task, subtask, channel } = self;
        write!(f, "channel {channel} into subtask {subtask} of task {task}, attempt {attempt}, run {run}")
    }
}

/// Why a channel between two workers has broken.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    #[error("{channel}: the worker at `{peer}` can't be reached: {cause}")]
    Unreachable { channel: ChannelId, peer: String, cause: String },
    #[error("{channel}: the stream to the worker at `{peer}` has broken: {cause}")]
    Broken { channel: ChannelId, peer: String, cause: String },
    #[error("{channel}: the stream from its sender has broken: {cause}")]
    Interrupted { channel: ChannelId, cause: String },
    #[error("{channel}")]
    Frame {
        channel: ChannelId,
        #[source]
        source: FrameError,
    },
}

impl Reason for ChannelError {
    fn reason(&self) -> tidegate_crds::api::FailureReason {
        tidegate_crds::api::FailureReason::WorkerLost
    }
}

#[cfg(test)]
mod tests;
