//! The coordinator's HTTP API: what a job says of itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobStatus {
    /// Name of the job.
    pub job: String,
    pub phase: Phase,
    /// The attempt that this process owns; none before it has claimed the job.
    pub attempt: Option<u64>,
    /// Identity of the record that starts the attempt, told from just before it is written: tells two owners of the same
    /// number apart.
    pub record_id: Option<String>,
    /// Version of the spec this process runs.
    pub revision: u64,
    /// Newest epoch this job owns a checkpoint of.
    pub last_checkpoint: Option<CheckpointStatus>,
    /// Newest epoch that every sink has published.
    pub committed_epoch: Option<u64>,
    /// Epochs owned and not yet published.
    pub pending_epochs: u64,
    /// Restarts since the process began.
    pub restarts: u64,
    /// The first cause of the last failure.
    pub failure: Option<String>,
    /// The sinks that publish from the write-ahead log.
    pub sinks: Vec<SinkStatus>,
    /// Seconds from the claim to the first record read, of the last start.
    pub recovery_seconds: Option<f64>,
    /// Where the checkpoints are.
    pub storage: String,
}

/// How a sink fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SinkStatus {
    pub name: String,
    /// Tries to publish that failed since the last one that did not.
    pub failures: u64,
    /// Why the last try failed; none while the sink takes what it is given.
    pub failure: Option<String>,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Claims the job in its log.
    Claiming,
    /// Publishes what was owned and not published, and loads state.
    Recovering,
    Running,
    /// Waits before the next try.
    Restarting,
    /// Takes its final checkpoint.
    Stopping,
    /// Stopped, to be gone on with later.
    Stopped,
    /// All bounded sources were read to their end, and all output is published.
    Finished,
    /// The restart strategy has given up.
    Failed,
}

/// One completed or failed checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointStatus {
    pub epoch: u64,
    /// Milliseconds since 1970, UTC.
    pub started_at_ms: u64,
    pub duration_ms: u64,
    /// Bytes uploaded for this checkpoint.
    pub bytes: u64,
    /// Rows that sinks publish for this epoch.
    pub rows: u64,
    /// Path of the manifest below the storage root; none when the checkpoint failed.
    pub manifest: Option<String>,
    /// Why it failed.
    pub failure: Option<String>,
}

/// `GET /v1/checkpoints`: the newest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointHistory {
    pub checkpoints: Vec<CheckpointStatus>,
}
