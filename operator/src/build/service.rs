//! The way to the pod's API, and the account it runs under.

use k8s_openapi::{
    api::core::v1::{Service, ServiceAccount, ServicePort, ServiceSpec},
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use tidegate_crds::{StreamJobResource, api};

use super::names;

/// Reaches the pod that is ready: the one that owns the job.
pub fn build(metadata: ObjectMeta, job: &StreamJobResource) -> Service {
    let port = ServicePort {
        name: Some("http".to_owned()),
        port: i32::from(api::PORT),
        target_port: Some(IntOrString::String("http".to_owned())),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    };
    let spec = ServiceSpec { selector: Some(names::selector(job)), ports: Some(vec![port]), ..ServiceSpec::default() };
    Service { metadata, spec: Some(spec), ..Service::default() }
}

/// Names the coordinators of all versions, ready or not, for workers: a job is ready when they have joined.
pub fn coordinators(metadata: ObjectMeta, job: &StreamJobResource) -> Service {
    let port = ServicePort {
        name: Some("workers".to_owned()),
        port: i32::from(api::WORKERS_PORT),
        target_port: Some(IntOrString::String("workers".to_owned())),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    };
    let spec = ServiceSpec {
        selector: Some(names::selector(job)),
        ports: Some(vec![port]),
        cluster_ip: Some("None".to_owned()),
        publish_not_ready_addresses: Some(true),
        ..ServiceSpec::default()
    };
    Service { metadata, spec: Some(spec), ..Service::default() }
}

/// The runtime never calls Kubernetes: no rights, and no token that could be stolen.
pub fn account(metadata: ObjectMeta) -> ServiceAccount {
    ServiceAccount { metadata, automount_service_account_token: Some(false), ..ServiceAccount::default() }
}
