//! The HTTP API: status, checkpoints, metrics, health.

use std::{net::SocketAddr, sync::Arc};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use tidegate_crds::api::{CheckpointHistory, JobStatus, Phase};
use tokio::net::TcpListener;

use super::shared::Shared;

/// Serves until the process ends. Returns the address it listens on.
pub async fn serve(listen: SocketAddr, shared: Arc<Shared>) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/checkpoints", get(checkpoints))
        .route("/metrics", get(metrics))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .with_state(shared);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the HTTP API has ended");
        }
    });
    Ok(address)
}

async fn status(State(shared): State<Arc<Shared>>) -> Json<JobStatus> {
    Json(shared.status())
}

async fn checkpoints(State(shared): State<Arc<Shared>>) -> Json<CheckpointHistory> {
    Json(shared.history())
}

async fn metrics(State(shared): State<Arc<Shared>>) -> ([(&'static str, &'static str); 1], String) {
    ([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], shared.metrics.encode())
}

/// Not alive: the coordinator hangs, and a restart of the process helps.
async fn live(State(shared): State<Arc<Shared>>) -> (StatusCode, &'static str) {
    if shared.is_alive() { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "the coordinator hangs") }
}

/// Ready: the job owns its log and its tasks run.
async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    match shared.status().phase {
        Phase::Running => (StatusCode::OK, "ok".to_owned()),
        phase => (StatusCode::SERVICE_UNAVAILABLE, format!("{phase:?}")),
    }
}
