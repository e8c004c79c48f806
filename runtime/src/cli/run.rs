//! `tidegate run`, coordinator and worker in one process, and `tidegate coordinator`, for workers elsewhere.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tidegate_crds::{OnCancellation, Problem, Problems, api::Phase};
use tokio::{
    runtime::Handle,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};

use super::{
    arguments::RunArguments,
    given,
    last_word::{LastWord, say_stopped},
    own_name, signals,
};
use crate::{
    checkpoint::{
        claim::{Identity, NewestSeen},
        log::Claimant,
        store,
    },
    coordinator::{
        api::{self, Refused, Request},
        driver::Coordinator,
        event::Outcome,
        machine::STOP_GRACE_MS,
        prepare::{Prepared, prepare},
        shared::Shared,
        workers::{Door, Workers},
    },
    env, error_chain,
    exchange::remote::post::Post,
    failure::Reason,
    ids::{Attempt, Revision},
    job::{JobError, JobPlan},
    link::reception::Reception,
    tls::Security,
    worker::{at_hand::AtHand, protocol::Hello, supervisor::Worker},
};

/// Time for the last checkpoint of an older revision, whatever the job's `checkpoint.timeout`.
const LONGEST_LAST_CHECKPOINT: Duration = Duration::from_mins(2);

/// Slots of a process that runs all subtasks itself, unless its job asks for more: as many as a worker of a pod may have.
/// A rescale to hundreds would be one that no checkpoint gets through.
const OWN_SLOTS: u32 = 64;

/// Who runs the subtasks.
pub(super) enum Crew {
    /// This process.
    Here,
    /// Workers that join at `listen`; one that says nothing for `silence` is lost. So many are `expected`.
    Elsewhere { listen: SocketAddr, security: Security, silence: Duration, expected: usize },
}

impl Crew {
    fn expected(&self) -> usize {
        match self {
            Self::Here => 1,
            Self::Elsewhere { expected, .. } => *expected,
        }
    }

    /// Workers elsewhere write where this process does, or what it recovers is in another place than what they publish.
    fn accepts(&self, plan: &JobPlan) -> Result<(), Problems> {
        let Self::Elsewhere { .. } = self else { return Ok(()) };
        let sinks = plan.spec.sinks.iter().enumerate();
        let problems: Vec<Problem> = sinks.filter_map(|(index, sink)| sink.private_folder(index)).collect();
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
    }

    async fn join(self, door: Door, worker: Worker, shared: &Arc<Shared>) -> Result<(), String> {
        match self {
            Self::Here => {
                let hello = Hello {
                    name: "local".to_owned(),
                    slots: worker.plan.spec.max_parallelism.min(worker.plan.spec.parallelism.max(OWN_SLOTS)),
                    // All subtasks are here, so none sends to another process.
                    exchange: String::new(),
                    job: worker.plan.id.clone(),
                    digest: worker.plan.digest.clone(),
                };
                door.keep_local(worker, hello);
            }
            Self::Elsewhere { listen, security, silence, .. } => {
                let reception = Reception {
                    door,
                    job: worker.plan.id.clone(),
                    digest: worker.plan.digest.clone(),
                    silence,
                    shared: shared.clone(),
                };
                let listening = reception.serve(listen, &security).await;
                let failed = |error| format!("--workers-listen {listen}: {}", error_chain(&error));
                let address = listening.map_err(failed)?;
                tracing::info!(%address, "workers may join");
            }
        }
        Ok(())
    }
}

pub(super) async fn run(arguments: &RunArguments, crew: Crew, io: Handle) -> Result<(), String> {
    let ended = Box::pin(run_job(arguments, crew, io)).await;
    ended.map_err(|last_word| last_word.leave(arguments.termination_log.as_deref()))
}

async fn run_job(arguments: &RunArguments, crew: Crew, io: Handle) -> Result<(), LastWord> {
    let (requests, mut requested) = unbounded_channel();
    let mut signalled =
        signals::listen(requests.clone()).map_err(|error| format!("failed to listen for signals: {error}"))?;
    let job = arguments.job.clone();
    let Some(plan) = signals::unless_signalled(&mut signalled, move || given(&job)).await? else {
        tracing::info!("stopped before the job was planned: nothing was touched, so what earlier runs have kept stays");
        return Ok(());
    };
    let plan = plan?;
    crew.accepts(&plan).map_err(|problems| LastWord::refused(&arguments.job, JobError::from(problems).failure()))?;
    let storage = store::location(&plan.spec.checkpoint.storage, &plan.id);
    let shared = Shared::new(&plan, arguments.revision, storage.clone());
    let listening = api::serve(arguments.listen, shared.clone(), requests).await;
    let address = listening.map_err(|error| format!("--listen: failed to listen on {}: {error}", arguments.listen))?;
    tracing::info!(job = plan.id, %address, storage, "starting");
    let prepared = tokio::select! {
        biased;
        () = asked_to_stop(&mut requested) => None,
        prepared = shared.alive_during(prepare(&plan, &shared, arguments.supervised)) => Some(prepared),
    };
    match prepared {
        None => {
            tracing::info!(
                "stopped before the job was claimed: nothing was touched, so what earlier runs have kept stays"
            );
            shared.update(|status| status.phase = Phase::Stopped);
        }
        Some(prepared) => {
            let Prepared { store, ran_before } =
                prepared.map_err(|error| LastWord::refused(&arguments.job, error.failure()))?;
            let identity = identity(arguments, &plan, address.to_string());
            let (plan, shown) = (Arc::new(plan), shared.clone());
            let (kept, may_be_deleted) =
                (store.clone(), plan.spec.checkpoint.on_cancellation == OnCancellation::Delete);
            let (workers, door) = Workers::new();
            let expected = crew.expected();
            let backend = arguments.local.backend(plan.spec.state_backend);
            let _folder = backend.until_the_end();
            let worker = Worker {
                plan: plan.clone(),
                store: store.clone(),
                backend,
                at_hand: AtHand::default(),
                post: Post::default(),
                security: Security::Plain,
                io: io.clone(),
            };
            crew.join(door, worker, &shared).await?;
            let preflight = ran_before;
            let coordinator = Coordinator { plan, store, identity, preflight, workers, expected, shared: shown, io };
            match coordinator.run(requested).await {
                Outcome::Finished => tracing::info!("finished: what the job was to read is read and published"),
                Outcome::Stopped => {
                    let had = shared.status().attempt.map(Attempt);
                    say_stopped(kept.as_ref(), had, may_be_deleted).await?;
                }
                Outcome::Failed(failure) => return Err(failure.into()),
            }
        }
    }
    if arguments.supervised {
        // Who watches this process reads its last status before it ends it. The channel lives as long as the process.
        let _signalled = shared.alive_during(signalled.wait_for(|signalled| *signalled)).await;
    }
    shared.take_unmet().map_or(Ok(()), |failure| Err(failure.into()))
}

/// Waits for a stop of a job that is not claimed yet. Anything else can only be done while it runs.
async fn asked_to_stop(requested: &mut UnboundedReceiver<Request>) {
    while let Some(request) = requested.recv().await {
        match request {
            Request::Stop(_) => return,
            other => other.refuse(Refused::only_while_running(Phase::Preparing)),
        }
    }
    // All who could ask are gone.
    std::future::pending::<()>().await;
}

fn identity(arguments: &RunArguments, plan: &JobPlan, address: String) -> Identity {
    Identity {
        claimant: Claimant {
            revision: Revision(arguments.revision),
            pod: arguments.pod_name.clone().unwrap_or_else(own_name),
        },
        address: arguments.advertise.clone().unwrap_or(address),
        spec_digest: plan.digest.clone(),
        parallelism: plan.spec.parallelism,
        rescaled: None,
        lineage: format!("{}-{}", plan.id, env::unique_id()),
        stand_by: arguments.stand_by,
        patience: patience(plan),
        has_had: None,
        seen: NewestSeen::default(),
        job_uid: arguments.job_uid.clone(),
        deposed: 0,
    }
}

/// An older revision that hands the job over takes a last checkpoint, then waits for its sinks.
fn patience(plan: &JobPlan) -> Duration {
    plan.spec.checkpoint.timeout.0.min(LONGEST_LAST_CHECKPOINT) + Duration::from_millis(STOP_GRACE_MS)
}
