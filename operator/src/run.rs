//! From the arguments to a running operator.

use std::{net::SocketAddr, sync::Arc};

use futures::future::{join_all, select_all};
use kube::Client;
use thiserror::Error;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{
    arguments::Arguments,
    build::Defaults,
    controller::{Scope, Watches},
    coordinator_client::HttpCoordinators,
    http, leader,
    metrics::Metrics,
    reconcile::{Context, reporter},
};

#[derive(Debug, Error)]
pub enum RunError {
    #[error("failed to find the Kubernetes API: neither a pod's account nor a kubeconfig can be used")]
    Client(#[source] Box<kube::Error>),
    #[error("--listen: failed to listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("failed to listen for signals")]
    Signals(#[source] std::io::Error),
    #[error("failed to make an HTTP client")]
    Http(#[source] reqwest::Error),
    #[error("the lease `{0}` was lost: another operator leads, or the API server could not be reached in time")]
    LeaseLost(String),
}

/// Runs until it is asked to end (SIGTERM, Ctrl-C) or has lost the lease.
pub async fn run(arguments: Arguments) -> Result<(), RunError> {
    let stop = stop_requested().map_err(RunError::Signals)?;
    let client = Client::try_default().await.map_err(|source| RunError::Client(Box::new(source)))?;
    let metrics = Metrics::new();
    let scopes = match arguments.watch_namespaces.as_slice() {
        [] => vec![Scope::Everywhere],
        named => named.iter().cloned().map(Scope::Namespace).collect(),
    };
    let watches: Vec<Watches> = scopes.iter().map(|scope| Watches::new(&client, scope)).collect();
    let jobs = watches.iter().map(|watches| watches.jobs.clone()).collect();
    let listening = http::serve(arguments.listen, metrics.clone(), jobs).await;
    let address = listening.map_err(|source| RunError::Listen { address: arguments.listen, source })?;
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "starting");

    let elected =
        async { if arguments.leader_elect { Some(leader::elect(client.clone(), &arguments).await) } else { None } };
    let mut asked = stop.clone();
    let leadership = tokio::select! {
        elected = elected => elected,
        _ = asked.wait_for(|stop| *stop) => return Ok(()),
    };
    metrics.leads();

    let coordinators = Arc::new(HttpCoordinators::new().map_err(RunError::Http)?);
    let controllers = watches.into_iter().map(|watches| {
        let context = Arc::new(Context {
            client: client.clone(),
            stores: watches.stores.clone(),
            coordinators: coordinators.clone(),
            reporter: reporter(&arguments.pod_name),
            metrics: metrics.clone(),
            defaults: Defaults {
                runtime_image: arguments.runtime_image.clone(),
                pull_policy: arguments.runtime_image_pull_policy.clone(),
            },
            poll_interval: arguments.poll_interval.0,
            status_interval: arguments.status_interval.millis() / 1000,
        });
        let mut stop = stop.clone();
        let stopped = async move {
            // Without anybody left to ask, the process is ending anyway.
            let _gone = stop.wait_for(|stop| *stop).await;
        };
        watches.run(context, arguments.concurrency, stopped)
    });
    let working = join_all(controllers);
    match leadership {
        Some(mut leadership) => tokio::select! {
            _ = working => {
                leadership.release().await;
                Ok(())
            }
            // At once, whatever is under way: another operator works already.
            lease = leadership.lost() => Err(RunError::LeaseLost(lease)),
        },
        None => {
            working.await;
            Ok(())
        }
    }
}

/// Turns true at SIGTERM or Ctrl-C.
fn stop_requested() -> std::io::Result<watch::Receiver<bool>> {
    let (sender, receiver) = watch::channel(false);
    let mut signals = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    tokio::spawn(async move {
        select_all(signals.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
        tracing::info!("asked to end: finishing what is under way");
        // Nobody listens any more: the process is ending.
        let _gone = sender.send(true);
    });
    Ok(receiver)
}
