//! A job that is cancelled leaves nothing but savepoints, where its document says so.

use tidegate_crds::{
    OnCancellation,
    api::{Failure, FailureReason},
};

use super::driver::Loop;
use crate::{
    checkpoint::{claim, collect},
    failure::Reason,
};

/// Whether the job was asked to end for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cancelled {
    No,
    Yes,
    /// A savepoint that was asked for with it, or before it, has failed since: nothing is deleted.
    Unsaved,
}

impl Loop {
    /// The job was cancelled, and is to leave nothing but savepoints.
    pub(super) fn is_to_delete(&self) -> bool {
        let deletes = self.job.plan.spec.checkpoint.on_cancellation == OnCancellation::Delete;
        deletes && self.cancelled != Cancelled::No
    }

    /// Whether that can be done: nothing waits to be published, and a savepoint that was asked for is there.
    pub(super) fn deletes(&self) -> bool {
        self.is_to_delete() && self.cancelled == Cancelled::Yes && self.machine.pending() == 0
    }

    /// Deletes what the job has kept, if the log says that nobody goes on from it. Gives why it has stayed, where that is said
    /// nowhere else.
    pub(super) async fn delete(&self) -> Option<Failure> {
        if self.cancelled == Cancelled::Unsaved {
            tracing::warn!("the savepoint that was asked for is not there, so the checkpoints stay");
            return None;
        }
        let store = self.job.store.as_ref();
        match claim::read_newest(store).await {
            Ok(Some(log)) if Some(log.attempt) == self.machine.attempt() && log.is_deleted() => {
                collect::delete_job(store, log.attempt, &log.lineage).await;
                self.job.shared.update(|status| status.is_deleted = true);
                None
            }
            Ok(_) if self.machine.pending() > 0 => {
                tracing::warn!(
                    "output waits to be published, so the checkpoints stay; start the job once more to finish it"
                );
                None
            }
            Ok(Some(log)) if Some(log.attempt) == self.machine.attempt() => {
                let message = "the job has stopped, but its checkpoints stay: it did not run, and can be cancelled for good, as \
                               `onCancellation: Delete` says, only while it does; start it once more to cancel it";
                Some(Failure { reason: FailureReason::TaskFailed, message: message.to_owned() })
            }
            Ok(_) => {
                tracing::warn!("the job's last attempt is not one that this process ended, so the checkpoints stay");
                None
            }
            Err(error) => {
                let message = format!("the job has stopped, but its checkpoints stay: {}", crate::error_chain(&error));
                Some(Failure { reason: error.reason(), message })
            }
        }
    }
}
