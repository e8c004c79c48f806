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
    /// Requests and limits of the runtime's container.
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
