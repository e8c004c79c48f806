//! What a reconcile knows when it decides: read once, before, and not looked at again.

use tidegate_crds::{
    OnDelete, RunState,
    api::{Failure, JobStatus, Phase},
};

use super::trouble::Trouble;

/// Everything that [`super::plan`] decides from.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Seconds since 1970.
    pub now: u64,
    pub has_finalizer: bool,
    /// Since when the `StreamJob` is being deleted.
    pub deleted_at: Option<u64>,
    /// Seconds that a deletion waits for the job.
    pub deletion_deadline: u64,
    pub on_delete: OnDelete,
    pub state: RunState,
    /// Why the spec can't be run, as far as that can be said without the runtime.
    pub refusal: Option<Refusal>,
    /// Digest of the version that the spec asks for.
    pub digest: String,
    /// What the Deployment is rolling out, if it is there.
    pub rollout: Option<Rollout>,
    /// An object is missing, or is not as it should be.
    pub drifted: bool,
    /// What nothing needs any more.
    pub orphans: Vec<Orphan>,
    /// Highest revision that the status has seen.
    pub known_revision: Option<u64>,
    /// The status says that this revision has read everything and published it.
    pub finished_revision: Option<u64>,
    pub pods: Vec<PodFact>,
    /// Why Kubernetes makes no pod.
    pub no_pods: Option<Trouble>,
    /// Pods of workers that do not run.
    pub workers: Vec<WorkerFact>,
    /// Why Kubernetes makes no pod of a worker.
    pub no_workers: Option<Trouble>,
}

/// A pod of a worker that does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerFact {
    pub name: String,
    pub revision: u64,
    pub trouble: Trouble,
}

/// Why nothing is changed for a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The spec contradicts itself.
    Spec(String),
    /// An object of the name that the job needs belongs to somebody else.
    NameTaken(String),
    /// Kubernetes does not accept an object of the job, such as a pod template with limits below its requests.
    Rejected(String),
}

/// An object of the job, by name, that no version needs any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Orphan {
    /// A version's that nothing runs.
    JobFile(String),
    /// A Deployment of a job that is one pod by now, and what goes with it.
    Workers(String),
    WorkersBudget(String),
    WorkersPolicy(String),
    /// The Service by which they found their coordinator.
    Coordinators(String),
}

/// What the Deployment asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    pub revision: u64,
    pub digest: String,
    pub replicas: i32,
}

/// One pod of the job.
#[derive(Debug, Clone, Default)]
pub struct PodFact {
    pub name: String,
    /// Its address, when it has one.
    pub ip: Option<String>,
    pub revision: u64,
    /// It is being deleted.
    pub terminating: bool,
    /// Its node does not answer, so nothing of it can be known or waited for.
    pub lost: bool,
    /// What keeps it from running.
    pub trouble: Option<Trouble>,
    /// The last word of its process, if that ended once.
    pub last_end: Option<Failure>,
    /// What its coordinator says.
    pub job: Option<JobStatus>,
}

impl PodFact {
    /// Its job has ended and will not go on by itself.
    pub fn has_ended(&self) -> bool {
        self.phase().is_some_and(|phase| matches!(phase, Phase::Stopped | Phase::Finished))
    }

    /// It answers, and its job has not ended: it can be asked to stop.
    pub fn can_be_stopped(&self) -> bool {
        self.phase().is_some() && !self.has_ended()
    }

    pub fn phase(&self) -> Option<Phase> {
        self.job.as_ref().map(|job| job.phase)
    }

    /// It has the job: recovers it, runs it or ends it.
    pub fn owns(&self) -> bool {
        self.job.as_ref().is_some_and(|job| {
            job.attempt.is_some() && !matches!(job.phase, Phase::Preparing | Phase::Claiming | Phase::Failed)
        })
    }
}

impl Facts {
    /// The pod that has the job, or had it last.
    pub fn owner(&self) -> Option<&PodFact> {
        let by_attempt = |pod: &&PodFact| pod.job.as_ref().and_then(|job| job.attempt);
        let owners = || self.pods.iter().filter(|pod| pod.owns());
        owners().filter(|pod| !pod.has_ended()).max_by_key(by_attempt).or_else(|| owners().max_by_key(by_attempt))
    }

    /// Pods that may still do something.
    pub fn living(&self) -> impl Iterator<Item = &PodFact> {
        self.pods.iter().filter(|pod| !pod.lost)
    }
}
