//! Before the claim: is there everything that the job needs?
//!
//! Storage, sources and sinks are asked before a process takes the job, so that one that can't run it leaves it to the
//! one that does.

use std::{sync::Arc, time::Duration};

use thiserror::Error;
use tidegate_crds::api::FailureReason;

use super::shared::Shared;
use crate::{
    checkpoint::{
        claim::{ClaimError, read_newest},
        destination::awaited,
        manifest::ManifestError,
        store::{self, Store, StoreError, prove},
    },
    env,
    failure::Reason,
    job::{JobError, JobPlan},
};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// A job that can be claimed.
#[derive(Debug)]
pub struct Prepared {
    pub store: Arc<dyn Store>,
    /// The job ran before as it stands, so its sources and sinks have not been asked: they are while it recovers, for
    /// its readers wait.
    pub ran_before: bool,
}

#[derive(Debug, Error)]
pub enum PrepareError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Log(#[from] ClaimError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Job(#[from] JobError),
}

impl Reason for PrepareError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Store(error) => error.reason(),
            Self::Log(error) => error.reason(),
            Self::Manifest(error) => error.reason(),
            Self::Job(error) => error.reason(),
        }
    }
}

/// Asks the systems that the job needs. If `patient`, asks again and again while one can't be reached, and the status
/// says which.
pub async fn prepare(plan: &JobPlan, shared: &Shared, patient: bool) -> Result<Prepared, PrepareError> {
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match ask(plan).await {
            Err(error) if patient && error.reason().may_pass() => error,
            answer => return answer,
        };
        let failure = error.failure();
        tracing::warn!(reason = ?failure.reason, cause = failure.message, ?pause, "the job can't start yet, trying again");
        shared.update(|status| status.failure = Some(failure));
        env::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn ask(plan: &JobPlan) -> Result<Prepared, PrepareError> {
    prepare_in(plan, store::open(&plan.spec.checkpoint.storage, &plan.id).await?).await
}

/// Asks once, with the job's checkpoints in `store`.
pub async fn prepare_in(plan: &JobPlan, store: Arc<dyn Store>) -> Result<Prepared, PrepareError> {
    let newest = read_newest(store.as_ref()).await?;
    let ran_before = newest.as_ref().is_some_and(|log| log.spec_digest == plan.digest);
    if !ran_before {
        let log = newest.as_ref();
        let checkpoint = log.and_then(|log| log.checkpoint.as_ref());
        let committed = log.map(|log| log.committed.clone()).unwrap_or_default();
        let awaited = awaited(store.as_ref(), checkpoint, &committed, &plan.destinations()).await?;
        plan.preflight(plan.spec.parallelism, &awaited, false).await?;
    }
    if newest.is_none() {
        prove(store.as_ref()).await?;
    }
    Ok(Prepared { store, ran_before })
}
