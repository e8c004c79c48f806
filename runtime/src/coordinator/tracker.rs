//! Who has acknowledged a checkpoint that is under way.

use std::collections::BTreeSet;

use crate::{checkpoint::record::Trigger, ids::Epoch, worker::protocol::TaskId};

/// A checkpoint from its trigger until every subtask has acknowledged it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InFlight {
    pub epoch: Epoch,
    pub trigger: Trigger,
    /// Milliseconds of the machine's clock.
    pub started_at: u64,
    /// When its barrier is to wait no more; `None` for never, or when that has been said.
    pub overtake_at: Option<u64>,
    acked: BTreeSet<TaskId>,
    expected: usize,
}

impl InFlight {
    pub fn new(epoch: Epoch, trigger: Trigger, started_at: u64, expected: usize) -> Self {
        Self { epoch, trigger, started_at, overtake_at: None, acked: BTreeSet::new(), expected }
    }

    /// Counts an acknowledgement.
    pub fn ack(&mut self, task: TaskId) {
        self.acked.insert(task);
    }

    /// Nobody is missing.
    pub fn is_acknowledged(&self) -> bool {
        self.acked.len() == self.expected
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::SubtaskIndex;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_is_acknowledged_when_nobody_is_missing_however_often_they_say_so(
            expected in 1_usize..6,
            acks in prop::collection::vec(0_usize..6, 0..40),
        ) {
            let mut in_flight = InFlight::new(Epoch(1), Trigger::Interval, 0, expected);
            let mut acknowledged = BTreeSet::new();
            for ack in acks.into_iter().filter(|ack| *ack < expected) {
                acknowledged.insert(ack);
                // Tasks and subtasks are told apart.
                in_flight.ack(TaskId { task: ack / 2, subtask: SubtaskIndex(ack as u32 % 2) });
                prop_assert_eq!(in_flight.is_acknowledged(), acknowledged.len() == expected);
            }
        }
    }
}
