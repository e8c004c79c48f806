//! The only client of the coordinator's API: how the operator learns of a job, and stops it.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use reqwest::{Response, redirect::Policy};
use serde::de::DeserializeOwned;
use thiserror::Error;
use tidegate_crds::api::{JobStatus, PORT, StopRequest};

/// A coordinator answers from memory; one that takes longer hangs or is cut off.
const TIMEOUT: Duration = Duration::from_secs(2);
/// A status of a job with very many sinks and workers has some hundred kilobytes.
const LONGEST_ANSWER: usize = 4 << 20;

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
    source: Cause,
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug)]
pub struct HttpCoordinators {
    client: reqwest::Client,
}

impl HttpCoordinators {
    pub fn new() -> reqwest::Result<Self> {
        // Pods are asked by their address: no proxy of the environment stands between.
        // Whoever may run an image may answer as he likes: he sends nobody elsewhere, and is not listened to for ever.
        let client = reqwest::Client::builder().redirect(Policy::none());
        Ok(Self { client: client.timeout(TIMEOUT).connect_timeout(TIMEOUT).no_proxy().build()? })
    }
}

#[async_trait]
impl Coordinators for HttpCoordinators {
    async fn status(&self, pod_ip: &str) -> Result<JobStatus, CoordinatorError> {
        let url = url(pod_ip, "status");
        let asked = async { read(success(self.client.get(&url).send().await?)?).await };
        asked.await.map_err(|source| CoordinatorError { url, source })
    }

    async fn stop(&self, pod_ip: &str, request: &StopRequest) -> Result<(), CoordinatorError> {
        let url = url(pod_ip, "stop");
        let asked = async { success(self.client.post(&url).json(request).send().await?) };
        asked.await.map(drop).map_err(|source| CoordinatorError { url, source })
    }
}

fn success(answer: Response) -> Result<Response, Cause> {
    let status = answer.status();
    if status.is_success() { Ok(answer) } else { Err(format!("the answer is {status}").into()) }
}

/// Reads an answer of bounded length.
async fn read<T: DeserializeOwned>(mut answer: Response) -> Result<T, Cause> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        if body.len() + piece.len() > LONGEST_ANSWER {
            return Err(format!("the answer is longer than {LONGEST_ANSWER} bytes").into());
        }
        body.extend_from_slice(&piece);
    }
    Ok(serde_json::from_slice(&body)?)
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

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Answers one request with a head, and with zeros for as long as somebody listens.
    async fn answered(head: &'static str) -> Response {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _request = stream.read(&mut [0; 4096]).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            let spaces = vec![b' '; 1 << 16];
            while stream.write_all(&spaces).await.is_ok() {}
        });
        HttpCoordinators::new().unwrap().client.get(format!("http://{address}/v1/status")).send().await.unwrap()
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_not_read_to_it() {
        let answer = answered("HTTP/1.1 200 OK\r\n\r\n").await;
        let error = read::<JobStatus>(success(answer).unwrap()).await.unwrap_err().to_string();
        assert_eq!(error, "the answer is longer than 4194304 bytes");
    }

    #[tokio::test]
    async fn nobody_is_sent_elsewhere() {
        let answer = answered("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/v1/stop\r\n\r\n").await;
        assert_eq!(success(answer).unwrap_err().to_string(), "the answer is 307 Temporary Redirect");
    }
}
