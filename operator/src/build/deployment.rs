//! The Deployments: one pod for the job or its coordinator, and one for each worker; during a change of version as many
//! more. Kubernetes ends the pods of a version when those of the next are ready, which they are when the job runs there.

use std::collections::BTreeMap;

use super::names::{DIGEST, REVISION};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

/// Old versions that Kubernetes keeps: the one that may still run, and the one before it for a look.
const HISTORY: i32 = 2;

pub fn build(
    metadata: ObjectMeta,
    selector: BTreeMap<String, String>,
    template: PodTemplateSpec,
    revision: u64,
    digest: &str,
    replicas: i32,
) -> Deployment {
    let annotations =
        BTreeMap::from([(REVISION.to_owned(), revision.to_string()), (DIGEST.to_owned(), digest.to_owned())]);
    let all = IntOrString::String("100%".to_owned());
    let rolling = RollingUpdateDeployment { max_surge: Some(all), max_unavailable: Some(IntOrString::Int(0)) };
    let spec = DeploymentSpec {
        replicas: Some(replicas),
        revision_history_limit: Some(HISTORY),
        selector: LabelSelector { match_labels: Some(selector), ..LabelSelector::default() },
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
