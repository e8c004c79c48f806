//! Asking another process whether it still runs the job, and to stop.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tidegate_crds::api::{Failure, JobStatus, Phase, StopPurpose, StopRequest};

use super::shared::Shared;
use crate::checkpoint::{claim::Neighbours, log::OwnerAnswer, record::Owner};

/// An owner that has not answered for so long is taken for gone.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks by the owner's HTTP API, and answers by our own.
#[derive(Debug)]
pub struct HttpNeighbours {
    client: reqwest::Client,
    shared: Arc<Shared>,
}

impl HttpNeighbours {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { client: reqwest::Client::new(), shared }
    }

    async fn status(&self, owner: &Owner) -> reqwest::Result<JobStatus> {
        let url = format!("http://{}/v1/status", owner.address);
        self.client.get(url).timeout(TIMEOUT).send().await?.error_for_status()?.json().await
    }
}

#[async_trait]
impl Neighbours for HttpNeighbours {
    async fn ask(&self, owner: &Owner, record_id: &str) -> OwnerAnswer {
        match self.status(owner).await {
            Ok(status) if status.record_id.as_deref() == Some(record_id) && !has_ended(status.phase) => {
                OwnerAnswer::Alive
            }
            Ok(_) => OwnerAnswer::Gone,
            Err(error) => {
                tracing::info!(pod = owner.pod, address = owner.address, %error, "the job's last owner does not answer");
                OwnerAnswer::Gone
            }
        }
    }

    async fn ask_to_stop(&self, owner: &Owner) -> OwnerAnswer {
        let url = format!("http://{}/v1/stop", owner.address);
        let request = StopRequest::new(StopPurpose::Suspend, true);
        let answer = self.client.post(url).timeout(TIMEOUT).json(&request).send().await;
        match answer.and_then(reqwest::Response::error_for_status) {
            Ok(_) => OwnerAnswer::Alive,
            Err(error) => {
                tracing::warn!(pod = owner.pod, address = owner.address, %error, "the job's owner can't be asked to stop");
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

fn has_ended(phase: Phase) -> bool {
    matches!(phase, Phase::Stopped | Phase::Finished | Phase::Failed)
}
