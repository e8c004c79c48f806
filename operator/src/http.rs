//! Health and metrics.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, extract::State, routing::get};
use kube::runtime::reflector::Store;
use tokio::net::TcpListener;

use crate::{metrics::Metrics, reconcile::Watched};

/// What is shown.
#[derive(Debug, Clone)]
struct Shown {
    metrics: Metrics,
    jobs: Arc<[Store<Watched>]>,
}

/// Serves until the process ends. An operator that waits for the lease is alive and ready: it is what it should be.
pub async fn serve(listen: SocketAddr, metrics: Metrics, jobs: Vec<Store<Watched>>) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(|| async { "ok" }))
        .route("/metrics", get(encode))
        .with_state(Shown { metrics, jobs: jobs.into() });
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "health and metrics are no longer served");
        }
    });
    Ok(address)
}

async fn encode(State(shown): State<Shown>) -> ([(&'static str, &'static str); 1], String) {
    let jobs: Vec<_> = shown.jobs.iter().flat_map(Store::state).collect();
    let text = shown.metrics.encode(jobs.iter().filter_map(|job| job.0.as_ref().ok()));
    ([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}
