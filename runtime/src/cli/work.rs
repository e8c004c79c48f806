//! `tidegate worker`: slots for the subtasks of a job that a coordinator elsewhere runs.

use std::sync::Arc;

use tokio::{runtime::Handle, sync::mpsc::unbounded_channel};

use super::{arguments::WorkerArguments, given, last_word::LastWord, own_name, signals};
use crate::{
    checkpoint::store,
    error_chain,
    exchange::remote::post::Post,
    failure::Reason,
    link::join::Joining,
    worker::{
        api::{self, Readiness},
        at_hand::AtHand,
        protocol::Hello,
        supervisor::Worker,
    },
};

pub(super) async fn work(arguments: &WorkerArguments, io: Handle) -> Result<(), String> {
    let ended = Box::pin(until_stopped(arguments, io)).await;
    ended.map_err(|last_word| last_word.leave(arguments.termination_log.as_deref()))
}

async fn until_stopped(arguments: &WorkerArguments, io: Handle) -> Result<(), LastWord> {
    let (requests, mut stop) = unbounded_channel();
    let mut signalled = signals::listen(requests).map_err(|error| format!("failed to listen for signals: {error}"))?;
    let job = arguments.job.clone();
    let Some(plan) = signals::unless_signalled(&mut signalled, move || given(&job)).await? else {
        return Ok(());
    };
    let plan = plan?;
    let security = arguments.link.security(arguments.exchange_listen)?;
    let coordinator = security.endpoint(&arguments.coordinator).map_err(|error| {
        let accepted = "accepted is host:port, and certificates as --tls says";
        format!("--coordinator: found `{}` ({}); {accepted}", arguments.coordinator, error_chain(&error))
    })?;
    let readiness = Readiness::default();
    let listening = api::serve(arguments.listen, plan.metrics.clone(), readiness.clone()).await;
    let address = listening.map_err(|error| format!("--listen: failed to listen on {}: {error}", arguments.listen))?;
    let post = Post::default();
    let listening = post.serve(arguments.exchange_listen, &security).await;
    let exchange = listening
        .map_err(|error| format!("--exchange-listen {}: {}", arguments.exchange_listen, error_chain(&error)))?;
    let store = store::open(&plan.spec.checkpoint.storage, &plan.id).await;
    let store = store.map_err(|error| LastWord::refused(&arguments.job, error.failure()))?;
    let hello = Hello {
        name: arguments.pod_name.clone().unwrap_or_else(own_name),
        slots: arguments.slots,
        exchange: arguments.exchange_advertise.clone().unwrap_or_else(|| exchange.to_string()),
        job: plan.id.clone(),
        digest: plan.digest.clone(),
    };
    tracing::info!(job = plan.id, %address, worker = hello.name, slots = hello.slots, exchange = hello.exchange, "working");
    let backend = arguments.local.backend(plan.spec.state_backend);
    let _folder = backend.until_the_end();
    let worker = Worker { plan: Arc::new(plan), store, backend, at_hand: AtHand::default(), post, security, io };
    let silence = arguments.link.heartbeat_timeout.0;
    let joining = Joining { worker, hello, coordinator, silence, readiness };
    tokio::select! {
        biased;
        Some(_) = stop.recv() => Ok(()),
        () = joining.run() => Ok(()),
    }
}
