//! Asking another process whether it still runs the job.

use std::time::Duration;

use async_trait::async_trait;
use tidegate_crds::api::{JobStatus, Phase};

use crate::checkpoint::{claim::AskOwner, log::OwnerAnswer, record::Owner};

/// An owner that has not answered for so long is taken for gone.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks by the owner's HTTP API.
#[derive(Debug, Default)]
pub struct HttpOwner {
    client: reqwest::Client,
}

impl HttpOwner {
    async fn status(&self, owner: &Owner) -> reqwest::Result<JobStatus> {
        let url = format!("http://{}/v1/status", owner.address);
        self.client.get(url).timeout(TIMEOUT).send().await?.error_for_status()?.json().await
    }
}

#[async_trait]
impl AskOwner for HttpOwner {
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
}

fn has_ended(phase: Phase) -> bool {
    matches!(phase, Phase::Stopped | Phase::Finished | Phase::Failed)
}
