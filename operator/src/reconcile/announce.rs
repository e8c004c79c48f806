//! Events: what changed for a job, once each, for `kubectl describe`.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tidegate_crds::{ConditionType, JobPhase, OnCancellation, Reason, StreamJobResource, StreamJobStatus};

use super::{
    Context,
    plan::{Decision, Farewell},
};
use crate::build::MANAGER;

/// Characters of an event's note: the API allows a kilobyte.
const NOTE: usize = 1000;

/// Who the events are from.
pub fn reporter(pod_name: &str) -> Reporter {
    Reporter { controller: MANAGER.to_owned(), instance: Some(pod_name.to_owned()) }
}

/// What has changed from one status to the next.
fn changes(before: &StreamJobStatus, after: &StreamJobStatus) -> Vec<(EventType, String, String)> {
    let mut changes = Vec::new();
    let of = |status: &StreamJobStatus, kind: ConditionType| {
        let condition = status.conditions.iter().find(|condition| condition.type_ == kind.name);
        condition.map(|condition| (condition.status.clone(), condition.reason.clone(), condition.message.clone()))
    };
    if after.restarts > before.restarts {
        let cause = match &after.failure {
            Some(failure) if before.failure.as_ref() != Some(failure) => failure.message.as_str(),
            _ => "the process left no word: its pod was deleted or its node lost, or it was killed",
        };
        changes.push((
            EventType::Warning,
            "Restarted".to_owned(),
            format!("the job started again, attempt {}: {cause}", after.attempt.unwrap_or(0)),
        ));
    }
    if before.phase != after.phase
        && let Some(phase) = after.phase
    {
        let (kind, note) = match phase {
            JobPhase::Running => (EventType::Normal, format!("the job runs, revision {}", after.revision.unwrap_or(0))),
            JobPhase::Suspended => (EventType::Normal, format!("the job stands at {}", place(after))),
            JobPhase::Finished => (EventType::Normal, "everything is read and published".to_owned()),
            JobPhase::Failed => {
                let message = of(after, ConditionType::READY)
                    .map_or_else(String::new, |(_, reason, message)| format!("{reason}: {message}"));
                (EventType::Warning, message)
            }
            JobPhase::Upgrading => {
                (EventType::Normal, format!("revision {} starts beside the one that runs", after.revision.unwrap_or(0)))
            }
            JobPhase::UpgradeBlocked => {
                (EventType::Warning, "the changed spec can't run; the version before goes on".to_owned())
            }
            JobPhase::Pending => (EventType::Normal, "the job's pod is on its way".to_owned()),
            JobPhase::Starting => (EventType::Normal, "the job's process starts".to_owned()),
            JobPhase::Suspending => (EventType::Normal, "the job takes its last checkpoint".to_owned()),
            JobPhase::Terminating => (EventType::Normal, "the job is ended, since it is being deleted".to_owned()),
        };
        changes.push((kind, format!("{phase:?}"), note));
    }
    for (condition, bad, reason) in [
        (ConditionType::CHECKPOINT_HEALTHY, "False", Reason::CHECKPOINTS_FAILING.name),
        (ConditionType::SINK_HEALTHY, "False", Reason::SINK_FAILING.name),
        (ConditionType::UPGRADE_BLOCKED, "True", ConditionType::UPGRADE_BLOCKED.name),
    ] {
        let (was, is) = (of(before, condition), of(after, condition));
        if let Some((status, _, message)) = is
            && status == bad
            && was.is_none_or(|(was, _, _)| was != bad)
        {
            changes.push((EventType::Warning, reason.to_owned(), message));
        }
    }
    let (was, is) = (of(before, ConditionType::STALLED), of(after, ConditionType::STALLED));
    if let Some((status, reason, message)) = is
        && status == "True"
        && after.phase != Some(JobPhase::Failed)
        && was.is_none_or(|(status, was, _)| status != "True" || was != reason)
    {
        changes.push((EventType::Warning, ConditionType::STALLED.name.to_owned(), format!("{reason}: {message}")));
    }
    changes
}

/// Where the job stands, in words.
fn place(status: &StreamJobStatus) -> String {
    match (&status.last_checkpoint, &status.storage) {
        (Some(last), Some(storage)) => format!("epoch {} in {storage}", last.epoch),
        _ => "its beginning: it has no checkpoint".to_owned(),
    }
}

/// Tells what has changed.
pub async fn transitions(context: &Context, of: &ObjectReference, before: &StreamJobStatus, after: &StreamJobStatus) {
    for (kind, reason, note) in changes(before, after) {
        publish(context, of, kind, &reason, note).await;
    }
}

/// Tells where a deleted job has left its checkpoints.
pub async fn farewell(context: &Context, job: &StreamJobResource, status: &StreamJobStatus, decision: &Decision) {
    let Decision::LetGo(farewell) = decision else { return };
    let kept = match (&status.storage, job.spec.checkpoint.on_cancellation, farewell) {
        (None, ..) => "it never ran, and has no checkpoints".to_owned(),
        (Some(storage), OnCancellation::Delete, Farewell::EndedAndDeleted) => {
            format!("its checkpoints in {storage} are deleted; savepoints stay")
        }
        (Some(storage), OnCancellation::Delete, Farewell::Ended) => format!(
            "its checkpoints stay in {storage}, since not all output is published, or its savepoint is not there: a \
             StreamJob with `jobId: {}` goes on from there, and who wants none of it deletes the folder",
            status.job_id.as_deref().unwrap_or_default()
        ),
        (Some(storage), OnCancellation::Delete, _) => format!(
            "its checkpoints in {storage} could not be deleted, since only a running job can do that: delete the folder"
        ),
        (Some(storage), OnCancellation::Retain, _) => format!(
            "its checkpoints stay in {storage}; a StreamJob with `jobId: {}` goes on from there",
            status.job_id.as_deref().unwrap_or_default()
        ),
    };
    let (kind, how) = match farewell {
        Farewell::Ended | Farewell::EndedAndDeleted => (EventType::Normal, "the job has ended"),
        Farewell::NotRunning => (EventType::Normal, "the job did not run"),
        Farewell::Deadline => (EventType::Warning, "the job did not end within spec.deletionDeadline and is killed"),
    };
    publish(context, &job.object_ref(&()), kind, "Deleted", format!("{how}; {kept}")).await;
}

/// An event that can't be written (a namespace that is being deleted takes none) must not hold the job up.
///
/// Each has a recorder of its own: one that remembers counts events of the same reason under the words of the first.
pub async fn publish(context: &Context, of: &ObjectReference, kind: EventType, reason: &str, note: String) {
    let note = Some(note.chars().take(NOTE).collect::<String>()).filter(|note| !note.is_empty());
    let event = Event { type_: kind, reason: reason.to_owned(), note, action: "Reconcile".to_owned(), secondary: None };
    let recorder = Recorder::new(context.client.clone(), context.reporter.clone());
    if let Err(error) = recorder.publish(&event, of).await {
        tracing::warn!(%error, reason, "failed to write an event");
    }
}
