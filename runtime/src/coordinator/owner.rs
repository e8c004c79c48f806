//! Asking another process whether it still runs the job, and to stop.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::http::Method;
use tidegate_crds::api::{Failure, JobStatus, StopPurpose, StopRequest};

use super::{
    call::{CallError, call},
    shared::Shared,
};
use crate::{
    checkpoint::{claim::Neighbours, log::OwnerAnswer, record::Owner},
    env, error_chain,
};

/// An owner that has not answered for so long is taken for gone.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks by the owner's HTTP API, and answers by our own.
#[derive(Debug)]
pub struct HttpNeighbours {
    shared: Arc<Shared>,
}

impl HttpNeighbours {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    async fn status(&self, owner: &Owner) -> Result<JobStatus, CallError> {
        let asked = call(Method::GET, &owner.address, "/v1/status", Vec::new());
        let answer = env::within(TIMEOUT, asked).await.ok_or(CallError::Late)??;
        Ok(serde_json::from_slice(&answer)?)
    }

    async fn stop(&self, owner: &Owner) -> Result<(), CallError> {
        let request = serde_json::to_vec(&StopRequest::new(StopPurpose::Suspend, true))?;
        let asked = call(Method::POST, &owner.address, "/v1/stop", request);
        env::within(TIMEOUT, asked).await.ok_or(CallError::Late)?.map(drop)
    }
}

#[async_trait]
impl Neighbours for HttpNeighbours {
    async fn ask(&self, owner: &Owner, record_id: &str) -> OwnerAnswer {
        match self.status(owner).await {
            Ok(status) if status.record_id.as_deref() == Some(record_id) && !status.phase.has_ended() => {
                OwnerAnswer::Alive
            }
            Ok(_) => OwnerAnswer::Gone,
            Err(error) => {
                let error = error_chain(&error);
                tracing::info!(pod = owner.pod, address = owner.address, error, "the job's last owner does not answer");
                OwnerAnswer::Gone
            }
        }
    }

    async fn ask_to_stop(&self, owner: &Owner) -> OwnerAnswer {
        match self.stop(owner).await {
            Ok(()) => OwnerAnswer::Alive,
            Err(error) => {
                let error = error_chain(&error);
                tracing::warn!(
                    pod = owner.pod,
                    address = owner.address,
                    error,
                    "the job's owner can't be asked to stop"
                );
                OwnerAnswer::Gone
            }
        }
    }

    fn waits(&self, reason: Failure) {
        self.shared.waits_for(Some(reason));
    }

    fn announce(&self, record_id: &str) {
        self.shared.update(|status| status.record_id = Some(record_id.to_owned()));
    }
}
