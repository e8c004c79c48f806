//! A job that is cancelled leaves nothing but savepoints, where its document says so.

use std::time::Duration;

use tidegate_crds::{
    OnCancellation,
    api::{Failure, FailureReason},
};

use super::{
    driver::{Coordinator, Loop},
    machine::STOP_GRACE_MS,
    owner::HttpNeighbours,
};
use crate::{
    checkpoint::{
        claim::{self, Claimed, Claiming},
        collect,
    },
    env, error_chain,
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
        let log = match claim::read_newest(store).await {
            Ok(log) => log.filter(|log| Some(log.attempt) == self.machine.attempt()),
            Err(error) => return Some(stay_for(&error)),
        };
        let Some(log) = log else {
            tracing::warn!("the job's last attempt is not one that this process ended, so the checkpoints stay");
            return None;
        };
        if log.is_deleted() {
            collect::delete_job(store, log.attempt, &log.lineage).await;
            self.job.shared.update(|status| status.is_deleted = true);
            return None;
        }
        if self.machine.pending() > 0 {
            tracing::warn!(
                "output waits to be published, so the checkpoints stay; start the job once more to finish it"
            );
            return None;
        }
        if log.checkpoint.is_some_and(|newest| log.committed.all < Some(newest.epoch)) {
            return Some(stay(
                FailureReason::TaskFailed,
                "it was being recovered, and output may wait to be published; start it once more to cancel it",
            ));
        }
        let ended = env::within(STOP_GRACE, Box::pin(self.job.end_for_good())).await;
        ended.unwrap_or_else(|| Err(stay(FailureReason::StorageUnreachable, "it does not answer"))).err()
    }
}

/// As long as output is waited for that a stopped job has left.
const STOP_GRACE: Duration = Duration::from_millis(STOP_GRACE_MS);

impl Coordinator {
    /// Deletes what a job has kept that did not run when it was cancelled: an attempt says so, and does nothing else. All output
    /// has to be published.
    async fn end_for_good(&self) -> Result<(), Failure> {
        let neighbours = HttpNeighbours::new(self.shared.clone());
        let claimed = claim::claim(self.store.clone(), &self.identity, &neighbours, self.plan.as_ref()).await;
        let Claiming::Ours(Claimed { mut journal, lineage, .. }) = claimed.map_err(|error| stay_for(&error))? else {
            return Ok(());
        };
        journal.delete().await.map_err(|error| stay_for(&error))?;
        collect::delete_job(self.store.as_ref(), journal.attempt(), &lineage).await;
        self.shared.update(|status| status.is_deleted = true);
        Ok(())
    }
}

fn stay_for(error: &impl Reason) -> Failure {
    stay(error.reason(), &error_chain(error))
}

fn stay(reason: FailureReason, cause: &str) -> Failure {
    Failure { reason, message: format!("the job has stopped, but its checkpoints stay: {cause}") }
}
