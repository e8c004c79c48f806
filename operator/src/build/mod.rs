//! The Kubernetes objects that a job consists of, as pure functions of the `StreamJob`.
//!
//! | object | name | for |
//! |---|---|---|
//! | Deployment | the job's | one pod, which runs the job; with `spec.workers`, its coordinator |
//! | ConfigMap | `<job>-<digest>` | the job file; never changed, one for each version |
//! | ServiceAccount | the job's | no rights, no token |
//! | Service | the job's | the API of the pod that owns the job |
//! | PodDisruptionBudget | the job's | one pod of a job at a time |
//! | NetworkPolicy | the job's | who may speak to the API |
//! | Deployment | `<job>-workers` | with `spec.workers`: the pods that run the subtasks |
//! | PodDisruptionBudget | `<job>-workers` | one worker at a time |
//! | NetworkPolicy | `<job>-workers` | who may speak to a worker |
//! | Service | `<job>-coordinator` | with `spec.workers`: where workers find the coordinator of their own version |
//! | Secret | `<job>-tls` | with `spec.workers`: certificates, made once |
//!
//! All belong to the `StreamJob` and go with it. A new version rolls out as Kubernetes does it: the new pod starts beside
//! the old one, which Kubernetes stops when the new one is ready; the two settle by the checkpoint log which of them runs
//! the job (the runtime's hand-over), so the old one goes on when the new one can't.

mod certificates;
mod config_map;
mod deployment;
mod names;
mod pod;
mod policy;
mod service;

pub use names::{
    APPLIED, DIGEST, FINALIZER, JOB_LABEL, MANAGER, RESTARTED_AT, REVISION, WORKERS_LABEL, coordinators, foreign_owner,
    selector, workers,
};

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, PodTemplateSpec, Secret, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{Resource, ResourceExt};
use pod::Role;
use tidegate_crds::{Metadata, StreamJob, StreamJobResource, api};

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
    role: Role,
    template: PodTemplateSpec,
    workers: Option<WorkerTemplate>,
    /// Of everything that makes a pod differ: where it changes, a new revision rolls out.
    pub digest: String,
}

/// The worker pods of a version.
#[derive(Debug)]
struct WorkerTemplate {
    role: Role,
    template: PodTemplateSpec,
    pods: i32,
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
    pub workers: Option<WorkerObjects>,
}

/// What a job has besides, if it runs in several pods.
#[derive(Debug)]
pub struct WorkerObjects {
    /// For coordinators.
    pub service: Service,
    pub disruption_budget: PodDisruptionBudget,
    pub network_policy: NetworkPolicy,
    pub deployment: Deployment,
}

/// The certificates of a job's processes: new ones with each call.
pub fn certificates(job: &StreamJobResource) -> Result<Option<Secret>, rcgen::Error> {
    let Some(owner) = job.controller_owner_ref(&()) else { return Ok(None) };
    certificates::build(names::meta(job, &owner, names::certificates(job)), &job.name_any()).map(Some)
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
        let pods = job.spec.workers.as_ref().map(|workers| (workers, workers.pods(job.spec.parallelism)));
        let role = pods.map_or(Role::Whole, |(_, workers)| Role::Coordinator { workers });
        let workers = pods.map(|(workers, pods)| {
            let role = Role::Worker { slots: workers.slots_per_worker };
            WorkerTemplate { role, template: pod::template(job, role, defaults), pods: pods as i32 }
        });
        let mut template = pod::template(job, role, defaults);
        if let Some(at) = restarted_at {
            let annotations = template.metadata.get_or_insert_default().annotations.get_or_insert_default();
            annotations.insert(RESTARTED_AT.to_owned(), at.clone());
        }
        let templates = (&template, workers.as_ref().map(|workers| &workers.template));
        let templates = match templates {
            (whole, None) => serde_json::to_vec(whole)?,
            both => serde_json::to_vec(&both)?,
        };
        let digest = digest::of(&[job_file.as_bytes(), &templates], DIGEST_BYTES);
        Ok(Some(Self { job, owner, job_file, role, template, workers, digest }))
    }

    /// The objects that run this version.
    pub fn objects(&self, revision: u64, replicas: i32) -> Objects {
        let Self { job, owner, job_file, role, template, workers, digest } = self;
        let meta = |name: String| names::meta(job, owner, name);
        let config_map = config_map::build(meta(format!("{}-{digest}", job.name_any())), job_file.clone());
        let of_revision = |template: &PodTemplateSpec, role| {
            pod::of_revision(template.clone(), job, role, &config_map.name_any(), revision, digest)
        };
        let (selector, of_workers) = (names::selector(job), names::worker_selector(job));
        let workers = workers.as_ref().map(|WorkerTemplate { role, template, pods }| WorkerObjects {
            service: service::coordinators(meta(names::coordinators(job)), job),
            disruption_budget: policy::disruption_budget(meta(names::workers(job)), of_workers.clone()),
            network_policy: policy::network_policy(
                meta(names::workers(job)),
                of_workers.clone(),
                Some((api::EXCHANGE_PORT, of_workers.clone())),
            ),
            deployment: deployment::build(
                meta(names::workers(job)),
                of_workers.clone(),
                of_revision(template, *role),
                revision,
                digest,
                pods * replicas.min(1),
            ),
        });
        let from_workers = workers.is_some().then(|| (api::WORKERS_PORT, of_workers.clone()));
        let template = of_revision(template, *role);
        Objects {
            service_account: service::account(meta(job.name_any())),
            service: service::build(meta(job.name_any()), job),
            disruption_budget: policy::disruption_budget(meta(job.name_any()), selector.clone()),
            network_policy: policy::network_policy(meta(job.name_any()), selector.clone(), from_workers),
            deployment: deployment::build(meta(job.name_any()), selector, template, revision, digest, replicas),
            workers,
            config_map,
        }
    }
}
