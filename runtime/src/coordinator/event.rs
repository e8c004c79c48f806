//! What the [`super::machine`] is told, and what it asks for.

use std::collections::BTreeSet;

use tidegate_crds::api::Failure;

use crate::{
    checkpoint::record::Trigger,
    element::Barrier,
    ids::{Attempt, Epoch, RegionId},
    worker::{protocol::TaskId, regions::Regions},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The job is ours; `restored` is the epoch that it goes on from.
    Claimed {
        attempt: Attempt,
        restored: Option<Epoch>,
    },
    /// Everything that was owned is published.
    Settled,
    /// The tasks run.
    Started {
        regions: Regions,
        /// How many source subtasks there are.
        sources: usize,
    },
    Acked {
        epoch: Epoch,
        task: TaskId,
    },
    /// A part of the checkpoint failed; the job may go on.
    Declined {
        epoch: Epoch,
        failure: Failure,
    },
    /// The manifest is written.
    Written {
        epoch: Epoch,
    },
    /// The log has the epoch.
    Owned {
        epoch: Epoch,
    },
    /// Every sink has published everything up to this epoch.
    Published {
        epoch: Epoch,
    },
    /// The log says so.
    Recorded {
        epoch: Epoch,
    },
    Exhausted {
        task: TaskId,
    },
    /// Something without which the attempt can't go on.
    Failed(Failure),
    /// Something without which these regions can't go on. The others can.
    RegionsFailed {
        regions: BTreeSet<RegionId>,
        failure: Failure,
    },
    /// The subtasks of all regions that were to end are gone.
    RegionsEnded,
    /// The regions that were deployed again run.
    RegionsStarted,
    /// The job can't or must not be run by this process.
    Refused(Failure),
    /// There is nothing to run: an earlier attempt has finished the job.
    NothingLeft,
    /// The job is to end.
    Stop(Stop),
    /// Somebody wants a checkpoint now.
    CheckpointAsked,
    /// Somebody wants a savepoint now.
    SavepointAsked,
    /// The savepoint is complete, or has failed; either way it needs its checkpoint no more.
    SavepointEnded,
    /// The job is to go on with another parallelism.
    RescaleAsked,
    /// The attempt's tasks are gone.
    Aborted,
    Released,
    Tick,
}

/// How a job is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// As it is: the next start goes on from the newest checkpoint.
    AtOnce,
    /// After a last checkpoint.
    Checkpoint(Last),
}

/// What belongs to the last checkpoint before a stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Last {
    /// A savepoint of it.
    pub savepoint: bool,
    /// Windows put out what they hold before it.
    pub drain: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Claim,
    /// Publishes what was owned; meanwhile the workers build the tasks.
    Settle,
    /// Runs the tasks.
    Start,
    Trigger {
        barrier: Barrier,
        trigger: Trigger,
    },
    /// The barrier of the epoch is to wait no more.
    Overtake {
        epoch: Epoch,
    },
    /// Writes the manifest of what was acknowledged.
    Write {
        epoch: Epoch,
    },
    Own {
        epoch: Epoch,
        trigger: Trigger,
    },
    /// Tells tasks, starts publishing, collects garbage.
    Completed {
        epoch: Epoch,
        started_at: u64,
    },
    /// Drops what was acknowledged for the epoch.
    Discard {
        epoch: Epoch,
        cause: String,
        started_at: u64,
    },
    Record {
        epoch: Epoch,
    },
    /// The checkpoint of the savepoint that was asked for has this epoch.
    SavepointBegun {
        epoch: Epoch,
    },
    /// The epoch is published: copy its checkpoint.
    Save {
        epoch: Epoch,
    },
    /// The savepoint's checkpoint was given up.
    SavepointFailed {
        cause: String,
    },
    Pause,
    Resume,
    /// Ends the subtasks of some regions, for the failure.
    EndRegions {
        regions: BTreeSet<RegionId>,
        failure: Failure,
    },
    /// Deploys regions whose subtasks are gone again, from the newest checkpoint, and runs them.
    StartRegions {
        regions: BTreeSet<RegionId>,
    },
    /// Tears the tasks down, for the failure if there is one.
    Abort {
        failure: Option<Failure>,
    },
    Release {
        finished: bool,
    },
    Done(Outcome),
}

/// How the process ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Bounded sources were read to the end and all output is published.
    Finished,
    /// Stopped; the next start goes on.
    Stopped,
    /// The job was refused, or the restart strategy has given up.
    Failed(Failure),
}
