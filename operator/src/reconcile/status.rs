//! The status that follows from the facts and the decision: pure.
//!
//! Conditions say three things to three readers: a script that waits (`Ready`), an alert (`Stalled`, `CheckpointHealthy`,
//! `SinkHealthy`, `UpgradeBlocked`), and a person who wants to know whether to be patient (`Reconciling`).

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use tidegate_crds::{
    ConditionType, JobPhase, LastCheckpoint, Reason, RunState, StreamJobStatus,
    api::{JobStatus, Phase},
};

use super::{
    facts::{Facts, PodFact, Refusal},
    plan::{Decision, Farewell},
    trouble::{Trouble, reason_of},
};

/// What the status says of the job itself, whatever the facts.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    pub generation: Option<i64>,
    pub job_id: String,
    pub selector: String,
    /// Of the spec.
    pub parallelism: u32,
}

/// What a condition says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    is: Option<bool>,
    reason: Reason,
    message: String,
}

impl Verdict {
    fn new(is: bool, reason: Reason, message: impl Into<String>) -> Self {
        Self { is: Some(is), reason, message: message.into() }
    }

    fn unknown() -> Self {
        Self { is: None, reason: Reason::UNKNOWN, message: "the job does not run".to_owned() }
    }
}

/// The new status.
pub fn derive(before: &StreamJobStatus, identity: &Identity, facts: &Facts, decision: &Decision) -> StreamJobStatus {
    let owner = facts.owner();
    let job = owner.and_then(|pod| pod.job.as_ref());
    let revision = match decision {
        Decision::Apply { revision, .. } => Some(*revision),
        _ => facts.rollout.as_ref().map(|rollout| rollout.revision),
    };
    let trouble = trouble(facts, revision);
    let phase = phase(before, facts, decision, trouble.as_ref(), revision);
    let mut status = StreamJobStatus {
        observed_generation: identity.generation,
        phase: Some(phase),
        job_id: Some(identity.job_id.clone()),
        selector: Some(identity.selector.clone()),
        revision: revision.max(before.revision),
        ..before.clone()
    };
    // A change, or a resume, asks for the attempt after the newest.
    let paused = |phase| matches!(phase, Some(JobPhase::Suspended | JobPhase::Suspending | JobPhase::Finished));
    if status.revision > before.revision || (paused(before.phase) && !paused(status.phase)) {
        status.planned_attempt = before.attempt.map(|attempt| attempt + 1);
    }
    status.parallelism = if phase == JobPhase::Suspended { 0 } else { identity.parallelism };
    if let Some(job) = job {
        report(&mut status, job);
    }
    count_restarts(&mut status, before, facts, job);
    let ready = ready(facts, decision, phase, trouble.as_ref());
    let stalled = stalled(&ready, trouble.as_ref(), decision, phase);
    let reconciling = reconciling(phase, &stalled);
    let blocked = blocked(trouble.as_ref(), phase);
    let (checkpoints, sinks) = health(job, phase);
    let verdicts = [
        (ConditionType::READY, ready),
        (ConditionType::RECONCILING, reconciling),
        (ConditionType::STALLED, stalled),
        (ConditionType::CHECKPOINT_HEALTHY, checkpoints),
        (ConditionType::SINK_HEALTHY, sinks),
        (ConditionType::UPGRADE_BLOCKED, blocked),
    ];
    status.conditions =
        verdicts.into_iter().map(|(kind, verdict)| condition(kind, verdict, before, identity, facts.now)).collect();
    status
}

/// The new status of a `StreamJob` that can't be read; whatever runs goes on.
pub fn unreadable(before: &StreamJobStatus, generation: Option<i64>, error: &str, now: u64) -> StreamJobStatus {
    let identity = Identity { generation, ..Identity::default() };
    let verdict = |is| Verdict::new(is, Reason::SPEC_INVALID, error);
    let told = [(ConditionType::READY, verdict(false)), (ConditionType::STALLED, verdict(true))];
    let told = told.map(|(kind, verdict)| condition(kind, verdict, before, &identity, now));
    let mut status = before.clone();
    status.observed_generation = generation;
    status.phase = before.phase.or(Some(JobPhase::Failed));
    status.conditions.retain(|old| told.iter().all(|new| new.type_ != old.type_));
    status.conditions.extend(told);
    status
}

/// What the pods of the version that is wanted suffer from.
fn trouble(facts: &Facts, revision: Option<u64>) -> Option<Trouble> {
    let mut wanted = facts.pods.iter().filter(|pod| Some(pod.revision) == revision && !pod.terminating);
    let of_pods = wanted.find_map(|pod| waits_for(pod).or_else(|| pod.trouble.clone()));
    let found = of_pods.or_else(|| facts.no_pods.clone())?;
    // What is missing is told by the coordinator, and why by the pods.
    let of_workers = (found.reason == Reason::SLOTS_MISSING).then(|| trouble_of_workers(facts, revision)).flatten();
    Some(of_workers.map_or(found.clone(), |(who, cause)| Trouble {
        message: format!("{}, because {who} does not run: {}", found.message, cause.message),
        ..cause
    }))
}

/// Why a worker of the version that is wanted does not run, and which.
fn trouble_of_workers(facts: &Facts, revision: Option<u64>) -> Option<(String, Trouble)> {
    let worker = facts.workers.iter().find(|worker| Some(worker.revision) == revision);
    let of_pod = worker.map(|worker| (format!("worker `{}`", worker.name), worker.trouble.clone()));
    of_pod.or_else(|| Some(("the next worker".to_owned(), facts.no_workers.clone()?)))
}

/// What a pod that answers can't start for.
fn waits_for(pod: &PodFact) -> Option<Trouble> {
    let job = pod.job.as_ref()?;
    let failure =
        job.failure.as_ref().filter(|_| matches!(job.phase, Phase::Preparing | Phase::Restarting | Phase::Failed))?;
    Some(Trouble {
        reason: reason_of(failure.reason),
        message: failure.message.clone(),
        may_pass: failure.reason.may_pass(),
    })
}

fn phase(
    before: &StreamJobStatus,
    facts: &Facts,
    decision: &Decision,
    trouble: Option<&Trouble>,
    revision: Option<u64>,
) -> JobPhase {
    let owner = facts.owner();
    let owner_phase = owner.and_then(PodFact::phase);
    if facts.deleted_at.is_some() {
        return JobPhase::Terminating;
    }
    let at_zero = facts.rollout.as_ref().is_none_or(|rollout| rollout.replicas == 0);
    let gone = facts.living().next().is_none();
    if facts.state == RunState::Suspended {
        return if at_zero && gone { JobPhase::Suspended } else { JobPhase::Suspending };
    }
    if owner_phase == Some(Phase::Finished) && owner.map(|pod| pod.revision) == revision {
        return JobPhase::Finished;
    }
    if at_zero && *decision == Decision::Rest && before.phase == Some(JobPhase::Finished) {
        return JobPhase::Finished;
    }
    let runs = matches!(owner_phase, Some(Phase::Running | Phase::Stopping));
    let unheard = trouble.is_some_and(|trouble| trouble.reason == Reason::UNRESPONSIVE);
    match owner {
        None if unheard && before.phase == Some(JobPhase::Running) => JobPhase::Running,
        Some(pod) if runs && Some(pod.revision) == revision => JobPhase::Running,
        Some(_) if runs && matches!(decision, Decision::Refuse(_)) => JobPhase::Running,
        Some(pod) if Some(pod.revision) < revision && trouble.is_some_and(|trouble| !trouble.may_pass) => {
            JobPhase::UpgradeBlocked
        }
        Some(pod) if Some(pod.revision) < revision => JobPhase::Upgrading,
        _ if matches!(decision, Decision::Refuse(_)) => JobPhase::Failed,
        _ if trouble.is_some_and(|trouble| !trouble.may_pass) => JobPhase::Failed,
        _ if facts.living().any(|pod| pod.job.is_some()) => JobPhase::Starting,
        _ => JobPhase::Pending,
    }
}

/// What the job says of itself.
fn report(status: &mut StreamJobStatus, job: &JobStatus) {
    status.storage = Some(job.storage.clone());
    status.attempt = job.attempt.max(status.attempt);
    status.committed_epoch = job.committed_epoch.max(status.committed_epoch);
    status.pending_epochs = job.pending_epochs;
    status.lag = (!job.sources.is_empty()).then(|| job.sources.iter().map(|source| source.lag).sum());
    let newer = |epoch: u64| status.last_checkpoint.as_ref().is_none_or(|last| last.epoch < epoch);
    if let Some(checkpoint) = job.last_checkpoint.as_ref().filter(|checkpoint| newer(checkpoint.epoch)) {
        let completed_ms = checkpoint.started_at_ms + checkpoint.duration_ms;
        status.last_checkpoint = Some(LastCheckpoint {
            epoch: checkpoint.epoch,
            completed_at: time(completed_ms / 1000),
            duration_ms: checkpoint.duration_ms,
            bytes: checkpoint.bytes,
            location: checkpoint.manifest.clone().unwrap_or_default(),
        });
    }
}

/// Attempts are numbered in the log, so that none is missed between two looks. One of them may have been asked for.
fn count_restarts(status: &mut StreamJobStatus, before: &StreamJobStatus, facts: &Facts, job: Option<&JobStatus>) {
    let (Some(now), Some(then)) = (status.attempt, before.attempt) else { return };
    let planned = status.planned_attempt.is_some_and(|planned| then < planned && planned <= now);
    let restarts = (now - then.min(now)).saturating_sub(u64::from(planned));
    if restarts > 0 {
        status.restarts += restarts;
        let told = job.and_then(|job| job.failure.clone());
        status.failure =
            told.or_else(|| facts.pods.iter().find_map(|pod| pod.last_end.clone())).or_else(|| before.failure.clone());
    }
}

fn ready(facts: &Facts, decision: &Decision, phase: JobPhase, trouble: Option<&Trouble>) -> Verdict {
    if let Decision::Refuse(refusal) = decision {
        return match refusal {
            Refusal::Spec(problems) => Verdict::new(false, Reason::SPEC_INVALID, problems),
            Refusal::NameTaken(message) => Verdict::new(false, Reason::NAME_TAKEN, message),
            Refusal::Rejected(message) => Verdict::new(false, Reason::POD_REFUSED, message),
        };
    }
    let told = |otherwise: &str| match trouble {
        Some(trouble) => Verdict::new(false, trouble.reason, &trouble.message),
        None => Verdict::new(false, Reason::PROGRESSING, otherwise),
    };
    match phase {
        JobPhase::Running => match trouble.filter(|trouble| trouble.reason == Reason::UNRESPONSIVE) {
            Some(trouble) => Verdict { is: None, reason: trouble.reason, message: trouble.message.clone() },
            None => Verdict::new(true, Reason::RUNNING, "the job runs"),
        },
        JobPhase::Suspended => Verdict::new(
            false,
            Reason::SUSPENDED,
            "the job stands at its newest checkpoint; set `state: Running` to go on",
        ),
        JobPhase::Suspending => Verdict::new(false, Reason::PROGRESSING, "the job takes its last checkpoint"),
        JobPhase::Finished => Verdict::new(false, Reason::FINISHED, "everything is read and published"),
        JobPhase::Terminating => Verdict::new(false, Reason::TERMINATING, farewell(decision)),
        JobPhase::Upgrading | JobPhase::UpgradeBlocked => told("the new version starts beside the one that runs"),
        JobPhase::Starting => told(starting(facts)),
        JobPhase::Pending | JobPhase::Failed => told("the job's pod is on its way"),
    }
}

fn starting(facts: &Facts) -> &'static str {
    match facts.living().find_map(PodFact::phase) {
        Some(Phase::Preparing) => "asks the systems that the job needs",
        Some(Phase::Claiming) => "claims the job, or waits for the process that owned it",
        Some(Phase::Recovering) => "publishes what was owned, and loads state",
        Some(Phase::Restarting) => "waits before the next try",
        _ => "the job's process starts",
    }
}

fn farewell(decision: &Decision) -> &'static str {
    match decision {
        Decision::LetGo(Farewell::Ended | Farewell::EndedAndDeleted) => "the job has ended",
        Decision::LetGo(Farewell::NotRunning) => "the job did not run",
        Decision::LetGo(Farewell::Deadline) => "the job did not end within spec.deletionDeadline, and is killed",
        _ => "the job takes its last checkpoint",
    }
}

fn stalled(ready: &Verdict, trouble: Option<&Trouble>, decision: &Decision, phase: JobPhase) -> Verdict {
    let needs_somebody = matches!(decision, Decision::Refuse(_))
        || trouble.is_some_and(|trouble| !trouble.may_pass)
        || is_stuck(trouble);
    if needs_somebody && phase != JobPhase::Terminating {
        Verdict::new(true, ready.reason, ready.message.clone())
    } else {
        Verdict::new(false, Reason::HEALTHY, "")
    }
}

/// What Kubernetes tries again for ever, and that as good as never ends without a person.
fn is_stuck(trouble: Option<&Trouble>) -> bool {
    let stuck = [Reason::IMAGE_ERROR, Reason::UNSCHEDULABLE, Reason::SECRET_MISSING, Reason::POD_REFUSED];
    trouble.is_some_and(|trouble| stuck.contains(&trouble.reason))
}

fn reconciling(phase: JobPhase, stalled: &Verdict) -> Verdict {
    let under_way = matches!(
        phase,
        JobPhase::Pending | JobPhase::Starting | JobPhase::Upgrading | JobPhase::Suspending | JobPhase::Terminating
    );
    if under_way && stalled.is != Some(true) {
        Verdict::new(true, Reason::PROGRESSING, "")
    } else {
        Verdict::new(false, Reason::SETTLED, "")
    }
}

fn blocked(trouble: Option<&Trouble>, phase: JobPhase) -> Verdict {
    match trouble.filter(|_| phase == JobPhase::UpgradeBlocked) {
        Some(trouble) => {
            let message = format!("{}: {}", trouble.reason.name, trouble.message);
            Verdict::new(true, Reason::NEW_REVISION_REFUSED, message)
        }
        None => Verdict::new(false, Reason::HEALTHY, ""),
    }
}

fn health(job: Option<&JobStatus>, phase: JobPhase) -> (Verdict, Verdict) {
    use JobPhase::{Running, Suspending, UpgradeBlocked, Upgrading};
    let Some(job) = job.filter(|_| matches!(phase, Running | Upgrading | UpgradeBlocked | Suspending)) else {
        return (Verdict::unknown(), Verdict::unknown());
    };
    let checkpoints = match &job.checkpoint_failure {
        Some(cause) => Verdict::new(false, Reason::CHECKPOINTS_FAILING, cause),
        None => Verdict::new(true, Reason::HEALTHY, ""),
    };
    let failing = job.sinks.iter().filter_map(|sink| Some(format!("sink `{}`: {}", sink.name, sink.failure.as_ref()?)));
    let failing: Vec<String> = failing.collect();
    let sinks = if failing.is_empty() {
        Verdict::new(true, Reason::HEALTHY, "")
    } else {
        Verdict::new(false, Reason::SINK_FAILING, failing.join("; "))
    };
    (checkpoints, sinks)
}

/// The time of a transition is kept while the condition stays as it is.
fn condition(
    kind: ConditionType,
    verdict: Verdict,
    before: &StreamJobStatus,
    identity: &Identity,
    now: u64,
) -> Condition {
    let status = match verdict.is {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let last = before.conditions.iter().find(|condition| condition.type_ == kind.name);
    let since = last.filter(|last| last.status == status).map(|last| last.last_transition_time.clone());
    Condition {
        type_: kind.name.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.name.to_owned(),
        message: verdict.message.chars().take(MESSAGE).collect(),
        observed_generation: identity.generation,
        last_transition_time: since.unwrap_or_else(|| time(now)),
    }
}

/// Characters of a condition's message: the definition allows no more.
const MESSAGE: usize = 1024;

fn time(seconds: u64) -> Time {
    Time(Timestamp::from_second(seconds as i64).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Whether the new status is worth a write: progress alone is not, until it is `interval` seconds old. What a job has come
/// to that ends or changes is written at once, since nobody can ask it later.
pub fn is_news(before: &StreamJobStatus, after: &StreamJobStatus, interval: u64) -> bool {
    if before == after {
        return false;
    }
    let without_progress = |status: &StreamJobStatus| StreamJobStatus {
        last_checkpoint: None,
        committed_epoch: None,
        pending_epochs: 0,
        lag: None,
        ..status.clone()
    };
    let runs_on = before.phase == Some(JobPhase::Running);
    if !runs_on || without_progress(before) != without_progress(after) {
        return true;
    }
    let at = |status: &StreamJobStatus| status.last_checkpoint.as_ref().map(|last| last.completed_at.0.as_second());
    match (at(before), at(after)) {
        (Some(before), Some(after)) => after - before >= interval as i64,
        (before, after) => before != after,
    }
}

#[cfg(test)]
mod tests;
