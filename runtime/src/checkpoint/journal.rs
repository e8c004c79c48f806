//! The pen of an attempt's owner.
//!
//! One record at a time: nothing is appended before the outcome of the last create is known. A place that somebody else
//! has taken means that the attempt is sealed; from then on, as after an outcome that stays unknown, the journal writes
//! nothing more and its owner must stop.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use thiserror::Error;
use tidegate_crds::api::FailureReason;

use super::{
    CommitPermit, log,
    record::{self, Body, CheckpointRef, Hint, Record, Trigger},
    store::{Create, ObjectPath, Store, StoreError},
};
use crate::{
    env,
    failure::Reason,
    ids::{Attempt, Epoch, Seq},
};

/// How often a create without an answer is tried, with a pause that grows from [`FIRST_PAUSE`].
const TRIES: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 100 });

#[derive(Debug)]
pub struct Journal {
    store: Arc<dyn Store>,
    attempt: Attempt,
    next: Seq,
    /// Newest epoch known to be owned by this attempt or inherited by it.
    owned: Option<Epoch>,
    poisoned: bool,
}

#[derive(Debug, Error)]
pub enum JournalError {
    #[error("attempt {attempt} was ended by another process, which took its place {seq} in the log")]
    Sealed { attempt: Attempt, seq: Seq },
    #[error("failed to learn whether record {seq} of attempt {attempt} was written")]
    Unknown {
        attempt: Attempt,
        seq: Seq,
        #[source]
        cause: StoreError,
    },
    #[error("attempt {attempt} writes no more after an earlier failure")]
    Poisoned { attempt: Attempt },
    #[error("epoch {epoch} is not owned: the newest owned epoch is {newest:?}")]
    NotOwned { epoch: Epoch, newest: Option<Epoch> },
}

impl Reason for JournalError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Sealed { .. } => FailureReason::OwnedElsewhere,
            Self::Unknown { cause, .. } => cause.reason(),
            Self::Poisoned { .. } | Self::NotOwned { .. } => FailureReason::TaskFailed,
        }
    }
}

impl Journal {
    /// The journal of an attempt that this process has just created at seq 0.
    pub(super) fn new(store: Arc<dyn Store>, attempt: Attempt, inherited: Option<Epoch>) -> Self {
        Self { store, attempt, next: Seq(1), owned: inherited, poisoned: false }
    }

    pub fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// Owns an epoch: the one commit point of a checkpoint.
    pub async fn own(&mut self, checkpoint: CheckpointRef, trigger: Trigger) -> Result<CommitPermit, JournalError> {
        let epoch = checkpoint.epoch;
        self.append(Body::CheckpointCompleted { checkpoint, trigger }).await?;
        self.owned = Some(epoch);
        Ok(CommitPermit::new(epoch, self.attempt, self.store.clone()))
    }

    /// A permit for an epoch that this attempt, or the one it inherited from, owns.
    pub fn permit(&self, epoch: Epoch) -> Result<CommitPermit, JournalError> {
        match self.owned {
            Some(newest) if epoch <= newest => Ok(CommitPermit::new(epoch, self.attempt, self.store.clone())),
            newest => Err(JournalError::NotOwned { epoch, newest }),
        }
    }

    /// Notes that everything up to `epoch` is published.
    pub async fn committed(&mut self, epoch: Epoch) -> Result<(), JournalError> {
        self.append(Body::EpochCommitted { epoch }).await
    }

    /// Ends the attempt cleanly.
    pub async fn release(&mut self, finished: bool) -> Result<(), JournalError> {
        self.append(Body::Released { finished }).await?;
        self.poisoned = true;
        Ok(())
    }

    async fn append(&mut self, body: Body) -> Result<(), JournalError> {
        let (attempt, seq) = (self.attempt, self.next);
        if self.poisoned {
            return Err(JournalError::Poisoned { attempt });
        }
        // Poisoned until the outcome is known, also when this future is dropped half way.
        self.poisoned = true;
        match create_known(self.store.as_ref(), &record::path(attempt, seq), &Record::new(body)).await {
            Ok(true) => {}
            Ok(false) => return Err(JournalError::Sealed { attempt, seq }),
            Err(cause) => return Err(JournalError::Unknown { attempt, seq, cause }),
        }
        self.poisoned = false;
        self.next = seq.next();
        if seq.0.is_multiple_of(64) {
            write_hint(self.store.as_ref(), attempt, seq).await;
        }
        Ok(())
    }
}

/// Creates a record and makes sure whether it was this call that did: `true` if the record at `path` is ours.
///
/// A create that has no answer is tried again with the same bytes; an object that is there already is read back, since
/// it may be ours from a try whose answer was lost.
pub(super) async fn create_known(store: &dyn Store, path: &ObjectPath, record: &Record) -> Result<bool, StoreError> {
    let bytes = record.to_bytes().map_err(|cause| StoreError::Failed {
        action: "encode",
        path: path.to_string(),
        location: store.location(),
        cause: cause.into(),
    })?;
    create_and_read_back(store, path, &bytes, |found| {
        Record::from_bytes(found).is_ok_and(|found| log::is_ours(record, &found))
    })
    .await
}

/// As [`create_known`], of an object that is known by its bytes: `true` if they are there, whoever created them.
pub(super) async fn create_bytes(store: &dyn Store, path: &ObjectPath, bytes: &Bytes) -> Result<bool, StoreError> {
    create_and_read_back(store, path, bytes, |found| *found == *bytes).await
}

async fn create_and_read_back(
    store: &dyn Store,
    path: &ObjectPath,
    bytes: &Bytes,
    is_ours: impl Fn(&Bytes) -> bool,
) -> Result<bool, StoreError> {
    let mut pause = FIRST_PAUSE;
    let mut tries = 1;
    loop {
        let outcome = match store.create(path, bytes.clone()).await {
            Ok(Create::Created) => return Ok(true),
            Ok(Create::Exists) => store.get(path).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(Some(found)) => return Ok(is_ours(&found)),
            Err(error) if tries == TRIES => return Err(error),
            Ok(None) | Err(_) => {
                tracing::warn!(%path, tries, "the outcome of a create is not known, trying again");
                env::sleep(pause).await;
                pause *= 2;
                tries += 1;
            }
        }
    }
}

/// Leaves word where the log's end was; nobody minds when it fails.
pub(super) async fn write_hint(store: &dyn Store, attempt: Attempt, seq: Seq) {
    let Ok(bytes) = serde_json::to_vec(&Hint { attempt, seq }) else { return };
    if let Err(error) = store.put(&record::hint_path(), bytes.into()).await {
        tracing::debug!(%error, "the hint was not written");
    }
}

#[cfg(test)]
mod tests;
