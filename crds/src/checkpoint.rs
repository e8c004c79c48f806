//! When checkpoints are taken, where they go, how many stay, and what a job may begin with.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{HumanDuration, SecretRef};

/// Checkpointing. Names and defaults are Flink's where those are good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("!has(self.alignmentTimeout) || !has(self.mode) || self.mode == 'ExactlyOnce'")
        .message("alignmentTimeout needs mode ExactlyOnce: with AtLeastOnce no record waits for a barrier"),
    validation = Rule::new("!has(self.alignmentTimeout) || !has(self.maxConcurrent) || self.maxConcurrent == 1")
        .message("alignmentTimeout and maxConcurrent above 1 exclude each other: a barrier that overtakes records would overtake the one before it")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckpointSpec {
    /// `ExactlyOnce` aligns barriers; `AtLeastOnce` lets records pass them.
    #[serde(default)]
    pub mode: CheckpointMode,
    /// Time from the start of one checkpoint to the start of the next.
    #[serde(default = "interval")]
    pub interval: HumanDuration,
    /// A checkpoint that takes longer is given up.
    #[serde(default = "timeout")]
    pub timeout: HumanDuration,
    /// After so long, barriers overtake the records that they wait behind, and the checkpoint has these records, too:
    /// `0s` for at once, leave it out for never. Savepoints and last checkpoints always wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alignment_timeout: Option<HumanDuration>,
    /// Least time from the end of one checkpoint to the start of the next. Above zero, one is under way at a time.
    #[serde(default = "none")]
    pub min_pause: HumanDuration,
    /// How many checkpoints may be under way at a time: above 1, the next one begins after the interval, whether the one
    /// before is complete or not. Not together with `alignmentTimeout`.
    #[serde(default = "max_concurrent")]
    #[schemars(range(min = 1, max = 100))]
    pub max_concurrent: u32,
    /// How many checkpoints in a row may fail before the job does.
    #[serde(default)]
    pub tolerable_failures: u32,
    /// How many completed checkpoints are kept.
    #[serde(default = "retained")]
    #[schemars(range(min = 1, max = 1000))]
    pub retained: u32,
    /// How many epochs may wait for a sink that is down before the sources pause.
    #[serde(default = "max_pending_epochs")]
    #[schemars(range(min = 1, max = 10000))]
    pub max_pending_epochs: u32,
    /// What happens to the checkpoints when the job is cancelled.
    #[serde(default)]
    pub on_cancellation: OnCancellation,
    /// Where checkpoints live: exactly one kind.
    pub storage: StorageSpec,
}

impl CheckpointSpec {
    /// How many checkpoints are under way at a time, at most: a pause between two is one after the end of the first.
    pub fn at_once(&self) -> u32 {
        if self.min_pause.millis() > 0 { 1 } else { self.max_concurrent.max(1) }
    }

    /// How many epochs may wait for a sink, at most: those under way when the sources pause still complete.
    pub fn most_pending(&self) -> u32 {
        self.max_pending_epochs.saturating_add(self.at_once() - 1)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CheckpointMode {
    #[default]
    ExactlyOnce,
    AtLeastOnce,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnCancellation {
    /// They stay, and the next run goes on from them.
    #[default]
    Retain,
    /// They are deleted with the job; its savepoints stay.
    Delete,
}

/// Where checkpoints live; exactly one field is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("[has(self.s3), has(self.hdfs), has(self.local)].filter(set, set).size() == 1")
        .message("exactly one of s3, hdfs, local is accepted")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StorageSpec {
    /// A bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Storage>,
    /// A folder of HDFS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hdfs: Option<HdfsStorage>,
    /// A folder of the machine; not in a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalStorage>,
}

/// A bucket of a store that honours conditional creation (`If-None-Match: *`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct S3Storage {
    /// Name of the bucket.
    #[schemars(length(min = 3, max = 63))]
    pub bucket: String,
    /// Folder inside the bucket; the job's own folder is made below it.
    #[serde(default)]
    pub prefix: String,
    /// Address of the service, for stores other than AWS, such as `http://minio:9000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Region of the bucket. Default: what the environment says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Address the bucket in the path and not in the host name. On by default where `endpoint` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// Access key; without one the usual places are asked (environment, web identity, instance).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<SecretRef>,
    /// The secret of the access key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<SecretRef>,
}

impl S3Storage {
    /// What the keys of a job's objects begin with: `prefix/job/`.
    pub fn root(&self, job: &str) -> String {
        match self.prefix.trim_matches('/') {
            "" => format!("{job}/"),
            prefix => format!("{prefix}/{job}/"),
        }
    }

    /// Where the checkpoints of a job are, for people: `s3://bucket/prefix/job`.
    pub fn location(&self, job: &str) -> String {
        format!("s3://{}/{}", self.bucket, self.root(job).trim_end_matches('/'))
    }
}

/// A folder of a Hadoop file system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HdfsStorage {
    /// Address of the folder: `hdfs://namenode:8020/tidegate`, or `hdfs://cluster/tidegate` where `cluster` is a name
    /// service of the Hadoop configuration. The job's own folder is made below it.
    #[schemars(length(max = 1024), pattern("^hdfs://[^/@]+(/.*)?$"))]
    pub url: String,
    /// Who the job is there. Default: `HADOOP_USER_NAME` of the environment, else the user of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Folder with `core-site.xml` and `hdfs-site.xml`. Default: what `HADOOP_CONF_DIR` names, else
    /// `etc/hadoop` below `HADOOP_HOME`, else none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_folder: Option<String>,
    /// Hadoop properties, before those of the configuration folder: for a name service, `dfs.ha.namenodes.<name>` and
    /// `dfs.namenode.rpc-address.<name>.<namenode>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
}

/// A folder of this machine: for a laptop and for tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocalStorage {
    /// The folder; the job's own is made below it.
    pub path: String,
}

/// A savepoint, or a kept checkpoint of another job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestoreFrom {
    /// Folder of a savepoint, or of a job for its newest checkpoint, or a checkpoint's `manifest.json`:
    /// `s3://bucket/prefix/job/savepoints/name`, `hdfs://host:port/…`, or a folder of the machine. It is read with the
    /// endpoint and the credentials of `checkpoint.storage`.
    #[schemars(length(min = 1, max = 2048))]
    pub path: String,
    /// Whose the savepoint is afterwards.
    #[serde(default)]
    pub mode: RestoreMode,
}

/// The job copies what it begins with into its own storage, and never reads the original again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestoreMode {
    /// The original stays, and is its user's.
    #[default]
    NoClaim,
    /// The savepoint is the job's: it is deleted when the job has a checkpoint of its own.
    Claim,
}

fn interval() -> HumanDuration {
    HumanDuration::from_secs(30)
}

fn timeout() -> HumanDuration {
    HumanDuration::from_secs(600)
}

fn none() -> HumanDuration {
    HumanDuration::from_secs(0)
}

fn max_concurrent() -> u32 {
    1
}

fn retained() -> u32 {
    3
}

fn max_pending_epochs() -> u32 {
    100
}
