//! What a subtask tells its worker.

use tidegate_crds::api::Failure;

use super::{
    held::Held,
    protocol::{Ack, TaskId},
};
use crate::ids::{Epoch, SubtaskIndex};

#[derive(Debug)]
pub enum Report {
    /// Its share of a checkpoint is uploaded.
    Acked(Ack, Held),
    /// Its share of a checkpoint could not be uploaded; it goes on.
    Declined { epoch: Epoch, failure: Failure },
    /// A source has read all there is.
    Exhausted(TaskId),
    /// How far a source is behind.
    Lag { source: String, subtask: SubtaskIndex, lag: Option<u64> },
    /// It has ended after its last barrier.
    Ended(TaskId),
    /// It can't go on.
    Failed(Failure),
}
