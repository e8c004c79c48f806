//! What makes a task hurry: the barrier of an epoch is to wait no more.
//!
//! The worker says so to each of its tasks. A task that waits for room on a channel then sends without, what it has put
//! out already and no more; one that waits for rows looks up; and it is cut as soon as it has done what it was at.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::ids::Epoch;

/// Between one task and its worker.
#[derive(Debug, Default)]
pub struct Urge {
    /// The newest epoch whose barrier is to wait no more; 0 for none.
    asked: AtomicU64,
    /// The newest epoch at which the task was cut, or that it no longer can be cut at.
    met: AtomicU64,
    told: Notify,
}

impl Urge {
    /// The barrier of this epoch, and of those before, is to wait no more.
    pub fn overtake(&self, epoch: Epoch) {
        self.asked.fetch_max(epoch.0, Ordering::AcqRel);
        self.told.notify_one();
    }

    /// The task is past this epoch's cut.
    pub fn met(&self, epoch: Epoch) {
        self.met.fetch_max(epoch.0, Ordering::AcqRel);
    }

    /// The epoch that the task is to be cut at, at once.
    pub fn due(&self) -> Option<Epoch> {
        let asked = self.asked.load(Ordering::Acquire);
        (asked > self.met.load(Ordering::Acquire)).then_some(Epoch(asked))
    }

    /// Waits until there is such an epoch. For the one task, in one place at a time. Cancel safe.
    pub async fn called(&self) {
        while self.due().is_none() {
            self.told.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_epoch_is_due_from_when_it_is_asked_for_until_it_is_met() {
        let urge = Urge::default();
        let mut called = Box::pin(urge.called());
        assert!(futures::poll!(&mut called).is_pending());
        urge.overtake(Epoch(3));
        called.await;
        assert_eq!(urge.due(), Some(Epoch(3)));
        urge.overtake(Epoch(2));
        urge.met(Epoch(3));
        assert_eq!(urge.due(), None, "an older one is over, too");
        urge.overtake(Epoch(3));
        assert!(futures::poll!(Box::pin(urge.called())).is_pending());
    }
}
