//! The HTTP API: status, checkpoints, metrics, health, and a way to stop the job.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use tidegate_crds::api::{CheckpointDetails, CheckpointHistory, JobStatus, Phase, StopRequest};
use tokio::{net::TcpListener, sync::mpsc::UnboundedSender};

use super::shared::Shared;
use crate::metrics::Metrics;

/// What the API speaks for.
#[derive(Clone)]
struct Served {
    shared: Arc<Shared>,
    requests: UnboundedSender<Request>,
}

/// What the coordinator is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Request {
    Stop(StopRequest),
    /// A checkpoint now, whatever the interval.
    Checkpoint,
}

/// Serves until the process ends; `requests` gets what is asked for. Returns the address it listens on.
pub async fn serve(
    listen: SocketAddr,
    shared: Arc<Shared>,
    requests: UnboundedSender<Request>,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/checkpoints", get(checkpoints).post(take_checkpoint))
        .route("/v1/checkpoints/{epoch}", get(details))
        .route("/v1/stop", post(stop_job))
        .route("/metrics", get(metrics))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .with_state(Served { shared, requests });
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the HTTP API has ended");
        }
    });
    Ok(address)
}

async fn status(State(served): State<Served>) -> Json<JobStatus> {
    Json(served.shared.status())
}

async fn checkpoints(State(served): State<Served>) -> Json<CheckpointHistory> {
    Json(served.shared.history())
}

async fn details(State(served): State<Served>, Path(epoch): Path<u64>) -> Result<Json<CheckpointDetails>, StatusCode> {
    served.shared.details(epoch).map(Json).ok_or(StatusCode::NOT_FOUND)
}

/// The history tells what came of it.
async fn take_checkpoint(State(served): State<Served>) -> (StatusCode, Json<JobStatus>) {
    let status = served.shared.status();
    let runs = status.phase == Phase::Running;
    // Nobody listens any more when the job has ended.
    let taken = runs && served.requests.send(Request::Checkpoint).is_ok();
    (if taken { StatusCode::ACCEPTED } else { StatusCode::CONFLICT }, Json(status))
}

/// May be asked any number of times, at any time: a job that has ended stays as it is.
async fn stop_job(
    State(served): State<Served>,
    body: Bytes,
) -> Result<(StatusCode, Json<JobStatus>), (StatusCode, String)> {
    let request: StopRequest = serde_json::from_slice(&body).map_err(|error| {
        let accepted = r#"{"purpose": "Suspend" or "Cancel", "finalCheckpoint": true (the default) or false}"#;
        (StatusCode::BAD_REQUEST, format!("the body is no request to stop: {error}; accepted is {accepted}\n"))
    })?;
    tracing::info!(?request, "asked to stop over HTTP");
    // Nobody listens any more when the job has ended.
    let _ended = served.requests.send(Request::Stop(request));
    Ok((StatusCode::ACCEPTED, Json(served.shared.status())))
}

async fn metrics(State(served): State<Served>) -> ([(&'static str, &'static str); 1], String) {
    ([("content-type", Metrics::CONTENT_TYPE)], served.shared.metrics.encode())
}

/// Not alive: the coordinator hangs, and a restart of the process helps.
async fn live(State(served): State<Served>) -> (StatusCode, &'static str) {
    if served.shared.is_alive() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the coordinator hangs")
    }
}

/// Ready: the job owns its log and its tasks run.
async fn ready(State(served): State<Served>) -> (StatusCode, String) {
    match served.shared.status().phase {
        Phase::Running => (StatusCode::OK, "ok".to_owned()),
        phase => (StatusCode::SERVICE_UNAVAILABLE, format!("{phase:?}")),
    }
}
