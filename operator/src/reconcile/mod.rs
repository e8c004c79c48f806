//! One reconcile: look at everything, decide, do one step, and say so.
//!
//! ```text
//! observe (all reads) -> plan (pure) -> apply (all writes) -> status (pure, written when it is news)
//! ```
//!
//! Nothing is remembered from one reconcile to the next: an operator that is killed anywhere is followed by one that looks
//! at what is there and goes on. What may be lost (the status, the Deployment) can be made again, since the job's truth is
//! its checkpoint log, which the runtime keeps.

mod announce;
mod apply;
mod drift;
mod facts;
mod observe;
mod plan;
mod status;
mod trouble;
mod unreadable;

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
    runtime::{controller::Action, events::Reporter},
};
use serde_json::json;
use thiserror::Error;
use tidegate_crds::{JobPhase, StreamJobResource, StreamJobStatus};

pub use announce::reporter;
pub use apply::ApplyError;
use apply::Hands;
use facts::Facts;
pub use observe::Stores;
use plan::Decision;
use status::Identity;

use crate::{
    build::{self, Defaults, Version},
    clock,
    coordinator_client::Coordinators,
    metrics::Metrics,
};

/// While something is under way.
const SOON: Duration = Duration::from_secs(1);
/// While nothing is expected: in case a watch has missed something.
const FALLBACK: Duration = Duration::from_mins(5);

/// What every reconcile needs.
pub struct Context {
    pub client: Client,
    pub stores: Stores,
    pub coordinators: Arc<dyn Coordinators>,
    /// Who events are from.
    pub reporter: Reporter,
    pub metrics: Metrics,
    pub defaults: Defaults,
    /// How often a running job is asked.
    pub poll_interval: Duration,
    /// How old the progress in the status may be, in seconds.
    pub status_interval: u64,
}

#[derive(Debug, Error)]
pub enum ReconcileError {
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("failed to write the status")]
    Status(#[source] Box<kube::Error>),
    #[error("failed to write the job file as JSON")]
    Json(#[from] serde_json::Error),
}

impl ReconcileError {
    /// A short name for the metric of errors.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Apply(error) => error.reason(),
            Self::Status(_) => "status",
            Self::Json(_) => "json",
        }
    }

    /// Somebody was quicker: look again and decide anew, without a word.
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Status(error) => matches!(error.as_ref(), kube::Error::Api(status) if status.code == 409),
            other => other.reason() == "conflict",
        }
    }
}

/// A `StreamJob` as it is watched: one that can't be read must not stop the rest.
pub type Watched = DeserializeGuard<StreamJobResource>;

/// Brings one job a step further.
pub async fn reconcile(job: Arc<Watched>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let step = async {
        match &job.0 {
            Ok(job) => Box::pin(step(job, &context)).await,
            Err(invalid) => Box::pin(unreadable::step(invalid, &context)).await,
        }
    };
    let (result, elapsed) = clock::timed(step).await;
    context.metrics.reconciled(elapsed);
    result
}

async fn step(job: &StreamJobResource, context: &Context) -> Result<Action, ReconcileError> {
    // An operator that has just started must not take what it has not seen for missing.
    if !context.stores.are_ready().await {
        return Ok(Action::requeue(SOON));
    }
    let live = context.stores.of(job);
    let version = Version::of(job, live.restarted_at(), &context.defaults)?;
    let Some(version) = version else { return Ok(Action::requeue(SOON)) };
    let wanted = version.objects(live.revision().unwrap_or(0), 1);
    let facts =
        observe::observe(job, &live, &version.digest, &wanted, context.coordinators.as_ref(), clock::now()).await;
    let decision = plan::plan(&facts);
    if !matches!(decision, Decision::Rest | Decision::Wait) {
        tracing::info!(job = job.name_any(), namespace = job.namespace(), ?decision, "step");
    }
    let objects = match &decision {
        Decision::Apply { revision, replicas } => Some(version.objects(*revision, *replicas)),
        _ => None,
    };
    let before = job.status.clone().unwrap_or_default();
    let status = |decision: &Decision| status::derive(&before, &identity(job), &facts, decision);
    // A farewell is told before the StreamJob is gone.
    if matches!(decision, Decision::LetGo(_)) {
        announce::farewell(context, job, &status(&decision), &decision).await;
    }
    let hands = Hands { client: &context.client, coordinators: context.coordinators.as_ref(), job };
    let decision = match Box::pin(hands.carry_out(&decision, &facts, &live, objects)).await {
        Ok(()) => decision,
        Err(error) => Decision::Refuse(error.refusal()?),
    };
    if !facts.has_finalizer || matches!(decision, Decision::LetGo(_)) {
        return Ok(again(&facts, &decision, None, context.poll_interval));
    }
    let status = status(&decision);
    let phase = status.phase;
    report(job, context, &before, status).await?;
    Ok(again(&facts, &decision, phase, context.poll_interval))
}

fn identity(job: &StreamJobResource) -> Identity {
    let selector = build::selector(job);
    let selector: Vec<String> = selector.into_iter().map(|(label, value)| format!("{label}={value}")).collect();
    Identity {
        generation: job.metadata.generation,
        job_id: build::document(job).id(),
        selector: selector.join(","),
        parallelism: job.spec.parallelism,
    }
}

/// Writes the status and tells what has changed, if it is news.
async fn report(
    job: &StreamJobResource,
    context: &Context,
    before: &StreamJobStatus,
    status: StreamJobStatus,
) -> Result<(), ReconcileError> {
    if !status::is_news(before, &status, context.status_interval) {
        return Ok(());
    }
    let of = ObjectReference { resource_version: job.resource_version(), ..job.object_ref(&()) };
    write_status(context, &of, before, status).await
}

/// `of` has the version of the object that the status was derived from.
async fn write_status(
    context: &Context,
    of: &ObjectReference,
    before: &StreamJobStatus,
    status: StreamJobStatus,
) -> Result<(), ReconcileError> {
    let namespace = of.namespace.clone().unwrap_or_default();
    let api: Api<Watched> = Api::namespaced(context.client.clone(), &namespace);
    // With the version it was derived from: what another has written since is not overwritten.
    let patch = json!({
        "apiVersion": StreamJobResource::api_version(&()),
        "kind": StreamJobResource::kind(&()),
        "metadata": { "resourceVersion": of.resource_version },
        "status": status,
    });
    let parameters = PatchParams::apply(build::MANAGER).force();
    match api.patch_status(of.name.as_deref().unwrap_or_default(), &parameters, &Patch::Apply(patch)).await {
        Ok(_) => {
            announce::transitions(context, of, before, &status).await;
            Ok(())
        }
        // Deleted meanwhile.
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(()),
        Err(error) => Err(ReconcileError::Status(Box::new(error))),
    }
}

/// When to look again, if no watch says so before.
fn again(facts: &Facts, decision: &Decision, phase: Option<JobPhase>, poll: Duration) -> Action {
    match (decision, phase) {
        (Decision::LetGo(_), _) => Action::await_change(),
        (Decision::Rest, Some(JobPhase::Suspended | JobPhase::Finished)) => Action::requeue(FALLBACK),
        (Decision::Rest, None) if facts.deleted_at.is_some() => Action::await_change(),
        (Decision::Refuse(_), _) | (Decision::Rest, Some(JobPhase::Running | JobPhase::Failed)) => {
            Action::requeue(poll)
        }
        _ => Action::requeue(SOON),
    }
}

#[cfg(test)]
mod tests;
