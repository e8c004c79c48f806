//! What a job has owned lately, for those who begin another job with it: its newest checkpoint may not do. And what it
//! has begun with itself.

use futures::{StreamExt, TryStreamExt, stream};

use super::{ClaimError, read_newest};
use crate::{
    checkpoint::{
        committed::Committed,
        log::AttemptLog,
        manifest::parse_folder,
        record::{self, Body, CheckpointRef, Record},
        store::{ObjectPath, Store},
    },
    ids::{Attempt, Seq},
};

/// How many records are read: of far more checkpoints than are kept.
const RECORDS: u64 = 64;
/// Requests on their way at the same time: a job that runs deletes its checkpoints while its log is read.
const PARALLEL: usize = 16;

/// The newest attempt's last records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recent {
    /// What it owned, or goes on from; the newest first.
    pub checkpoints: Vec<CheckpointRef>,
    /// What is published.
    pub committed: Committed,
}

/// Goes back from the end of the log, as far as there are records.
pub async fn read_recent(store: &dyn Store) -> Result<Recent, ClaimError> {
    let Some(log) = read_newest(store).await? else { return Ok(Recent::default()) };
    if log.is_deleted() {
        return Ok(Recent::default());
    }
    let AttemptLog { attempt, next, checkpoint, .. } = log;
    let (mut recent, mut is_noted) = (Recent::default(), false);
    let paths = (next.0.saturating_sub(RECORDS)..next.0).rev().map(|seq| record::path(attempt, Seq(seq)));
    let mut records = stream::iter(paths).map(async |path| body(store, &path).await).buffered(PARALLEL);
    while let Some(body) = records.try_next().await? {
        // It may be deleted by now.
        let Some(body) = body else { break };
        match body {
            Body::CheckpointCompleted { checkpoint, .. } => recent.checkpoints.push(checkpoint),
            Body::AttemptStarted { restored_from, .. } => recent.checkpoints.extend(restored_from),
            // The newest says it all.
            Body::EpochCommitted { epoch, sinks } if !is_noted => {
                recent.committed = Committed { all: Some(epoch), sinks };
                is_noted = true;
            }
            Body::EpochCommitted { .. } | Body::Released { .. } | Body::Deleted {} | Body::Sealed { .. } => {}
        }
    }
    if recent.checkpoints.is_empty() {
        recent.checkpoints.extend(checkpoint);
    }
    Ok(recent)
}

/// The copy that a job's first attempt has gone on from, if it has and that is still known.
pub async fn began_with(store: &dyn Store) -> Result<Option<CheckpointRef>, ClaimError> {
    let Some(AttemptLog { attempt: newest, lineage, .. }) = read_newest(store).await? else { return Ok(None) };
    // Before the first one, another job may have been deleted here.
    let (mut first, mut next) = (Attempt(1), newest);
    while first < next {
        let middle = Attempt(first.0 + (next.0 - first.0) / 2);
        match started(store, middle).await? {
            Some(found) if found.lineage == lineage => next = middle,
            _ => first = middle.next(),
        }
    }
    let Some(Started { restored_from: Some(from), .. }) = started(store, first).await? else { return Ok(None) };
    Ok(parse_folder(&from.manifest).is_some_and(|(attempt, _)| attempt == Attempt(0)).then_some(from))
}

struct Started {
    lineage: String,
    restored_from: Option<CheckpointRef>,
}

/// How an attempt began, unless that is deleted.
async fn started(store: &dyn Store, attempt: Attempt) -> Result<Option<Started>, ClaimError> {
    Ok(match body(store, &record::path(attempt, Seq(0))).await? {
        Some(Body::AttemptStarted { lineage, restored_from, .. }) => Some(Started { lineage, restored_from }),
        _ => None,
    })
}

/// What a record says, if it is there.
async fn body(store: &dyn Store, path: &ObjectPath) -> Result<Option<Body>, ClaimError> {
    let Some(bytes) = store.get(path).await? else { return Ok(None) };
    let record = Record::read(&bytes, path).map_err(|error| ClaimError::Damaged(format!("`{path}`: {error}")))?;
    Ok(Some(record.body))
}
