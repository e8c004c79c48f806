//! The Deployment: one pod, and during a change of version one more.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use tidegate_crds::StreamJobResource;

use super::names::{self, DIGEST, REVISION};

/// Old versions that Kubernetes keeps: the one that may still run, and the one before it for a look.
const HISTORY: i32 = 2;

pub fn build(
    metadata: ObjectMeta,
    job: &StreamJobResource,
    template: PodTemplateSpec,
    revision: u64,
    digest: &str,
    replicas: i32,
) -> Deployment {
    let annotations =
        BTreeMap::from([(REVISION.to_owned(), revision.to_string()), (DIGEST.to_owned(), digest.to_owned())]);
    let rolling =
        RollingUpdateDeployment { max_surge: Some(IntOrString::Int(1)), max_unavailable: Some(IntOrString::Int(0)) };
    let spec = DeploymentSpec {
        replicas: Some(replicas),
        revision_history_limit: Some(HISTORY),
        selector: names::label_selector(job),
        strategy: Some(DeploymentStrategy { type_: Some("RollingUpdate".to_owned()), rolling_update: Some(rolling) }),
        template,
        ..DeploymentSpec::default()
    };
    Deployment {
        metadata: ObjectMeta { annotations: Some(annotations), ..metadata },
        spec: Some(spec),
        ..Deployment::default()
    }
}
