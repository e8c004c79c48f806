//! The only client of the coordinator's API: how the operator learns of a job, and stops it.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use thiserror::Error;
use tidegate_crds::api::{JobStatus, PORT, StopRequest};

/// A coordinator answers from memory; one that takes longer hangs or is cut off.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Speaks with the coordinator of a pod.
#[async_trait]
pub trait Coordinators: fmt::Debug + Send + Sync {
    async fn status(&self, pod_ip: &str) -> Result<JobStatus, CoordinatorError>;
    /// Asks for the stop and comes back at once; [`JobStatus::phase`] says when it is done.
    async fn stop(&self, pod_ip: &str, request: &StopRequest) -> Result<(), CoordinatorError>;
}

#[derive(Debug, Error)]
#[error("failed to ask the job's API at {url}")]
pub struct CoordinatorError {
    url: String,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

#[derive(Debug)]
pub struct HttpCoordinators {
    client: reqwest::Client,
}

impl HttpCoordinators {
    pub fn new() -> reqwest::Result<Self> {
        // Pods are asked by their address: no proxy of the environment stands between.
        let client = reqwest::Client::builder().timeout(TIMEOUT).connect_timeout(TIMEOUT).no_proxy().build()?;
        Ok(Self { client })
    }
}

#[async_trait]
impl Coordinators for HttpCoordinators {
    async fn status(&self, pod_ip: &str) -> Result<JobStatus, CoordinatorError> {
        let url = url(pod_ip, "status");
        let asked = async { self.client.get(&url).send().await?.error_for_status()?.json().await };
        asked.await.map_err(|source: reqwest::Error| CoordinatorError { url, source: source.into() })
    }

    async fn stop(&self, pod_ip: &str, request: &StopRequest) -> Result<(), CoordinatorError> {
        let url = url(pod_ip, "stop");
        let asked = async { self.client.post(&url).json(request).send().await?.error_for_status() };
        asked.await.map(drop).map_err(|source: reqwest::Error| CoordinatorError { url, source: source.into() })
    }
}

fn url(pod_ip: &str, call: &str) -> String {
    let host = if pod_ip.contains(':') { format!("[{pod_ip}]") } else { pod_ip.to_owned() };
    format!("http://{host}:{PORT}/v1/{call}")
}

#[cfg(test)]
impl CoordinatorError {
    /// Nobody is there.
    pub fn unreachable(pod_ip: &str) -> Self {
        Self { url: url(pod_ip, "status"), source: "connection refused".into() }
    }
}
