//! What only the operator acts on: whether a job runs, how it ends, and what its pods are like.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, EnvVar, LocalObjectReference, ResourceRequirements, Toleration, TopologySpreadConstraint,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether a job runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RunState {
    #[default]
    Running,
    /// Stopped with a last checkpoint, to go on from it.
    Suspended,
}

/// How a job ends when its `StreamJob` is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDelete {
    /// It takes a last checkpoint and publishes its output.
    #[default]
    Checkpoint,
    /// It ends at once; what it has read since the newest checkpoint is not published.
    Abandon,
}

impl RunState {
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde hands out references
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl OnDelete {
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde hands out references
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Worker pods, each with slots that run subtasks. The job then has one more pod, which coordinates them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkerPods {
    /// How many there are. Default: as many as `parallelism` needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: Option<u32>,
    /// Slots of each. A slot runs one subtask of every task, on one core.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 64))]
    pub slots_per_worker: u32,
    /// How many stand by, beside those, and take over when one is lost.
    #[serde(default)]
    #[schemars(range(max = 1000))]
    pub standby: u32,
}

fn one() -> u32 {
    1
}

impl WorkerPods {
    /// Pods that a job of so many subtasks has, beside that of its coordinator.
    pub fn pods(&self, parallelism: u32) -> u32 {
        self.replicas.unwrap_or(parallelism.div_ceil(self.slots_per_worker.max(1))).saturating_add(self.standby)
    }

    /// Slots that are sure to be there, those that stand by not counted.
    pub fn slots(&self, parallelism: u32) -> u32 {
        self.pods(parallelism).saturating_sub(self.standby).saturating_mul(self.slots_per_worker)
    }
}

/// What is set of a job's pods; everything else is the operator's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodTemplate {
    /// Labels, beside the operator's own (`tidegate.dev/…`, `app.kubernetes.io/…`), which can't be set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Requests and limits of the container that runs subtasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Environment of the runtime's container, beside the operator's own (`TIDEGATE_…`), which can't be set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Tolerations, after the operator's own for nodes that are lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Which nodes are wanted, and which pods beside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How pods spread over nodes and zones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// A ServiceAccount of yours, such as one that a cloud gives rights to a bucket. Default: one without rights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// Secrets for the image's registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Name of a PriorityClass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class: Option<String>,
}
