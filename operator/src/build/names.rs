//! Names, labels and annotations of what the operator makes.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use tidegate_crds::StreamJobResource;

/// Name of the operator as the manager of fields.
pub const MANAGER: &str = "tidegate-operator";
/// Keeps a deleted `StreamJob` until its job has ended.
pub const FINALIZER: &str = "tidegate.dev/stop";
/// On everything of a job: its `StreamJob`'s name.
pub const JOB_LABEL: &str = "tidegate.dev/job";
/// On the pods of workers, in place of the label above, which is the coordinator's: their `StreamJob`'s name.
pub const WORKERS_LABEL: &str = "tidegate.dev/workers";
/// On Deployment and pods: the number of the version they run.
pub const REVISION: &str = "tidegate.dev/revision";
/// On Deployment and pods: the digest of the version they run.
pub const DIGEST: &str = "tidegate.dev/digest";
/// On every object: the digest of the object as it was applied last.
pub const APPLIED: &str = "tidegate.dev/applied";

/// What `kubectl rollout restart` sets in a pod template.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// What selects the pods of a job.
pub fn selector(job: &StreamJobResource) -> BTreeMap<String, String> {
    BTreeMap::from([(JOB_LABEL.to_owned(), job.name_any())])
}

/// What selects the worker pods of a job.
pub fn worker_selector(job: &StreamJobResource) -> BTreeMap<String, String> {
    BTreeMap::from([(WORKERS_LABEL.to_owned(), job.name_any())])
}

/// Name of the Deployment of a job's workers, and of what else is theirs.
pub fn workers(job: &StreamJobResource) -> String {
    format!("{}-workers", job.name_any())
}

/// Where workers find the coordinator of their own version: `<version>.<this>.<namespace>.svc`.
pub fn coordinators(job: &StreamJobResource) -> String {
    format!("{}-coordinator", job.name_any())
}

/// The host name of a version's coordinator.
pub fn coordinator_host(digest: &str) -> String {
    format!("v-{digest}")
}

/// Name of the Secret with the certificates of a job's processes.
pub fn certificates(job: &StreamJobResource) -> String {
    format!("{}-tls", job.name_any())
}

/// The labels of everything that belongs to a job.
pub fn labels(job: &StreamJobResource) -> BTreeMap<String, String> {
    let mut labels = selector(job);
    for (label, value) in
        [("name", "tidegate".to_owned()), ("instance", job.name_any()), ("managed-by", MANAGER.to_owned())]
    {
        labels.insert(format!("app.kubernetes.io/{label}"), value);
    }
    labels
}

pub(super) fn meta(job: &StreamJobResource, owner: &OwnerReference, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: job.namespace(),
        labels: Some(labels(job)),
        owner_references: Some(vec![owner.clone()]),
        ..ObjectMeta::default()
    }
}

/// Whether an object that is there is somebody else's and must be left alone.
pub fn foreign_owner(object: &ObjectMeta, job: &StreamJobResource) -> bool {
    let mut owners = object.owner_references.iter().flatten();
    !owners.any(|owner| job.meta().uid.as_ref() == Some(&owner.uid) && owner.controller == Some(true))
}
