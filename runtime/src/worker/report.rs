//! What a subtask tells its worker.

use tidegate_crds::api::Failure;
use tokio::sync::mpsc::UnboundedSender;

use super::{
    held::Held,
    protocol::{Ack, TaskId},
};
use crate::ids::{Epoch, Run, SubtaskIndex};

/// Where the subtasks of a run report. What comes when the run has ended is known as its own.
#[derive(Debug, Clone)]
pub struct Reports {
    run: Run,
    to: UnboundedSender<(Run, Report)>,
}

impl Reports {
    pub fn new(run: Run, to: UnboundedSender<(Run, Report)>) -> Self {
        Self { run, to }
    }

    pub fn run(&self) -> Run {
        self.run
    }

    pub fn send(&self, report: Report) {
        // The worker does not listen any more when its share of the attempt has ended.
        let _gone = self.to.send((self.run, report));
    }
}

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
    /// It can't go on without another, which knows why, if anybody does.
    Broken(Failure),
}
