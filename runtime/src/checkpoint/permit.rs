//! The right to publish an epoch.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    log::segments::Spans,
    record,
    store::{Store, StoreError},
};
use crate::ids::{Attempt, Epoch, Seq};

/// Proof that an epoch is owned: the log has its `CheckpointCompleted`. Publishing takes it by reference, and only the
/// [`super::journal`] makes one.
#[derive(Debug, Clone)]
pub struct CommitPermit {
    epoch: Epoch,
    /// Newest epoch that the log owned when the permit was made; no earlier one.
    owned: Epoch,
    attempt: Attempt,
    store: Arc<dyn Store>,
}

/// A [`CommitPermit`] on its way to the worker that publishes; only a permit makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    epoch: Epoch,
    attempt: Attempt,
}

impl Grant {
    pub fn epoch(self) -> Epoch {
        self.epoch
    }

    /// The permit again; the job's log is in `store`.
    pub fn permit(self, store: Arc<dyn Store>) -> CommitPermit {
        CommitPermit { epoch: self.epoch, owned: self.epoch, attempt: self.attempt, store }
    }
}

#[derive(Debug, Error)]
pub enum PermitError {
    #[error("attempt {attempt} is over: the job was taken by a later one, which publishes what is left")]
    Over { attempt: Attempt },
    #[error("failed to look up whether the job is still ours")]
    Unknown(#[from] StoreError),
}

impl CommitPermit {
    pub(super) fn new(epoch: Epoch, owned: Epoch, attempt: Attempt, store: Arc<dyn Store>) -> Self {
        Self { epoch, owned, attempt, store }
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The newest epoch that the log owned when the permit was made. What a sink has of a later one, in the permit's
    /// slot, this log knows nothing of.
    pub fn owned(&self) -> Epoch {
        self.owned
    }

    /// Whose permit it is.
    pub fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// For the worker that publishes.
    pub fn grant(&self) -> Grant {
        Grant { epoch: self.epoch, attempt: self.attempt }
    }

    /// Looks up whether a later attempt has begun. For sinks that recognise a repeat for a limited time only: a process
    /// that slept for longer than that must not send. Who owned an epoch owns it for ever, so all other sinks need not
    /// ask.
    pub async fn confirm(&self) -> Result<(), PermitError> {
        // In this order: the first is deleted when the second is there.
        for (attempt, seq) in [(self.attempt.next(), Seq(0)), Spans::FORMAT.witness_of_attempt(self.attempt)] {
            if self.store.get(&record::path(attempt, seq)).await?.is_some() {
                return Err(PermitError::Over { attempt: self.attempt });
            }
        }
        Ok(())
    }

    /// A permit for tests of publishers: of attempt 1 in a log that `store` has, or in one that nobody writes.
    #[cfg(any(test, feature = "test-util"))]
    pub fn for_test(epoch: Epoch) -> Self {
        Self::for_test_in(epoch, Arc::new(super::store::memory::MemoryStore::default()))
    }

    /// As [`CommitPermit::for_test`], with the log in `store`.
    #[cfg(any(test, feature = "test-util"))]
    pub fn for_test_in(epoch: Epoch, store: Arc<dyn Store>) -> Self {
        Self { epoch, owned: epoch, attempt: Attempt(1), store }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::store::memory::MemoryStore;

    #[tokio::test]
    async fn a_permit_is_confirmed_until_a_later_attempt_has_begun() {
        let store = Arc::new(MemoryStore::default());
        let permit = CommitPermit::for_test_in(Epoch(3), store.clone());
        for (attempt, seq) in [(1, 0), (1, 7)] {
            store.create(&record::path(Attempt(attempt), Seq(seq)), "{}".into()).await.unwrap();
            assert!(permit.confirm().await.is_ok(), "a record of its own attempt, a seal among them, ends nothing");
        }
        store.create(&record::path(Attempt(2), Seq(0)), "{}".into()).await.unwrap();
        assert!(matches!(permit.confirm().await, Err(PermitError::Over { attempt: Attempt(1) })));
        // The job has gone on by so many attempts that the next one is deleted.
        store.plant(&record::path(Attempt(2048), Seq(0)).0, "{}");
        store.remove(&record::path(Attempt(2), Seq(0)).0);
        assert!(matches!(permit.confirm().await, Err(PermitError::Over { attempt: Attempt(1) })));
    }
}
