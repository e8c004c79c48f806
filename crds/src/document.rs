//! The document as a whole, and reading one from YAML.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    CheckpointSpec, ExchangeCompression, HumanDuration, OnDelete, PodTemplate, Problem, Problems, RestartSpec,
    RestoreFrom, RunState, SecretRef, SinkSpec, SourceSpec, StateBackend, StreamJobStatus, WorkerPods,
    overlay::{self, Overlay},
    text,
};

pub(crate) const API_VERSION: &str = "tidegate.dev/v1alpha1";
pub(crate) const KIND: &str = "StreamJob";

/// A stream job: sources, SQL and sinks, and how it is run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StreamJob {
    pub api_version: String,
    pub kind: String,
    pub metadata: Metadata,
    pub spec: JobSpec,
}

/// The part of Kubernetes' metadata that names the job; the rest is left to Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// What the job does, and how it is run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "tidegate.dev",
    version = "v1alpha1",
    kind = "StreamJob",
    root = "StreamJobResource",
    plural = "streamjobs",
    shortname = "sj",
    category = "all",
    namespaced,
    doc = "A stream job: sources, SQL and sinks, and how it is run",
    status = "StreamJobStatus",
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && self.metadata.name.size() <= 52")
        .message("metadata.name: accepted are 1 to 52 lower-case letters, digits and -, a letter first, no - at the end"),
    derive = "PartialEq",
    scale(
        spec_replicas_path = ".spec.parallelism",
        status_replicas_path = ".status.parallelism",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Parallelism", type_ = "integer", json_path = ".status.parallelism"),
    printcolumn(name = "Checkpoint", type_ = "date", json_path = ".status.lastCheckpoint.completedAt", description = "Age of the newest checkpoint"),
    printcolumn(name = "Lag", type_ = "integer", json_path = ".status.lag", description = "Records that are there and not read yet"),
    printcolumn(name = "Restarts", type_ = "integer", json_path = ".status.restarts"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", priority = 1),
    printcolumn(name = "Epoch", type_ = "integer", json_path = ".status.committedEpoch", priority = 1),
    printcolumn(name = "Job-Id", type_ = "string", json_path = ".status.jobId", priority = 1)
)]
#[x_kube(
    validation = Rule::new("self.parallelism <= self.maxParallelism")
        .message("accepted is a parallelism from 1 to maxParallelism")
        .field_path(".parallelism"),
    validation = Rule::new("self.maxParallelism == oldSelf.maxParallelism")
        .message("is fixed at the first start, since key groups can't change; set it back, or make a new StreamJob")
        .field_path(".maxParallelism"),
    validation = Rule::new("has(self.jobId) == has(oldSelf.jobId) && (!has(self.jobId) || self.jobId == oldSelf.jobId)")
        .message("jobId names the job's checkpoints and can't be changed: set it back, or delete this StreamJob and make another"),
    validation = Rule::new("self.sources.all(source, !has(source.format.deadLetterSink) || self.sinks.exists(sink, sink.name == source.format.deadLetterSink))")
        .message("every format.deadLetterSink of a source must be the name of a sink")
        .field_path(".sources"),
    validation = Rule::new("self.sources.all(source, !has(source.format.lateSink) || self.sinks.exists(sink, sink.name == source.format.lateSink))")
        .message("every format.lateSink of a source must be the name of a sink")
        .field_path(".sources"),
    validation = Rule::new("!has(self.workers) || !has(self.workers.replicas) || self.workers.replicas * self.workers.slotsPerWorker >= self.parallelism")
        .message("accepted are workers whose replicas, times slotsPerWorker, are parallelism or more; without replicas there are as many as it takes")
        .field_path(".workers"),
    validation = Rule::new("!has(self.checkpoint.storage.local)")
        .message("a pod's disk is lost with the pod; set storage.s3 or storage.hdfs")
        .field_path(".checkpoint.storage")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobSpec {
    /// What the job reads. Names are unique.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub sources: Vec<SourceSpec>,
    /// `CREATE VIEW` and `INSERT INTO <sink> SELECT …` statements, separated by semicolons.
    #[schemars(length(min = 1, max = 262_144))]
    pub sql: String,
    /// What the job writes. Names are unique.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub sinks: Vec<SinkSpec>,
    /// How many subtasks each operator has; what `kubectl scale` sets.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 32_768))]
    pub parallelism: u32,
    /// Number of key groups: the highest parallelism the job can ever have. Fixed at the first start.
    #[serde(default = "key_groups")]
    #[schemars(range(min = 1, max = 32_768))]
    pub max_parallelism: u32,
    /// How long the state of a key is kept after its event time, where SQL gives it no end of its own (deduplication).
    /// For ever, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_ttl: Option<HumanDuration>,
    /// Where state is while the job runs: `Memory`, the default, or `RocksDB`, on the local disk, for more than fits into
    /// memory.
    #[serde(default, skip_serializing_if = "StateBackend::is_default")]
    pub state_backend: StateBackend,
    /// How rows on their way to another worker are compressed: `None`, the default, or `LZ4`, where the network is the
    /// bottleneck.
    #[serde(default, skip_serializing_if = "ExchangeCompression::is_default")]
    pub exchange_compression: ExchangeCompression,
    /// When checkpoints are taken, and where they are kept.
    pub checkpoint: CheckpointSpec,
    /// What the job begins with, while it has no checkpoint of its own. Afterwards this is not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_from: Option<RestoreFrom>,
    /// Begin, or go on after a change, also where a checkpoint has state of operators that the job does not have: that
    /// state is dropped. Rows of a checkpoint get null in columns that were not read before. Default: false, such a start is
    /// refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_non_restored_state: bool,
    /// What happens after a failure. Default: tried again after 1 s, doubling to 1 min, without end.
    #[serde(default)]
    pub restart: RestartSpec,
    /// The job's folder below the checkpoint storage. Default: `<namespace>.<name>`, or the name where there is no
    /// namespace. Set it to that of a deleted job to go on from what it kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 127), pattern("^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub job_id: Option<String>,
    /// Whether the job runs: `Running`, the default, or `Suspended`, which stops it with a last checkpoint. Kubernetes
    /// only.
    #[serde(default, skip_serializing_if = "RunState::is_default")]
    pub state: RunState,
    /// Image of the runtime. Default: the chart's `runtimeImage`. Kubernetes only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Runs the job in several pods. Without it one pod runs it all. Kubernetes only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<WorkerPods>,
    /// What is set of the job's pods. Kubernetes only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<PodTemplate>,
    /// How the job ends when the `StreamJob` is deleted. Default: `Checkpoint`. Kubernetes only.
    #[serde(default, skip_serializing_if = "OnDelete::is_default")]
    pub on_delete: OnDelete,
    /// How long a deletion waits for the job to end before it leaves the rest to the newest checkpoint. Default: 2m.
    /// Kubernetes only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_deadline: Option<HumanDuration>,
}

/// Why a text is no usable `StreamJob`.
#[derive(Debug, Error)]
pub enum DocumentError {
    #[error("the document is not a StreamJob: {}", text::said(.0))]
    Syntax(#[from] serde_yaml::Error),
    #[error(transparent)]
    Problems(#[from] Problems),
}

impl JobSpec {
    /// Every secret that the spec names.
    pub fn secrets(&self) -> Vec<&SecretRef> {
        let sources = self.sources.iter().filter_map(|source| source.kafka.as_ref()?.security.as_ref());
        let sinks = self.sinks.iter().filter_map(|sink| sink.kafka.as_ref()?.security.as_ref());
        let kafka = sources.chain(sinks).flat_map(|security| {
            [&security.username, &security.password, &security.ca, &security.certificate, &security.key]
        });
        let tables = self.sinks.iter().filter_map(|sink| Some(&sink.click_house.as_ref()?.password));
        let storage = self.checkpoint.storage.s3.iter().flat_map(|s3| [&s3.access_key_id, &s3.secret_access_key]);
        kafka.chain(tables).chain(storage).flatten().collect()
    }

    /// What the runtime acts on: without the fields that only the operator does.
    #[must_use]
    pub fn of_runtime(&self) -> Self {
        Self {
            state: RunState::default(),
            image: None,
            workers: None,
            template: None,
            on_delete: OnDelete::default(),
            deletion_deadline: None,
            ..self.clone()
        }
    }
}

impl StreamJob {
    /// The job's identity: its folder below the checkpoint storage, and what it calls itself at other systems.
    pub fn id(&self) -> String {
        match (&self.spec.job_id, &self.metadata.namespace) {
            (Some(id), _) => id.clone(),
            (None, Some(namespace)) => format!("{namespace}.{}", self.metadata.name),
            (None, None) => self.metadata.name.clone(),
        }
    }

    /// Reads a YAML (or JSON) document and checks it.
    pub fn from_yaml(text: &str) -> Result<Self, DocumentError> {
        let job: Self = serde_yaml::from_str(without_mark(text))?;
        job.check()?;
        Ok(job)
    }

    /// As [`StreamJob::from_yaml`], with fields set over those of the text: pairs of a path, such as
    /// `spec.sinks[0].kafka.bootstrapServers`, and a YAML value.
    pub fn from_yaml_with(text: &str, overrides: &[(String, String)]) -> Result<Self, DocumentError> {
        if overrides.is_empty() {
            return Self::from_yaml(text);
        }
        let text = without_mark(text);
        let mut document: serde_yaml::Value = serde_yaml::from_str(text)?;
        for (path, value) in overrides {
            *place(&mut document, path)? = serde_yaml::from_str(value)
                .map_err(|error| Problems(vec![Problem::new(path, format!("found no YAML value: {error}"))]))?;
        }
        let mut overlay = Overlay::default();
        for (path, _) in overrides {
            // What is not there any more was within a place that was set later.
            if let Some(value) = found(&document, path) {
                overlay.set(path, value.clone());
            }
        }
        let job: Self = overlay::from_yaml(text, &overlay)?;
        job.check()?;
        Ok(job)
    }
}

/// Some editors put a mark before the text that says how it is encoded.
fn without_mark(text: &str) -> &str {
    text.trim_start_matches('\u{feff}')
}

/// The place that `path` names; a missing last field is made, a missing list item is an error.
fn place<'a>(document: &'a mut serde_yaml::Value, path: &str) -> Result<&'a mut serde_yaml::Value, DocumentError> {
    let refuse = |step: &str| {
        DocumentError::Problems(Problems(vec![Problem::new(
            path,
            format!("there is no `{step}` to set; write a path such as spec.sources[0].kafka.topic"),
        )]))
    };
    let mut here = document;
    for step in path.split('.') {
        let (field, indexes) = step.split_once('[').map_or((step, None), |(field, rest)| (field, Some(rest)));
        let mapping = here.as_mapping_mut().ok_or_else(|| refuse(step))?;
        here = mapping.entry(field.into()).or_insert(serde_yaml::Value::Mapping(serde_yaml::Mapping::new()));
        if let Some(indexes) = indexes {
            let index: usize =
                indexes.strip_suffix(']').and_then(|digits| digits.parse().ok()).ok_or_else(|| refuse(step))?;
            here = here.as_sequence_mut().and_then(|list| list.get_mut(index)).ok_or_else(|| refuse(step))?;
        }
    }
    Ok(here)
}

/// What is at the place that `path` names.
fn found<'a>(document: &'a serde_yaml::Value, path: &str) -> Option<&'a serde_yaml::Value> {
    path.split('.').try_fold(document, |here, step| {
        let (field, indexes) = step.split_once('[').map_or((step, None), |(field, rest)| (field, Some(rest)));
        let value = here.as_mapping()?.get(field)?;
        match indexes {
            None => Some(value),
            Some(index) => value.as_sequence()?.get(index.strip_suffix(']')?.parse::<usize>().ok()?),
        }
    })
}

fn one() -> u32 {
    1
}

fn key_groups() -> u32 {
    128
}

#[cfg(test)]
mod tests {
    use super::StreamJob;

    const TEXT: &str = include_str!("../../examples/store-sales-local.yaml");

    fn generator(set: &[(&str, &str)]) -> serde_json::Value {
        let set: Vec<(String, String)> =
            set.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
        let job = StreamJob::from_yaml_with(TEXT, &set).unwrap();
        serde_json::to_value(&job.spec.sources[0].generator).unwrap()
    }

    #[test]
    fn of_what_is_set_the_later_holds() {
        let (whole, within) = ("spec.sources[0].generator", "spec.sources[0].generator.count");
        let seed = |set: &[(&str, &str)]| generator(set)["seed"].clone();
        assert_eq!(generator(&[(within, "5"), (within, "6")])["count"], 6);
        assert_eq!(generator(&[(whole, "{seed: 9}"), (within, "6")])["count"], 6);
        assert_eq!(seed(&[(whole, "{seed: 9}"), (within, "6")]), 9);
        assert_eq!(seed(&[(within, "6"), (whole, "{seed: 9}")]), 9);
        assert_eq!(generator(&[(within, "6"), (whole, "{seed: 9}")]), generator(&[(whole, "{seed: 9}")]));
    }
}
