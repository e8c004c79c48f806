//! The `StreamJob` document and the coordinator's HTTP API, as types.
//!
//! Everything a user can write is a type here, with its documentation, its default and what is accepted; the operator
//! makes the CRD of them and the runtime reads the same document from a file. [`StreamJob::check`] says what can be
//! said of a document without looking at anything else: names that repeat, columns that do not exist, bounds. What
//! needs the SQL planned or a server asked is the runtime's.

pub mod api;
mod check;
mod checkpoint;
mod column;
mod definition;
mod document;
mod duration;
mod endpoint;
mod exchange;
mod hdfs;
mod overlay;
mod pod;
mod problem;
mod reason;
mod restart;
mod secret;
mod sink;
mod source;
mod state;
mod status;
mod text;

pub use checkpoint::{
    CheckpointMode, CheckpointSpec, HdfsStorage, LocalStorage, OnCancellation, RestoreFrom, RestoreMode, S3Storage,
    StorageSpec,
};
pub use column::{Column, ColumnType};
pub use definition::definition;
pub use document::{DocumentError, JobSpec, Metadata, StreamJob, StreamJobResource};
pub use duration::HumanDuration;
pub use endpoint::{Call, Endpoint};
pub use exchange::ExchangeCompression;
pub use hdfs::HdfsAddress;
pub use pod::{OnDelete, PodTemplate, RunState, WorkerPods};
pub use problem::{Problem, Problems, nearest};
pub use reason::{ConditionType, Reason};
pub use restart::{ExponentialDelay, FailureRate, FixedDelay, NoRestart, RestartSpec};
pub use secret::{SecretKeyRef, SecretRef};
pub use sink::{ClickHouseSink, Delivery, FileFormat, FilesSink, KafkaSink, PrintSink, SinkSpec};
pub use source::{
    BadRecords, FilesSource, FormatSpec, GeneratorSource, KafkaSecurity, KafkaSource, SourceSpec, StartFrom, Until,
    WatermarkSpec,
};
pub use state::StateBackend;
pub use status::{JobPhase, LastCheckpoint, StreamJobStatus};
pub use text::said;
