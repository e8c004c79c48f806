//! From a claimed job to one that can start: settle, then sweep.
//!
//! What the last attempt owned and may not have published is published before any source reads: publishers recognise
//! what is there already. Workers load the state meanwhile; then what earlier attempts left half done is deleted.

use std::sync::Arc;

use futures::future::join_all;
use thiserror::Error;
use tidegate_crds::api::FailureReason;

use crate::{
    checkpoint::{
        CommitPermit,
        claim::Claimed,
        collect::{self, Kept},
        journal::{Journal, JournalError},
        manifest::{ChunkRef, Manifest, ManifestError},
        pending::Pending,
        savepoint,
        store::{Store, StoreError},
    },
    failure::Reason,
    fault,
    ids::Epoch,
    job::{JobError, JobPlan},
    worker::publish::{PendingChunk, Target},
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
    #[error(
        "the job has no sink `{sink}` any more, and rows of epoch {epoch} are not known to be published there; put it back \
         until they are"
    )]
    SinkGone { sink: String, epoch: Epoch },
}

impl Reason for RecoverError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Manifest(error) => error.reason(),
            Self::Journal(error) => error.reason(),
            Self::Store(error) => error.reason(),
            Self::Preflight(error) => error.reason(),
            Self::SinkGone { .. } => FailureReason::StateUnfit,
        }
    }
}

pub async fn recover(
    plan: Arc<JobPlan>,
    store: Arc<dyn Store>,
    targets: Vec<Target>,
    claimed: Claimed,
) -> Result<Recovered, RecoverError> {
    fault::reach("recovery-claimed");
    let Claimed { mut journal, restored_from, committed, .. } = claimed;
    let mut kept = Kept::new(plan.spec.checkpoint.retained);
    let listed = collect::list(store.as_ref()).await?;
    if let Some(checkpoint) = restored_from {
        let manifest = Manifest::read(store.as_ref(), &checkpoint).await?;
        let settled = settle_chunks(&targets, &mut journal, &manifest, committed);
        let older = collect::older_manifests(store.as_ref(), &listed, &manifest, plan.spec.checkpoint.retained);
        let older = async { older.await.map_err(RecoverError::from) };
        let (older, ()) = tokio::try_join!(older, settled)?;
        older.iter().chain([&manifest]).for_each(|manifest| {
            kept.completed(manifest);
        });
    }
    fault::reach("recovery-settled");
    let garbage = collect::sweep(store.clone(), &kept, journal.attempt(), listed).await
        + savepoint::sweep(store.as_ref()).await?;
    if garbage > 0 {
        tracing::info!(files = garbage, "deleted what earlier attempts had left");
    }
    Ok(Recovered { journal, kept })
}

async fn settle_chunks(
    targets: &[Target],
    journal: &mut Journal,
    manifest: &Manifest,
    committed: Option<Epoch>,
) -> Result<(), RecoverError> {
    let pending = Pending::inherited(&manifest.chunks, committed);
    if pending.is_empty() {
        return Ok(());
    }
    let pending: Vec<_> = pending.into_epochs().collect();
    let homeless = |chunk: &&ChunkRef| !targets.iter().any(|target| target.sink() == chunk.id.sink);
    if let Some(chunk) = pending.iter().flat_map(|(_, chunks)| chunks).find(homeless) {
        return Err(RecoverError::SinkGone { sink: chunk.id.sink.clone(), epoch: chunk.id.epoch });
    }
    tracing::info!(epochs = pending.len(), "publishing what was owned before the last end");
    let permits = pending
        .into_iter()
        .map(|(epoch, chunks)| Ok((journal.permit(epoch)?, chunks)))
        .collect::<Result<Vec<_>, JournalError>>()?;
    settle(targets, permits).await;
    Ok(journal.committed(manifest.epoch).await?)
}

/// Publishes what an earlier attempt owned and may not have published, epoch by epoch.
async fn settle(targets: &[Target], permits: Vec<(CommitPermit, Vec<ChunkRef>)>) {
    for (permit, chunks) in permits {
        fault::reach("recovery-settling");
        join_all(targets.iter().map(|target| {
            let own = chunks.iter().filter(|chunk| chunk.id.sink == target.sink());
            let own = own.map(|reference| PendingChunk { reference: reference.clone(), rows: None }).collect();
            target.publish_epoch(&permit, own)
        }))
        .await;
    }
}
