//! What the operator writes into a `StreamJob`'s status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Failure;

/// What a job is doing, seen from the cluster.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StreamJobStatus {
    /// Version of the spec (`metadata.generation`) that everything here is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<JobPhase>,
    /// `Ready`, `Reconciling`, `Stalled`, `CheckpointHealthy`, `SinkHealthy`, `UpgradeBlocked`.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Subtasks of each operator of the revision that runs.
    #[serde(default)]
    pub parallelism: u32,
    /// Label selector of the job's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Number of the spec that is rolled out: later ones are higher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The job's folder below its checkpoint storage: `spec.jobId` of a successor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// Where checkpoints are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
    /// Starts of the job over its whole life, for whatever reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u64>,
    /// The attempt that was asked for last: by a change of the spec, or by a resume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_attempt: Option<u64>,
    /// Starts of the job that nobody asked for, since the `StreamJob` was made.
    #[serde(default)]
    pub restarts: u64,
    /// What the last of these restarts came from, or what keeps the job from running: the first cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_checkpoint: Option<LastCheckpoint>,
    /// Newest epoch whose output every sink has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_epoch: Option<u64>,
    /// Epochs owned whose output waits for a sink.
    #[serde(default)]
    pub pending_epochs: u64,
    /// Records that are there and not read yet, over all sources that know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum JobPhase {
    /// Its pod is not there yet, or can't start.
    Pending,
    /// Its pod is there; the job is claimed and recovered.
    Starting,
    Running,
    /// A new version starts beside the one that runs.
    Upgrading,
    /// The changed spec can't run; the version before goes on.
    UpgradeBlocked,
    /// Takes its last checkpoint.
    Suspending,
    Suspended,
    /// Read everything, and published everything.
    Finished,
    /// Does not run, and will not until somebody changes something.
    Failed,
    /// Ends, because it is deleted.
    Terminating,
}

/// The newest checkpoint that the job owns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastCheckpoint {
    pub epoch: u64,
    pub completed_at: Time,
    /// From its barrier to its record in the log, in milliseconds.
    pub duration_ms: u64,
    /// Bytes uploaded for it.
    pub bytes: u64,
    /// Path of its manifest, below `storage`.
    pub location: String,
}
