//! What a worker tells the coordinator, and what it is told.

use std::sync::Arc;

use tidegate_crds::api::Failure;

use crate::{
    checkpoint::manifest::{ChunkRef, PartRef, SubtaskState},
    element::Barrier,
    ids::{Epoch, OperatorId, SubtaskIndex},
    sink::Chunk,
    state::{ChunkRows, StatePart},
};

/// One subtask of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// Index in the topology.
    pub task: usize,
    pub subtask: SubtaskIndex,
}

#[derive(Debug)]
pub enum Report {
    /// The subtask's share of a checkpoint is uploaded.
    Acked(Ack),
    /// The subtask's share of a checkpoint could not be uploaded; the task goes on.
    Declined { epoch: Epoch, failure: Failure },
    /// A source subtask has read all there is.
    Exhausted(TaskId),
    /// The subtask has ended after its last barrier.
    Ended(TaskId),
    /// A subtask can't go on.
    Failed(Failure),
}

/// A subtask's share of a checkpoint.
#[derive(Debug)]
pub struct Ack {
    pub task: TaskId,
    pub epoch: Epoch,
    pub operators: Vec<(OperatorId, SubtaskState)>,
    pub chunks: Vec<AckedChunk>,
    /// Parts that were uploaded for it, to be told when the checkpoint has completed.
    pub parts: Vec<(Arc<StatePart>, PartRef)>,
    /// Bytes uploaded.
    pub bytes: u64,
}

/// A chunk in the write-ahead log, with its rows while they are still at hand.
#[derive(Debug)]
pub struct AckedChunk {
    pub reference: ChunkRef,
    pub chunk: Option<Chunk>,
    /// To be told when the checkpoint has completed.
    pub rows: Arc<ChunkRows>,
}

/// What a source task is told.
#[derive(Debug, Clone, Copy)]
pub enum Control {
    /// Cut here.
    Trigger(Barrier),
    /// The checkpoint of the epoch has completed.
    Completed(Epoch),
    /// Read nothing until `Resume`: too much waits to be published.
    Pause,
    Resume,
}
