//! The pen of an attempt's owner.
//!
//! One record at a time: nothing is appended before the outcome of the last create is known. A place that somebody else
//! has taken means that the attempt is sealed; from then on, as after an outcome that stays unknown, the journal writes
//! nothing more and its owner must stop.
//!
//! A record counts when three looks have followed. Is the attempt's witness there, the job has gone on for so long that the
//! place was somebody's before, and was deleted ([`super::log::segments`]). Is the attempt's first record not there any
//! more, this is not the store that the job was begun in: it was emptied, or another one is in its place. Is the record
//! before not there, the store has forgotten what it had: it was brought back as it was at an earlier time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use thiserror::Error;
use tidegate_crds::api::FailureReason;

use super::{
    CommitPermit,
    committed::Committed,
    compact::Compaction,
    log::{
        self,
        segments::{Place, Spans},
    },
    record::{self, Body, CheckpointRef, Hint, Record, Trigger},
    store::{Create, ObjectPath, Store, StoreError},
};
use crate::{
    env, error_chain,
    failure::Reason,
    ids::{Attempt, Epoch, Seq},
};

/// How often a create without an answer, or with answers that contradict each other, is tried, with a pause that grows from [`FIRST_PAUSE`].
const TRIES: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 100 });

#[derive(Debug)]
pub struct Journal {
    store: Arc<dyn Store>,
    attempt: Attempt,
    next: Seq,
    /// Where its newest checkpoint is.
    checkpoint: Option<Seq>,
    /// Newest epoch known to be owned by this attempt or inherited by it.
    owned: Option<Epoch>,
    /// As the log has it.
    committed: Committed,
    poisoned: bool,
    /// Id of the record that the attempt began with.
    started: String,
    /// Id of its newest record.
    newest: String,
    compaction: Compaction,
}

#[derive(Debug, Error)]
pub enum JournalError {
    #[error("attempt {attempt} was ended by another process, which took its place {seq} in the log")]
    Sealed { attempt: Attempt, seq: Seq },
    #[error(
        "the job has gone on in later attempts for so long that attempt {attempt}, which this process takes for its own, \
         is deleted"
    )]
    Outlived { attempt: Attempt },
    #[error(transparent)]
    Lost(#[from] LogLost),
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

/// The storage does not have the log any more that this process has written, or has found there.
#[derive(Debug, Error)]
#[error(
    "the checkpoint storage {location} no longer has `{path}`, which this process has written or found there: it was emptied, brought \
     back as it was before, or another one is in its place; bring back what was there, or start the job anew"
)]
pub struct LogLost {
    path: ObjectPath,
    location: String,
}

impl LogLost {
    /// `store` does not have the first record of this attempt.
    pub fn new(store: &dyn Store, attempt: Attempt) -> Self {
        Self::at(store, (attempt, Seq(0)))
    }

    fn at(store: &dyn Store, (attempt, seq): Place) -> Self {
        Self { path: record::path(attempt, seq), location: store.location() }
    }
}

impl Reason for LogLost {
    fn reason(&self) -> FailureReason {
        FailureReason::StorageUnfit
    }
}

impl Reason for JournalError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Sealed { .. } | Self::Outlived { .. } => FailureReason::OwnedElsewhere,
            Self::Lost(lost) => lost.reason(),
            Self::Unknown { cause, .. } => cause.reason(),
            Self::Poisoned { .. } | Self::NotOwned { .. } => FailureReason::TaskFailed,
        }
    }
}

impl Journal {
    /// The journal of an attempt that this process has just created at seq 0, by the record `started`.
    pub(super) fn new(store: Arc<dyn Store>, attempt: Attempt, started: String, inherited: Option<Epoch>) -> Self {
        let compaction = Compaction::new(store.clone(), attempt);
        let (next, checkpoint, owned, committed) = (Seq(1), None, inherited, Committed::default());
        let newest = started.clone();
        Self { store, attempt, next, checkpoint, owned, committed, poisoned: false, started, newest, compaction }
    }

    pub fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// Owns an epoch: the one commit point of a checkpoint.
    pub async fn own(&mut self, checkpoint: CheckpointRef, trigger: Trigger) -> Result<CommitPermit, JournalError> {
        let epoch = checkpoint.epoch;
        let place = self.next;
        self.append(Body::CheckpointCompleted { checkpoint, trigger }).await?;
        self.checkpoint = Some(place);
        self.owned = Some(epoch);
        Ok(CommitPermit::new(epoch, epoch, self.attempt, self.store.clone()))
    }

    /// A permit for an epoch that this attempt, or the one it inherited from, owns; for 0, which has no rows, in any case.
    pub fn permit(&self, epoch: Epoch) -> Result<CommitPermit, JournalError> {
        let newest = self.owned.unwrap_or_default();
        if epoch > newest {
            return Err(JournalError::NotOwned { epoch, newest: self.owned });
        }
        Ok(CommitPermit::new(epoch, newest, self.attempt, self.store.clone()))
    }

    /// Notes that everything up to `epoch` is published.
    pub async fn committed(&mut self, epoch: Epoch) -> Result<(), JournalError> {
        self.committed.publish(epoch);
        self.note().await
    }

    /// Notes that a sink has everything up to `epoch`, which others may not have.
    pub async fn committed_to(&mut self, sink: &str, epoch: Epoch) -> Result<(), JournalError> {
        self.committed.publish_to(sink, epoch);
        self.note().await
    }

    /// Notes what the attempt before knew of single sinks: whoever comes after this one reads this one's log only.
    pub async fn inherit(&mut self, committed: Committed) -> Result<(), JournalError> {
        self.committed = committed;
        if self.committed.sinks.is_empty() { Ok(()) } else { self.note().await }
    }

    /// Notes what is published; unless there are very many notes already behind the newest checkpoint, since readers go
    /// back to that.
    async fn note(&mut self) -> Result<(), JournalError> {
        if self.next.0 - self.checkpoint.unwrap_or_default().0 > Spans::MOST_NOTES && !self.poisoned {
            return Ok(());
        }
        self.append(Body::committed(&self.committed)).await
    }

    /// Ends the attempt cleanly.
    pub async fn release(&mut self, finished: bool) -> Result<(), JournalError> {
        self.end(Body::Released { finished }).await
    }

    /// Ends the job: what it has kept may be deleted from then on.
    pub async fn delete(&mut self) -> Result<(), JournalError> {
        self.end(Body::Deleted {}).await
    }

    async fn end(&mut self, body: Body) -> Result<(), JournalError> {
        self.append(body).await?;
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
        self.compaction.go_on(Seq(seq.0 - 1), self.checkpoint);
        let record = Record::new(body);
        match create_known(self.store.as_ref(), &record::path(attempt, seq), &record).await {
            Ok(true) => {}
            Ok(false) => return Err(JournalError::Sealed { attempt, seq }),
            Err(cause) => return Err(JournalError::Unknown { attempt, seq, cause }),
        }
        let counts = self.counts(seq).await;
        if let Err(JournalError::Lost(_) | JournalError::Outlived { .. }) = &counts {
            // Nobody else looks for a record there, or should find one.
            let path = record::path(attempt, seq);
            if let Err(error) = self.store.delete(&path).await {
                tracing::warn!(%path, %error, "a record that does not count was not deleted");
            }
        }
        counts?;
        self.poisoned = false;
        (self.next, self.newest) = (seq.next(), record.record_id);
        if seq.0.is_multiple_of(64) {
            write_hint(self.store.as_ref(), attempt, seq).await;
        }
        Ok(())
    }

    /// Whether the record at `seq`, which is there, is where a reader looks for it.
    async fn counts(&self, seq: Seq) -> Result<(), JournalError> {
        let (store, attempt) = (self.store.as_ref(), self.attempt);
        let (first, before) = ((attempt, Seq(0)), (attempt, Seq(seq.0 - 1)));
        let witness = outlived(store, attempt);
        let (started, newest) = (look(store, &self.started, first), look(store, &self.newest, before));
        let looks = futures::try_join!(witness, started, newest);
        let (is_outlived, has_first, has_before) =
            looks.map_err(|cause| JournalError::Unknown { attempt, seq, cause })?;
        match (is_outlived, has_first, has_before) {
            (true, ..) => Err(JournalError::Outlived { attempt }),
            (_, false, _) => Err(LogLost::at(store, first).into()),
            (.., false) => Err(LogLost::at(store, before).into()),
            _ => Ok(()),
        }
    }
}

/// Whether the job has gone on for so long that what this attempt had may be deleted: then a create in it says nothing.
pub(super) async fn outlived(store: &dyn Store, attempt: Attempt) -> Result<bool, StoreError> {
    let (attempt, seq) = Spans::FORMAT.witness_of_attempt(attempt);
    Ok(get_known(store, &record::path(attempt, seq)).await?.is_some())
}

/// Whether the record of this id is at a place.
async fn look(store: &dyn Store, id: &str, (attempt, seq): Place) -> Result<bool, StoreError> {
    let path = record::path(attempt, seq);
    let Some(bytes) = get_known(store, &path).await? else { return Ok(false) };
    match Record::read(&bytes, &path) {
        Ok(found) => Ok(found.record_id == id),
        // It may be ours, and have come in part: no reason to delete what was written behind it.
        Err(cause) => Err(StoreError::Failed {
            action: "read",
            path: path.to_string(),
            location: store.location(),
            cause: cause.into(),
        }),
    }
}

/// As often as a create is.
async fn get_known(store: &dyn Store, path: &ObjectPath) -> Result<Option<Bytes>, StoreError> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        match store.get(path).await {
            Ok(found) => return Ok(found),
            Err(error) => tracing::warn!(%path, error = error_chain(&error), "failed to look at the log, trying again"),
        }
        env::sleep(pause).await;
        pause *= 2;
    }
    store.get(path).await
}

/// Creates a record and makes sure whether it was this call that did: `true` if the record at `path` is ours.
///
/// A create that has no answer is tried again with the same bytes; an object that is there already is read back, since
/// it may be ours from a try whose answer was lost.
pub(super) async fn create_known(store: &dyn Store, path: &ObjectPath, record: &Record) -> Result<bool, StoreError> {
    let bytes = record.at(path).to_bytes().map_err(|cause| StoreError::Failed {
        action: "encode",
        path: path.to_string(),
        location: store.location(),
        cause: cause.into(),
    })?;
    // What can't be read may have come in part, or changed on its way: that says nothing of whose it is.
    let is_ours = |found: &Bytes| Record::read(found, path).map(|found| log::is_ours(record, &found));
    create_and_read_back(store, path, &bytes, is_ours).await
}

/// As [`create_known`], of an object that is known by its bytes: `true` if they are there, whoever created them.
pub(super) async fn create_bytes(store: &dyn Store, path: &ObjectPath, bytes: &Bytes) -> Result<bool, StoreError> {
    create_and_read_back(store, path, bytes, |found| Ok(*found == *bytes)).await
}

async fn create_and_read_back(
    store: &dyn Store,
    path: &ObjectPath,
    bytes: &Bytes,
    is_ours: impl Fn(&Bytes) -> serde_json::Result<bool>,
) -> Result<bool, StoreError> {
    let unclear =
        |cause| StoreError::Failed { action: "read back", path: path.to_string(), location: store.location(), cause };
    let mut pause = FIRST_PAUSE;
    let mut tries = 1;
    loop {
        let outcome = match store.create(path, bytes.clone()).await {
            Ok(Create::Created) => return Ok(true),
            Ok(Create::Exists) => store.get(path).await,
            Err(error) => Err(error),
        };
        let error = match outcome.map(|found| found.as_ref().map(&is_ours)) {
            Ok(Some(Ok(is_ours))) => return Ok(is_ours),
            Ok(Some(Err(unreadable))) => unclear(unreadable.into()),
            Ok(None) => {
                unclear("the store says that it is there to who creates it, and that it is not to who reads it".into())
            }
            Err(error) => error,
        };
        if tries >= TRIES {
            return Err(error);
        }
        tracing::warn!(%path, tries, error = error_chain(&error), "the outcome of a create is not known, trying again");
        env::sleep(pause).await;
        pause *= 2;
        tries += 1;
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
