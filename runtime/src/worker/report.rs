//! What a subtask tells its worker.

use std::sync::Arc;

use tidegate_crds::api::Failure;

use super::protocol::{Ack, TaskId};
use crate::{
    checkpoint::manifest::{ChunkRef, PartRef},
    ids::Epoch,
    sink::Chunk,
    state::{ChunkRows, StatePart},
};

#[derive(Debug)]
pub enum Report {
    /// Its share of a checkpoint is uploaded.
    Acked(Ack, Held),
    /// Its share of a checkpoint could not be uploaded; it goes on.
    Declined { epoch: Epoch, failure: Failure },
    /// A source has read all there is.
    Exhausted(TaskId),
    /// It has ended after its last barrier.
    Ended(TaskId),
    /// It can't go on.
    Failed(Failure),
}

/// What stays in the worker of a subtask's share of a checkpoint, until that has completed or is given up.
#[derive(Debug, Default)]
pub struct Held {
    /// Parts that were uploaded for it, and where they are.
    pub parts: Vec<(Arc<StatePart>, PartRef)>,
    pub chunks: Vec<HeldChunk>,
}

/// A chunk in the write-ahead log, with its rows while they are still at hand.
#[derive(Debug)]
pub struct HeldChunk {
    pub reference: ChunkRef,
    pub chunk: Option<Chunk>,
    pub rows: Arc<ChunkRows>,
}
