//! What a job has owned lately, for those who begin another job with it: its newest checkpoint may not do.

use super::{ClaimError, read_newest};
use crate::{
    checkpoint::{
        committed::Committed,
        log::AttemptLog,
        record::{self, Body, CheckpointRef, Record},
        store::Store,
    },
    ids::Seq,
};

/// How many records are read: of far more checkpoints than are kept.
const RECORDS: u64 = 64;

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
    let AttemptLog { attempt, next, checkpoint, .. } = log;
    let (mut recent, mut is_noted) = (Recent::default(), false);
    for seq in (next.0.saturating_sub(RECORDS)..next.0).rev().map(Seq) {
        let path = record::path(attempt, seq);
        // It may be deleted by now.
        let Some(bytes) = store.get(&path).await? else { break };
        let record = Record::read(&bytes, &path).map_err(|error| ClaimError::Damaged(format!("`{path}`: {error}")))?;
        match record.body {
            Body::CheckpointCompleted { checkpoint, .. } => recent.checkpoints.push(checkpoint),
            Body::AttemptStarted { restored_from, .. } => recent.checkpoints.extend(restored_from),
            // The newest says it all.
            Body::EpochCommitted { epoch, sinks } if !is_noted => {
                recent.committed = Committed { all: Some(epoch), sinks };
                is_noted = true;
            }
            Body::EpochCommitted { .. } | Body::Released { .. } | Body::Sealed { .. } => {}
        }
    }
    if recent.checkpoints.is_empty() {
        recent.checkpoints.extend(checkpoint);
    }
    Ok(recent)
}
