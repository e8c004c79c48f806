//! What a coordinator and its workers tell each other.
//!
//! Everything is of one attempt, and what a subtask says is of one run of its region ([`super::regions`]); what is said of
//! an older one no longer counts. In one process the values themselves go
//! over channels, between two as JSON ([`crate::link`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_crds::api::{CheckpointTimes, Failure, InFlightRecords, RestoredBytes};

use crate::{
    checkpoint::{
        Grant,
        manifest::{ChunkRef, SubtaskState},
        record::CheckpointRef,
        starts::Starts,
    },
    element::Barrier,
    ids::{Attempt, Epoch, OperatorId, RegionId, Run, SubtaskIndex},
};

/// One subtask of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// Index in the topology.
    pub task: usize,
    pub subtask: SubtaskIndex,
}

/// How a worker introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// One worker has it at a time: a second one takes the first one's place.
    pub name: String,
    pub slots: u32,
    /// `host:port` that other workers send rows to.
    pub exchange: String,
    /// The id of the job it has been given, which is the folder where it keeps state.
    pub job: String,
    /// Of that job's spec, as in [`crate::job::JobPlan::digest`].
    pub digest: String,
}

/// What the coordinator wants of a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub attempt: Attempt,
    pub action: Action,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Action {
    /// Build subtasks, with their state, and say when they are ready. Beside those that are there, if these are of the same
    /// attempt.
    Deploy(Assignment),
    /// Keep nothing for this attempt: its subtasks are elsewhere.
    StandBy,
    /// All workers are ready: run what does not yet.
    Start,
    /// Told to every source subtask.
    Control(Control),
    /// Told to every subtask: the barrier of the epoch is to wait no more.
    Overtake(Epoch),
    /// The epoch is owned: publish its chunks.
    Completed(Grant),
    /// The epoch is given up: what it had belongs to the next one.
    Discard(Epoch),
    /// End the subtasks of these runs, and say of each when they are gone. The others go on.
    End(Vec<Run>),
    /// Say all that there is to say, and then this number: somebody has found a channel broken.
    Ask(u64),
    /// End all subtasks, and say when they are gone.
    Cancel,
}

/// A worker's share of some regions of an attempt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Assignment {
    /// Of the chunks that will be published.
    pub lineage: String,
    /// How many subtasks each operator has.
    pub parallelism: u32,
    /// The checkpoint to go on from.
    pub restored_from: Option<CheckpointRef>,
    /// Where the sources begin that the checkpoint does not have. Coordinators of earlier versions do not say.
    #[serde(default)]
    pub starts: Starts,
    /// The regions, and which run of each this is.
    pub runs: BTreeMap<RegionId, Run>,
    /// Which subtasks, of every task of these regions.
    pub subtasks: Vec<SubtaskIndex>,
    /// Where the others are: `host:port` of their worker's exchange.
    pub peers: BTreeMap<SubtaskIndex, String>,
}

/// What a source subtask is told.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Control {
    /// Cut here.
    Trigger(Barrier),
    /// Say that no row comes any more, and read none until the next barrier, which is the last.
    Drain,
    /// The checkpoint of the epoch has completed.
    Completed(Epoch),
    /// Read nothing until `Resume`: too much waits to be published.
    Pause,
    Resume,
}

/// What a worker tells the coordinator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Notice {
    pub attempt: Attempt,
    /// Whose subtask says it; none for what the worker says of itself.
    pub run: Option<Run>,
    pub news: News,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum News {
    /// Every subtask of the last `Deploy` is built, of state that was read from here.
    Ready(RestoredBytes),
    /// A subtask could not be built.
    NotReady(Failure),
    /// A subtask's share of a checkpoint is uploaded.
    Acked(Ack),
    /// A subtask's share of a checkpoint could not be uploaded; the task goes on.
    Declined { epoch: Epoch, failure: Failure },
    /// A source subtask has read all there is.
    Exhausted(TaskId),
    /// How far a source subtask is behind; nothing, while it is not known.
    Lag { source: String, subtask: SubtaskIndex, lag: Option<u64> },
    /// A subtask can't go on.
    Failed(Failure),
    /// A subtask can't go on without another, which knows why, if anybody does.
    Broken(Failure),
    /// The answer to a question: what was to be said came before.
    Answered(u64),
    /// Every sink has what this worker's subtasks had for it, up to this epoch.
    Published(Epoch),
    /// A sink has what this worker's subtasks had for it up to this epoch, and is well ahead of others.
    PublishedTo { sink: String, epoch: Epoch },
    /// A try to publish has failed, or, without a failure, one has gone well after that.
    Tried { sink: String, failure: Option<String> },
    /// The subtasks of this run are gone.
    Ended(Run),
    /// Every subtask is gone.
    Cancelled,
}

/// A subtask's share of a checkpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ack {
    pub task: TaskId,
    pub epoch: Epoch,
    pub operators: Vec<(OperatorId, SubtaskState)>,
    pub chunks: Vec<ChunkRef>,
    /// Bytes uploaded.
    pub bytes: u64,
    pub times: CheckpointTimes,
    /// Where the barrier overtook rows: those that were in flight.
    #[serde(default)]
    pub unaligned: Option<InFlightRecords>,
}
