//! What the cluster may do to a job's pods, and who may speak to them.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        networking::v1::{
            NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use tidegate_crds::api;

/// A drain may take a pod, since the job goes on elsewhere; it must not take the one that follows it before that runs.
pub fn disruption_budget(metadata: ObjectMeta, pods: BTreeMap<String, String>) -> PodDisruptionBudget {
    let spec = PodDisruptionBudgetSpec {
        max_unavailable: Some(IntOrString::Int(1)),
        selector: Some(selecting(pods)),
        unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        ..PodDisruptionBudgetSpec::default()
    };
    PodDisruptionBudget { metadata, spec: Some(spec), ..PodDisruptionBudget::default() }
}

/// Nothing comes in but calls of the API (by the operator, by the job's other pods, by whoever scrapes metrics), and, at a
/// second port, what the job's `workers` send. What goes out is the user's business: brokers, databases, storage.
pub fn network_policy(
    metadata: ObjectMeta,
    pods: BTreeMap<String, String>,
    of_workers: Option<(u16, BTreeMap<String, String>)>,
) -> NetworkPolicy {
    let mut ingress = vec![NetworkPolicyIngressRule { ports: Some(vec![port(api::PORT)]), from: None }];
    ingress.extend(of_workers.map(|(number, workers)| NetworkPolicyIngressRule {
        ports: Some(vec![port(number)]),
        from: Some(vec![NetworkPolicyPeer { pod_selector: Some(selecting(workers)), ..NetworkPolicyPeer::default() }]),
    }));
    let spec = NetworkPolicySpec {
        pod_selector: Some(selecting(pods)),
        policy_types: Some(vec!["Ingress".to_owned()]),
        ingress: Some(ingress),
        egress: None,
    };
    NetworkPolicy { metadata, spec: Some(spec) }
}

fn port(number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(number))),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    }
}

fn selecting(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}
