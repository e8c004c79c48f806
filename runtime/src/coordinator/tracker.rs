//! Who has acknowledged the checkpoint that is under way.

use std::collections::BTreeSet;

use crate::{checkpoint::record::Trigger, ids::Epoch, worker::report::TaskId};

/// A checkpoint from its trigger until every subtask has acknowledged it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InFlight {
    pub epoch: Epoch,
    pub trigger: Trigger,
    /// Milliseconds of the machine's clock.
    pub started_at: u64,
    acked: BTreeSet<TaskId>,
    expected: usize,
}

impl InFlight {
    pub fn new(epoch: Epoch, trigger: Trigger, started_at: u64, expected: usize) -> Self {
        Self { epoch, trigger, started_at, acked: BTreeSet::new(), expected }
    }

    /// Counts an acknowledgement; true when it was the last one missing.
    pub fn ack(&mut self, task: TaskId) -> bool {
        self.acked.insert(task) && self.acked.len() == self.expected
    }
}
