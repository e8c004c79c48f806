//! A worker's HTTP API: metrics and health.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{Router, extract::State, http::StatusCode, routing::get};

use crate::{http, metrics::Metrics, net::Listener};

/// Whether the job that this worker belongs to runs.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    pub fn set(&self, runs: bool) {
        self.0.store(runs, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct Served {
    metrics: Arc<Metrics>,
    readiness: Readiness,
}

/// Serves until the process ends. Returns the address it listens on.
pub async fn serve(listen: SocketAddr, metrics: Arc<Metrics>, readiness: Readiness) -> std::io::Result<SocketAddr> {
    let listener = Listener::bind(listen).await?;
    let address = listener.address()?;
    let router = Router::new()
        .route("/metrics", get(encode))
        // A worker that can answer looks for its coordinator by itself: a restart would not help.
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .with_state(Served { metrics, readiness });
    http::serve(listener, router);
    Ok(address)
}

async fn encode(State(served): State<Served>) -> ([(&'static str, &'static str); 1], String) {
    ([("content-type", Metrics::CONTENT_TYPE)], served.metrics.encode())
}

/// Ready: its coordinator has the job, and the job runs. Workers of the version before are needed until then.
async fn ready(State(served): State<Served>) -> (StatusCode, &'static str) {
    if served.readiness.0.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the job does not run")
    }
}
