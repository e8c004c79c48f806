//! `tidegate run`: coordinator and tasks in one process.

use std::sync::Arc;

use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};

use super::{arguments::RunArguments, prefixed, read};
use crate::{
    checkpoint::{
        claim::{Identity, read_newest},
        log::Claimant,
        store::{self, prove},
    },
    coordinator::{
        api,
        driver::{Coordinator, StopRequest},
        event::Outcome,
        shared::Shared,
    },
    env, error_chain,
    ids::Revision,
    job::JobPlan,
    metrics::Metrics,
};

pub(super) async fn run(arguments: &RunArguments, io: Handle) -> Result<(), String> {
    let stop = stop_requests().map_err(|error| format!("failed to listen for signals: {error}"))?;
    let job = read(&arguments.job)?;
    let refuse = |message: String| prefixed(&arguments.job.job, &message);
    let metrics = Arc::new(Metrics::new());
    let plan = JobPlan::new(&job, metrics.clone()).map_err(|error| refuse(error_chain(&error)))?;
    let store =
        store::open(&plan.spec.checkpoint.storage, &plan.name).await.map_err(|error| refuse(error_chain(&error)))?;
    let newest = read_newest(store.as_ref()).await.map_err(|error| refuse(error_chain(&error)))?;
    // A job that ran before as it stands is asked again while it recovers: its readers wait.
    let ran_before = newest.as_ref().is_some_and(|log| log.spec_digest == plan.digest);
    if !ran_before {
        plan.preflight().await.map_err(|error| refuse(error_chain(&error)))?;
    }
    if newest.is_none() {
        prove(store.as_ref()).await.map_err(|error| refuse(error_chain(&error)))?;
    }
    let shared = Shared::new(&plan.name, arguments.revision, store.location(), metrics);
    let listening = api::serve(arguments.listen, shared.clone()).await;
    let address = listening.map_err(|error| format!("--listen: failed to listen on {}: {error}", arguments.listen))?;
    tracing::info!(job = plan.name, %address, storage = store.location(), "starting");
    let pod =
        arguments.pod_name.clone().unwrap_or_else(|| format!("{}:{}:{}", host(), std::process::id(), env::unique_id()));
    let identity = Identity {
        claimant: Claimant { revision: Revision(arguments.revision), pod },
        address: arguments.advertise.clone().unwrap_or_else(|| address.to_string()),
        spec_digest: plan.digest.clone(),
        lineage: format!("{}-{}", plan.name, env::unique_id()),
        stand_by: arguments.stand_by,
    };
    let (plan, shown) = (Arc::new(plan), shared.clone());
    let coordinator = Coordinator { plan, store, identity, preflight: ran_before, shared: shown, io };
    match coordinator.run(stop).await {
        Outcome::Finished => {
            tracing::info!("finished: everything was read and published");
            Ok(())
        }
        Outcome::Stopped => {
            tracing::info!(epoch = ?shared.status().last_checkpoint.map(|checkpoint| checkpoint.epoch), "stopped; the next run goes on from the last checkpoint");
            Ok(())
        }
        Outcome::Failed { cause } => Err(format!("the job has failed, and the restart strategy has given up: {cause}")),
        Outcome::Refused { cause } => Err(cause),
    }
}

/// SIGTERM suspends the job, Ctrl-C cancels it; both take a last checkpoint.
fn stop_requests() -> std::io::Result<UnboundedReceiver<StopRequest>> {
    let (requests, stop) = unbounded_channel();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        loop {
            let request = tokio::select! {
                _ = terminate.recv() => StopRequest::Suspend,
                _ = interrupt.recv() => StopRequest::Cancel,
            };
            tracing::info!(?request, "asked to stop: taking a last checkpoint");
            if requests.send(request).is_err() {
                return;
            }
        }
    });
    Ok(stop)
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned())
}
