//! A worker's HTTP API: metrics and health.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, extract::State, routing::get};
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// Serves until the process ends. Returns the address it listens on.
pub async fn serve(listen: SocketAddr, metrics: Arc<Metrics>) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/metrics", get(encode))
        // A worker that can answer looks for its coordinator by itself: a restart would not help.
        .route("/livez", get(|| async { "ok" }))
        .with_state(metrics);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the HTTP API has ended");
        }
    });
    Ok(address)
}

async fn encode(State(metrics): State<Arc<Metrics>>) -> ([(&'static str, &'static str); 1], String) {
    ([("content-type", Metrics::CONTENT_TYPE)], metrics.encode())
}
