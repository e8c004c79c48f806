//! What the cluster may do to a job's pods, and who may speak to them.

use k8s_openapi::{
    api::{
        networking::v1::{NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPort, NetworkPolicySpec},
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use tidegate_crds::{StreamJobResource, api};

use super::names;

/// A drain may take the pod, since the job goes on elsewhere from a last checkpoint; it must not take the one that
/// follows it before that runs.
pub fn disruption_budget(metadata: ObjectMeta, job: &StreamJobResource) -> PodDisruptionBudget {
    let spec = PodDisruptionBudgetSpec {
        max_unavailable: Some(IntOrString::Int(1)),
        selector: Some(names::label_selector(job)),
        unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        ..PodDisruptionBudgetSpec::default()
    };
    PodDisruptionBudget { metadata, spec: Some(spec), ..PodDisruptionBudget::default() }
}

/// Nothing comes in but calls of the API: by the operator, by the job's other pods, by whoever scrapes metrics. What goes
/// out is the user's business: brokers, databases, storage.
pub fn network_policy(metadata: ObjectMeta, job: &StreamJobResource) -> NetworkPolicy {
    let port = NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(api::PORT))),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    };
    let spec = NetworkPolicySpec {
        pod_selector: Some(names::label_selector(job)),
        policy_types: Some(vec!["Ingress".to_owned()]),
        ingress: Some(vec![NetworkPolicyIngressRule { ports: Some(vec![port]), from: None }]),
        egress: None,
    };
    NetworkPolicy { metadata, spec: Some(spec) }
}
