//! From a claimed job to one that can start: settle and load, then sweep.
//!
//! What the last attempt owned and may not have published is published before any source reads: publishers recognise
//! what is there already. The state is downloaded meanwhile; then what earlier attempts left half done is deleted.

use std::{collections::BTreeMap, sync::Arc};

use thiserror::Error;
use tidegate_crds::api::FailureReason;

use super::publish::{Target, settle};
use crate::{
    checkpoint::{
        claim::Claimed,
        collect::{self, Kept},
        journal::{Journal, JournalError},
        manifest::{ChunkRef, Manifest, ManifestError},
        store::{Store, StoreError},
    },
    failure::Reason,
    fault,
    ids::Epoch,
    job::{JobError, JobPlan},
    worker::restore::{RestoreError, Restored},
};

/// A job that can start.
#[derive(Debug)]
pub struct Recovered {
    pub journal: Journal,
    pub lineage: String,
    pub restored: Restored,
    pub kept: Kept,
}

#[derive(Debug, Error)]
pub enum RecoverError {
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Preflight(#[from] JobError),
}

impl Reason for RecoverError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Manifest(error) => error.reason(),
            Self::Journal(error) => error.reason(),
            Self::Restore(error) => error.reason(),
            Self::Store(error) => error.reason(),
            Self::Preflight(error) => error.reason(),
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
    let Claimed { mut journal, lineage, restored_from, committed, .. } = claimed;
    let mut kept = Kept::new(plan.spec.checkpoint.retained);
    let mut restored = Restored::default();
    let listed = collect::list(store.as_ref()).await?;
    if let Some(checkpoint) = restored_from {
        let manifest = Manifest::read(store.as_ref(), &checkpoint).await?;
        let (operators, retained) = (plan.operator_ids(), plan.spec.checkpoint.retained);
        let settled = settle_chunks(&targets, &mut journal, &manifest, committed);
        let loaded = Restored::load(&store, &manifest, &operators, plan.spec.max_parallelism);
        let loaded = async { loaded.await.map_err(RecoverError::from) };
        let older = collect::older_manifests(store.as_ref(), &listed, &manifest, retained);
        let older = async { older.await.map_err(RecoverError::from) };
        let (older, state, ()) = tokio::try_join!(older, loaded, settled)?;
        restored = state;
        older.iter().chain([&manifest]).for_each(|manifest| {
            kept.completed(manifest);
        });
        tracing::debug!(epoch = %manifest.epoch, "state is loaded");
    }
    fault::reach("recovery-settled");
    let garbage = collect::sweep(store, &kept, journal.attempt(), listed).await;
    if garbage > 0 {
        tracing::info!(files = garbage, "deleted what earlier attempts had left");
    }
    Ok(Recovered { journal, lineage, restored, kept })
}

async fn settle_chunks(
    targets: &[Target],
    journal: &mut Journal,
    manifest: &Manifest,
    committed: Option<Epoch>,
) -> Result<(), RecoverError> {
    let mut epochs: BTreeMap<Epoch, Vec<ChunkRef>> = BTreeMap::new();
    for chunk in manifest.chunks.iter().filter(|chunk| Some(chunk.id.epoch) > committed) {
        epochs.entry(chunk.id.epoch).or_default().push(chunk.clone());
    }
    if epochs.is_empty() {
        return Ok(());
    }
    tracing::info!(epochs = epochs.len(), "publishing what was owned before the last end");
    let permits = epochs
        .into_iter()
        .map(|(epoch, chunks)| Ok((journal.permit(epoch)?, chunks)))
        .collect::<Result<Vec<_>, JournalError>>()?;
    settle(targets, permits).await;
    Ok(journal.committed(manifest.epoch).await?)
}
