//! From a claimed job to one that can start: look at the sinks, settle, then sweep.
//!
//! A sink that has more than the log owns is refused: the log is older than what was published from it. What the last attempt owned and may not have published is published before any source reads: publishers recognise
//! what is there already. Workers load the state meanwhile; then what earlier attempts left half done is deleted.
//!
//! Nothing goes on from a drained job, but what it has left is published like any other output. So its heir builds no
//! tasks: it publishes, notes it, leaves the log, and only then refuses to run.

use std::sync::Arc;

use futures::future::{join_all, try_join_all};
use thiserror::Error;
use tidegate_crds::api::{Failure, FailureReason};

use crate::{
    checkpoint::{
        CommitPermit,
        claim::Claimed,
        collect::{self, Kept},
        committed::Committed,
        destination::{self, Misplaced},
        journal::{Journal, JournalError},
        manifest::{ChunkRef, Manifest, ManifestError},
        pending::Pending,
        record::{CheckpointRef, Trigger},
        savepoint,
        starts::{self, StartsError},
        store::{Store, StoreError},
    },
    failure::Reason,
    fault,
    ids::Epoch,
    job::{JobError, JobPlan},
    sink::SinkError,
    source::SourceError,
    worker::{
        publish::{PendingChunk, Target},
        restore::RestoreError,
    },
};

/// A job that can start.
#[derive(Debug)]
pub struct Recovered {
    pub journal: Journal,
    pub kept: Kept,
}

#[derive(Debug, Error)]
pub enum RecoverError {
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Preflight(#[from] JobError),
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error(transparent)]
    Starts(#[from] StartsError),
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What was owned is refused for good.
    #[error("{}", .0.message)]
    Refused(Failure),
}

impl Reason for RecoverError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Manifest(error) => error.reason(),
            Self::Journal(error) => error.reason(),
            Self::Store(error) => error.reason(),
            Self::Preflight(error) => error.reason(),
            Self::Sink(error) => error.reason(),
            Self::Misplaced(_) => FailureReason::StateUnfit,
            Self::Restore(error) => error.reason(),
            Self::Starts(error) => error.reason(),
            Self::Source(error) => error.reason(),
            Self::Refused(failure) => failure.reason,
        }
    }
}

/// What the claimed job goes on from, if it has any checkpoint.
pub async fn inherited(
    store: Arc<dyn Store>,
    checkpoint: Option<CheckpointRef>,
) -> Result<Option<Box<Manifest>>, RecoverError> {
    match checkpoint {
        Some(checkpoint) => Ok(Some(Box::new(Manifest::read(store.as_ref(), &checkpoint).await?))),
        None => Ok(None),
    }
}

/// Whether tasks are to be built: nothing goes on from a drained job.
pub fn goes_on(inherited: Option<&Manifest>) -> bool {
    inherited.is_none_or(|manifest| manifest.trigger != Trigger::Drain)
}

/// `inherited` is the manifest that the claim names.
pub async fn recover(
    plan: Arc<JobPlan>,
    store: Arc<dyn Store>,
    targets: Vec<Target>,
    claimed: Claimed,
    inherited: Option<Box<Manifest>>,
) -> Result<Recovered, RecoverError> {
    fault::reach("recovery-claimed");
    let Claimed { mut journal, lineage, committed, .. } = claimed;
    let owned = inherited.as_deref().map_or(Epoch(0), |manifest| manifest.epoch);
    take_over(&targets, &journal.permit(owned)?, &lineage).await?;
    if let Some(manifest) = inherited.as_deref() {
        journal.inherit(committed.clone()).await?;
        destination::check(manifest, &committed, &plan.destinations())?;
        if !goes_on(Some(manifest)) {
            return Err(wind_up(&targets, journal, manifest, &committed).await?);
        }
    }
    let mut kept = Kept::new(plan.spec.checkpoint.retained);
    let listed = collect::list(store.as_ref()).await?;
    if let Some(manifest) = inherited.as_deref() {
        let settled = async {
            if publish_pending(&targets, &journal, manifest, &committed).await? {
                journal.committed(manifest.epoch).await?;
            }
            Ok(())
        };
        let older = collect::older_manifests(store.as_ref(), &listed, manifest, plan.spec.checkpoint.retained);
        let older = async { older.await.map_err(RecoverError::from) };
        let (older, ()) = tokio::try_join!(older, settled)?;
        older.iter().chain([manifest]).for_each(|manifest| {
            kept.completed(manifest);
        });
    }
    fault::reach("recovery-settled");
    collect::delete(store.clone(), starts::garbage(owned, &listed).cloned().collect()).await;
    let garbage = collect::sweep(store.clone(), &kept, journal.attempt(), listed).await
        + savepoint::sweep(store.as_ref()).await?;
    if garbage > 0 {
        tracing::info!(files = garbage, "deleted what earlier attempts had left");
    }
    Ok(Recovered { journal, kept })
}

/// Lets every sink look at what it has. One that does not answer is no reason not to start: each slot is looked at once
/// more when it is published to.
async fn take_over(targets: &[Target], permit: &CommitPermit, lineage: &str) -> Result<(), SinkError> {
    for looked in join_all(targets.iter().map(|target| target.take_over(permit, lineage))).await {
        match looked {
            Err(error) if error.reason().may_pass() => {
                let cause = crate::error_chain(&error);
                tracing::warn!(cause, "a sink can't be compared with the log yet, and is when rows are published");
            }
            looked => looked?,
        }
    }
    Ok(())
}

/// Ends an attempt that nothing goes on from; gives why it refuses to run.
async fn wind_up(
    targets: &[Target],
    mut journal: Journal,
    manifest: &Manifest,
    committed: &Committed,
) -> Result<RecoverError, RecoverError> {
    publish_pending(targets, &journal, manifest, committed).await?;
    // Also what was known before: the next start asks this attempt, and has nothing to publish then.
    journal.committed(manifest.epoch).await?;
    journal.release(false).await?;
    Ok(RestoreError::Drained { epoch: manifest.epoch }.into())
}

/// Publishes what the checkpoint has left. Whether there was something.
async fn publish_pending(
    targets: &[Target],
    journal: &Journal,
    manifest: &Manifest,
    committed: &Committed,
) -> Result<bool, RecoverError> {
    let pending = Pending::inherited(&manifest.chunks, committed);
    if pending.is_empty() {
        return Ok(false);
    }
    let pending: Vec<_> = pending.into_epochs().collect();
    tracing::info!(epochs = pending.len(), "publishing what was owned before the last end");
    let permits = pending
        .into_iter()
        .map(|(epoch, chunks)| Ok((journal.permit(epoch)?, chunks)))
        .collect::<Result<Vec<_>, JournalError>>()?;
    settle(targets, permits).await.map_err(RecoverError::Refused)?;
    Ok(true)
}

/// Publishes what an earlier attempt owned and may not have published, epoch by epoch.
async fn settle(targets: &[Target], permits: Vec<(CommitPermit, Vec<ChunkRef>)>) -> Result<(), Failure> {
    for (permit, chunks) in permits {
        fault::reach("recovery-settling");
        try_join_all(targets.iter().map(|target| {
            let own = chunks.iter().filter(|chunk| chunk.id.sink == target.sink());
            let own = own.map(|reference| PendingChunk { reference: reference.clone(), rows: None }).collect();
            target.publish_epoch(&permit, own)
        }))
        .await?;
    }
    Ok(())
}
