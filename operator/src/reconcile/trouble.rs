//! What keeps a pod from running, read from its status, in words that a user can act on.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ContainerState, ContainerStatus, Pod},
};
use tidegate_crds::{
    Reason,
    api::{Failure, FailureReason},
};

/// Why a pod does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub reason: Reason,
    pub message: String,
    /// It ends by itself, or can: nobody has to change the job.
    pub may_pass: bool,
}

/// The reason of a condition that tells of this failure.
pub fn reason_of(failure: FailureReason) -> Reason {
    match failure {
        FailureReason::DocumentInvalid => Reason::DOCUMENT_INVALID,
        FailureReason::SecretMissing => Reason::SECRET_MISSING,
        FailureReason::StorageUnreachable => Reason::STORAGE_UNREACHABLE,
        FailureReason::StorageUnfit => Reason::STORAGE_UNFIT,
        FailureReason::SourceUnreachable => Reason::SOURCE_UNREACHABLE,
        FailureReason::SourceUnfit => Reason::SOURCE_UNFIT,
        FailureReason::SinkUnreachable => Reason::SINK_UNREACHABLE,
        FailureReason::SinkUnfit => Reason::SINK_UNFIT,
        FailureReason::StateUnfit => Reason::STATE_UNFIT,
        FailureReason::OwnedElsewhere => Reason::OWNED_ELSEWHERE,
        FailureReason::Superseded => Reason::SUPERSEDED,
        FailureReason::SlotsMissing => Reason::SLOTS_MISSING,
        FailureReason::WorkerLost => Reason::WORKER_LOST,
        FailureReason::LocalDiskFailed => Reason::LOCAL_DISK_FAILED,
        FailureReason::TaskFailed => Reason::TASK_FAILED,
        FailureReason::RestartsExhausted => Reason::RESTARTS_EXHAUSTED,
    }
}

/// What the pod's status says is wrong, if anything.
pub fn of(pod: &Pod) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    let found = |reason: Reason, message: String, may_pass: bool| Some(Trouble { reason, message, may_pass });
    if status.reason.as_deref() == Some("NodeLost") || is_lost(pod) {
        return found(Reason::NODE_LOST, "the pod's node does not answer".to_owned(), true);
    }
    if status.phase.as_deref() == Some("Failed") {
        let said = [status.reason.as_deref(), status.message.as_deref()].into_iter().flatten().collect::<Vec<_>>();
        return found(Reason::CRASHED, format!("the pod was ended: {}", said.join(": ")), true);
    }
    let unscheduled = status.conditions.iter().flatten().find(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
    });
    if let Some(condition) = unscheduled {
        let message = condition.message.clone().unwrap_or_else(|| "no node takes the pod".to_owned());
        return found(Reason::UNSCHEDULABLE, message, true);
    }
    status.container_statuses.iter().flatten().find_map(of_container)
}

/// Why Kubernetes makes no pod of a Deployment: a quota, an admission policy, a missing account.
pub fn of_deployment(deployment: &Deployment) -> Option<Trouble> {
    let conditions = deployment.status.as_ref()?.conditions.iter().flatten();
    let failed =
        conditions.into_iter().find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")?;
    let message = failed.message.clone().unwrap_or_else(|| "Kubernetes does not accept the pod".to_owned());
    Some(Trouble { reason: Reason::POD_REFUSED, message, may_pass: true })
}

/// Of a pod whose API Kubernetes reaches, and the operator does not.
pub fn unresponsive() -> Trouble {
    let message = "the pod is ready, and its API does not answer the operator".to_owned();
    Trouble { reason: Reason::UNRESPONSIVE, message, may_pass: true }
}

/// Whether Kubernetes finds the pod ready.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether the pod was given up with its node: only the node could end it, and nobody hears of that.
pub fn is_lost(pod: &Pod) -> bool {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| {
        condition.type_ == "DisruptionTarget" && condition.reason.as_deref() == Some("DeletionByTaintManager")
    })
}

fn of_container(container: &ContainerStatus) -> Option<Trouble> {
    let state = container.state.as_ref()?;
    let Some(waiting) = &state.waiting else {
        // Between two tries it is what ended the last one, until the job is there again.
        let last = if state.terminated.is_some() { Some(state) } else { container.last_state.as_ref() };
        return if container.ready { None } else { crash(last) };
    };
    let said = waiting.message.clone().unwrap_or_default();
    let found = |reason: Reason, message: String, may_pass: bool| Some(Trouble { reason, message, may_pass });
    match waiting.reason.as_deref()? {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" | "ImageInspectError" => {
            found(Reason::IMAGE_ERROR, format!("image `{}`: {said}", container.image), true)
        }
        "CreateContainerConfigError" => found(Reason::SECRET_MISSING, said, true),
        "CreateContainerError" | "RunContainerError" => found(Reason::CRASHED, said, true),
        "CrashLoopBackOff" => crash(container.last_state.as_ref()),
        _ => None,
    }
}

/// How the pod's process ended the last time it did, in its own words where it had any.
pub fn last_end(pod: &Pod) -> Option<Failure> {
    let container = pod.status.as_ref()?.container_statuses.iter().flatten().next()?;
    let ends_now = container.state.as_ref().is_some_and(|state| state.terminated.is_some());
    let state = if ends_now { container.state.as_ref() } else { container.last_state.as_ref() };
    let said = state?.terminated.as_ref()?.message.clone().unwrap_or_default();
    let told = serde_json::from_str(&said).ok();
    told.or_else(|| Some(Failure { reason: FailureReason::TaskFailed, message: crash(state)?.message }))
}

fn crash(state: Option<&ContainerState>) -> Option<Trouble> {
    let ended = state?.terminated.as_ref()?;
    let said = ended.message.clone().unwrap_or_default();
    if let Ok(Failure { reason, message }) = serde_json::from_str(&said) {
        return Some(Trouble { reason: reason_of(reason), message, may_pass: reason.may_pass() });
    }
    let found = |reason: Reason, message: String| Some(Trouble { reason, message, may_pass: true });
    match ended.reason.as_deref() {
        Some("OOMKilled") => found(Reason::OUT_OF_MEMORY, "the process used more memory than its limit".to_owned()),
        _ if ended.exit_code == 0 => None,
        _ => {
            let message = match ended.exit_code {
                // What was logged before has nothing to do with it.
                code @ 129..=192 => format!("the process ended with signal {}", code - 128),
                code => {
                    let last_line = said.lines().last().map_or_else(String::new, |line| format!(": {line}"));
                    format!("the process ended with exit code {code}{last_line}")
                }
            };
            found(Reason::CRASHED, message)
        }
    }
}

#[cfg(test)]
mod tests;
