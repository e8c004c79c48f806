//! The coordinator's HTTP API: what a job says of itself, and what it can be asked for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Port of the API in a pod.
pub const PORT: u16 = 8081;
/// Port of a coordinator's pod that workers join at.
pub const WORKERS_PORT: u16 = 8082;
/// Port of a worker's pod that other workers send rows to.
pub const EXCHANGE_PORT: u16 = 8083;

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
    /// How many subtasks each operator has: the spec's, or what `POST /v1/rescale` set since.
    #[serde(default)]
    pub parallelism: u32,
    /// Newest epoch this job owns a checkpoint of.
    pub last_checkpoint: Option<CheckpointStatus>,
    /// Why the newest try to take a checkpoint failed; none when it went well.
    pub checkpoint_failure: Option<String>,
    /// The savepoint that was asked for last, of this process.
    #[serde(default)]
    pub last_savepoint: Option<SavepointStatus>,
    /// Newest epoch that every sink has published.
    pub committed_epoch: Option<u64>,
    /// Epochs owned and not yet published.
    pub pending_epochs: u64,
    /// Checkpoints that have begun, and are neither complete nor given up.
    #[serde(default)]
    pub checkpoints_under_way: u64,
    /// Restarts since the process began.
    pub restarts: u64,
    /// Those of them in which some tasks restarted, and the others went on.
    #[serde(default)]
    pub region_restarts: u64,
    /// The first cause of the last failure; while the job can't start, what it waits for.
    pub failure: Option<Failure>,
    /// How many times in a row that failure has come at the same place.
    #[serde(default)]
    pub failures_in_row: u32,
    /// The workers that are there, by name; that of this process too.
    #[serde(default)]
    pub workers: Vec<WorkerStatus>,
    /// The sources that know how far they are behind.
    pub sources: Vec<SourceStatus>,
    /// The sinks that publish from the write-ahead log.
    pub sinks: Vec<SinkStatus>,
    /// Seconds from the claim to the first record read, of the last start.
    pub recovery_seconds: Option<f64>,
    /// The checkpoint that the last start, or restart of some tasks, went on from, and where its state was; none if there was
    /// no checkpoint.
    #[serde(default)]
    pub last_restore: Option<RestoreStatus>,
    /// Where the checkpoints are.
    pub storage: String,
    /// They are deleted, as `onCancellation: Delete` says: the job was cancelled, and all its output was published.
    #[serde(default)]
    pub is_deleted: bool,
}

impl JobStatus {
    /// Of a process that has just begun.
    pub fn new(job: impl Into<String>, revision: u64, parallelism: u32, storage: impl Into<String>) -> Self {
        Self {
            job: job.into(),
            phase: Phase::Preparing,
            attempt: None,
            record_id: None,
            revision,
            parallelism,
            last_checkpoint: None,
            checkpoint_failure: None,
            last_savepoint: None,
            committed_epoch: None,
            pending_epochs: 0,
            checkpoints_under_way: 0,
            restarts: 0,
            region_restarts: 0,
            failure: None,
            failures_in_row: 0,
            workers: Vec::new(),
            sources: Vec::new(),
            sinks: Vec::new(),
            recovery_seconds: None,
            last_restore: None,
            storage: storage.into(),
            is_deleted: false,
        }
    }
}

/// What a start went on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreStatus {
    /// Of the checkpoint.
    pub epoch: u64,
    #[serde(flatten)]
    pub bytes: RestoredBytes,
}

/// Where the state of a start was. Bytes of the files that it is in, over all workers; of a file that several need, as
/// often as one had it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoredBytes {
    /// Rows that a worker still had in memory.
    pub local_memory_bytes: u64,
    /// Files that a worker still had on its local disk.
    pub local_disk_bytes: u64,
    /// Fetched from the checkpoint storage.
    pub remote_bytes: u64,
}

impl std::iter::Sum for RestoredBytes {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            local_memory_bytes: sum.local_memory_bytes + one.local_memory_bytes,
            local_disk_bytes: sum.local_disk_bytes + one.local_disk_bytes,
            remote_bytes: sum.remote_bytes + one.remote_bytes,
        })
    }
}

/// Why a job does not run: also what a process writes as its last word (`--termination-log`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    pub reason: FailureReason,
    /// What was found, where, and what is accepted.
    pub message: String,
}

/// What kind of thing has to change before the job can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum FailureReason {
    /// The document, or its SQL, is wrong.
    DocumentInvalid,
    /// A secret that the document names is not in the environment.
    SecretMissing,
    /// The checkpoint storage does not answer.
    StorageUnreachable,
    /// The checkpoint storage refuses: credentials, bucket, or no conditional creation.
    StorageUnfit,
    /// A source's system does not answer.
    SourceUnreachable,
    /// A source can't be read as the document says: no such topic, no right to read it.
    SourceUnfit,
    /// A sink's system does not answer.
    SinkUnreachable,
    /// A sink can't take the rows as promised: no such table, a column that differs, a deduplication window too short.
    SinkUnfit,
    /// The newest checkpoint and the job do not fit each other.
    StateUnfit,
    /// Another healthy process runs the job.
    OwnedElsewhere,
    /// A newer revision of the job has taken over, or the job was cancelled and deleted.
    Superseded,
    /// The workers that are there have fewer slots than the job needs.
    SlotsMissing,
    /// A worker has left or gone silent; the restart strategy goes on with the others.
    WorkerLost,
    /// The local disk of a process is full, or does not work; the restart strategy goes on trying.
    LocalDiskFailed,
    /// A task failed, and the restart strategy goes on trying.
    TaskFailed,
    /// The restart strategy has given up.
    RestartsExhausted,
}

impl FailureReason {
    /// Another try of the same document can go well without anybody changing something of the job.
    pub fn may_pass(self) -> bool {
        matches!(
            self,
            Self::StorageUnreachable
                | Self::SourceUnreachable
                | Self::SinkUnreachable
                | Self::OwnedElsewhere
                | Self::SlotsMissing
                | Self::WorkerLost
                | Self::LocalDiskFailed
                | Self::TaskFailed
        )
    }
}

/// A worker: a process with slots, each of which runs one subtask of every task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerStatus {
    pub name: String,
    pub slots: u32,
    /// The subtasks that run there, of every task; none in a worker that stands by.
    pub subtasks: Vec<u32>,
}

/// How far a source is behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    pub name: String,
    /// Records that are there and not read yet, over all partitions.
    pub lag: u64,
}

/// `POST /v1/stop`: answers 202 at once with the [`JobStatus`]; the phase says when it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StopRequest {
    pub purpose: StopPurpose,
    /// Take a last checkpoint and publish its output first. Otherwise the job ends at once, and the next start reads
    /// again from the last checkpoint.
    #[serde(default = "yes")]
    pub final_checkpoint: bool,
    /// Keep the last checkpoint as a savepoint of this name, too. The job ends when it is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub savepoint: Option<String>,
    /// Put out what windows hold, as if no row came any more, before the last checkpoint. Nothing goes on from there:
    /// what the windows get later would be put out a second time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drain: bool,
}

impl StopRequest {
    /// Without a savepoint, and without draining.
    pub fn new(purpose: StopPurpose, final_checkpoint: bool) -> Self {
        Self { purpose, final_checkpoint, savepoint: None, drain: false }
    }
}

/// `POST /v1/savepoints`: answers 202 with the [`SavepointStatus`], and the job goes on meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SavepointRequest {
    /// Folder below `savepoints/` of the job's storage: 1 to 63 lower-case letters, digits and `-`. A name is free again when its savepoint was deleted.
    pub name: String,
}

/// `GET /v1/savepoints/{name}`: a savepoint that this process was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SavepointStatus {
    pub name: String,
    pub phase: SavepointPhase,
    /// The epoch that it has the state of; none before its checkpoint has begun.
    pub epoch: Option<u64>,
    /// Where it is, as `restoreFrom.path` takes it.
    pub path: String,
    /// Bytes of its files, when it is complete.
    pub bytes: Option<u64>,
    /// Why it failed.
    pub failure: Option<String>,
}

/// Where a savepoint stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SavepointPhase {
    /// Its checkpoint is taken, published or copied.
    InProgress,
    Completed,
    Failed,
}

/// `GET /v1/savepoints`: those that this process was asked for, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SavepointHistory {
    pub savepoints: Vec<SavepointStatus>,
}

/// `POST /v1/rescale`: answers 202 with the [`JobStatus`]; the job takes a checkpoint and goes on from it with another
/// parallelism, in the same processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RescaleRequest {
    /// From 1 to the spec's `maxParallelism`, and no more than there are slots.
    pub parallelism: u32,
}

/// Why a job is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StopPurpose {
    /// To go on later, here or elsewhere: checkpoints stay.
    Suspend,
    /// For good: checkpoints stay or go as `onCancellation` says.
    Cancel,
}

fn yes() -> bool {
    true
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
    /// Asks the systems that the job needs, before it claims.
    Preparing,
    /// Claims the job in its log, or waits for the process that owns it.
    Claiming,
    /// Publishes what was owned and not published, and loads state.
    Recovering,
    Running,
    /// Waits before the next try; or some tasks have failed and are not back yet, while the others go on.
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

impl Phase {
    /// Nothing comes after it, in this process.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Stopped | Self::Finished | Self::Failed)
    }
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
    /// Bytes of all files that it needs, those of earlier ones included.
    #[serde(default)]
    pub full_bytes: u64,
    /// Rows that sinks publish for this epoch.
    pub rows: u64,
    /// The times of the subtask that took longest for each.
    #[serde(default)]
    pub longest: CheckpointTimes,
    /// Where a barrier overtook records: those that were in flight, of all subtasks. None when all barriers were aligned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unaligned: Option<InFlightRecords>,
    /// Path of the manifest below the storage root; none when the checkpoint failed.
    pub manifest: Option<String>,
    /// Why it failed.
    pub failure: Option<String>,
}

/// How long a subtask took for its share of a checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointTimes {
    /// From the first barrier that reached it until the last, or until it was told not to wait: rows behind the first
    /// ones waited.
    pub alignment_ms: u64,
    /// Until its state was frozen and the barrier sent on; it took in nothing.
    pub sync_ms: u64,
    /// Until everything was uploaded, while it went on.
    pub async_ms: u64,
}

/// Records that a barrier overtook: they were on their way to a subtask when its state was frozen, and are part of the
/// checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InFlightRecords {
    pub rows: u64,
    /// Bytes uploaded.
    pub bytes: u64,
}

/// `GET /v1/checkpoints/{epoch}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointDetails {
    pub checkpoint: CheckpointStatus,
    /// Those that have uploaded their share.
    pub subtasks: Vec<SubtaskCheckpoint>,
}

/// A subtask's share of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubtaskCheckpoint {
    /// The first operator of its task.
    pub task: String,
    pub subtask: u32,
    #[serde(flatten)]
    pub times: CheckpointTimes,
    /// Bytes uploaded.
    pub bytes: u64,
    /// Where the barrier overtook records: those that were in flight. None when it was aligned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unaligned: Option<InFlightRecords>,
}

/// `GET /v1/checkpoints`: the newest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointHistory {
    pub checkpoints: Vec<CheckpointStatus>,
}
