//! The Kubernetes objects that a job consists of, as pure functions of the `StreamJob`.
//!
//! | object | name | for |
//! |---|---|---|
//! | Deployment | the job's | one pod, which runs coordinator and tasks |
//! | ConfigMap | `<job>-<digest>` | the job file; never changed, one for each version |
//! | ServiceAccount | the job's | no rights, no token |
//! | Service | the job's | the API of the pod that owns the job |
//! | PodDisruptionBudget | the job's | one pod of a job at a time |
//! | NetworkPolicy | the job's | who may speak to the API |
//!
//! All belong to the `StreamJob` and go with it. A new version rolls out as Kubernetes does it: the new pod starts beside
//! the old one, which Kubernetes stops when the new one is ready; the two settle by the checkpoint log which of them runs
//! the job (the runtime's hand-over), so the old one goes on when the new one can't.

mod config_map;
mod deployment;
mod names;
mod pod;
mod policy;
mod service;

pub use names::{APPLIED, DIGEST, FINALIZER, JOB_LABEL, MANAGER, RESTARTED_AT, REVISION, foreign_owner, selector};

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, PodTemplateSpec, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{Resource, ResourceExt};
use tidegate_crds::{Metadata, StreamJob, StreamJobResource};

use crate::digest;

/// Of a version's digest: it is part of a name.
const DIGEST_BYTES: usize = 5;

/// What the operator was installed with.
#[derive(Debug, Clone)]
pub struct Defaults {
    pub runtime_image: String,
    pub pull_policy: Option<String>,
}

/// A version of a job that is about to be rolled out, or is.
#[derive(Debug)]
pub struct Version<'a> {
    job: &'a StreamJobResource,
    owner: OwnerReference,
    job_file: String,
    template: PodTemplateSpec,
    /// Of everything that makes a pod differ: where it changes, a new revision rolls out.
    pub digest: String,
}

/// Every object of a job.
#[derive(Debug)]
pub struct Objects {
    pub config_map: ConfigMap,
    pub service_account: ServiceAccount,
    pub service: Service,
    pub disruption_budget: PodDisruptionBudget,
    pub network_policy: NetworkPolicy,
    pub deployment: Deployment,
}

/// The document that the runtime reads: what of the spec is its.
pub fn document(job: &StreamJobResource) -> StreamJob {
    StreamJob {
        api_version: StreamJobResource::api_version(&()).into_owned(),
        kind: StreamJobResource::kind(&()).into_owned(),
        metadata: Metadata { name: job.name_any(), namespace: job.namespace() },
        spec: job.spec.of_runtime(),
    }
}

impl<'a> Version<'a> {
    /// `None` for a job that the API server does not have yet. `restarted_at`: when somebody asked for new pods; two pods of
    /// one version would wait for each other, so that is a version of its own.
    pub fn of(
        job: &'a StreamJobResource,
        restarted_at: Option<&String>,
        defaults: &Defaults,
    ) -> Result<Option<Self>, serde_json::Error> {
        let Some(owner) = job.controller_owner_ref(&()) else { return Ok(None) };
        let job_file = serde_json::to_string(&document(job))?;
        let mut template = pod::template(job, defaults);
        if let Some(at) = restarted_at {
            let annotations = template.metadata.get_or_insert_default().annotations.get_or_insert_default();
            annotations.insert(RESTARTED_AT.to_owned(), at.clone());
        }
        let digest = digest::of(&[job_file.as_bytes(), &serde_json::to_vec(&template)?], DIGEST_BYTES);
        Ok(Some(Self { job, owner, job_file, template, digest }))
    }

    /// The objects that run this version.
    pub fn objects(&self, revision: u64, replicas: i32) -> Objects {
        let Self { job, owner, job_file, template, digest } = self;
        let meta = |name: String| names::meta(job, owner, name);
        let config_map = config_map::build(meta(format!("{}-{digest}", job.name_any())), job_file.clone());
        let template = pod::of_revision(template.clone(), &config_map.name_any(), revision, digest);
        Objects {
            service_account: service::account(meta(job.name_any())),
            service: service::build(meta(job.name_any()), job),
            disruption_budget: policy::disruption_budget(meta(job.name_any()), job),
            network_policy: policy::network_policy(meta(job.name_any()), job),
            deployment: deployment::build(meta(job.name_any()), job, template, revision, digest, replicas),
            config_map,
        }
    }
}
