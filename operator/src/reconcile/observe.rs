//! Reads everything that a decision needs: the objects from what the watches keep, the job from its pods.

use std::collections::BTreeMap;

use futures::future::join_all;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Resource, ResourceExt,
    runtime::reflector::{ObjectRef, Store},
};
use tidegate_crds::{HumanDuration, JobPhase, StreamJobResource};

use super::{
    drift::differs,
    facts::{Facts, Orphan, PodFact, Refusal, Rollout, WorkerFact},
    trouble,
};
use crate::{
    build::{
        self, DIGEST, FINALIZER, JOB_LABEL, Objects, RESTARTED_AT, REVISION, WORKERS_LABEL, WorkerObjects,
        foreign_owner,
    },
    coordinator_client::Coordinators,
};

/// How long a deletion waits when the spec does not say.
const DELETION_DEADLINE: HumanDuration = HumanDuration::from_secs(120);

/// What the watches keep of everything that belongs to jobs.
#[derive(Debug, Clone)]
pub struct Stores {
    pub deployments: Store<Deployment>,
    pub pods: Store<Pod>,
    pub config_maps: Store<ConfigMap>,
    pub services: Store<Service>,
    pub service_accounts: Store<ServiceAccount>,
    pub disruption_budgets: Store<PodDisruptionBudget>,
    pub network_policies: Store<NetworkPolicy>,
}

/// The objects of one job that are there.
#[derive(Debug, Clone, Default)]
pub struct Live {
    pub deployment: Option<Deployment>,
    pub service: Option<Service>,
    pub service_account: Option<ServiceAccount>,
    pub disruption_budget: Option<PodDisruptionBudget>,
    pub network_policy: Option<NetworkPolicy>,
    pub config_maps: Vec<ConfigMap>,
    pub pods: Vec<Pod>,
    pub workers: LiveWorkers,
}

/// What is there for a job that runs in several pods.
#[derive(Debug, Clone, Default)]
pub struct LiveWorkers {
    pub pods: Vec<Pod>,
    pub deployment: Option<Deployment>,
    pub service: Option<Service>,
    pub disruption_budget: Option<PodDisruptionBudget>,
    pub network_policy: Option<NetworkPolicy>,
}

impl Stores {
    /// Waits until every watch has told once of all that is there. False when a watch has ended.
    pub async fn are_ready(&self) -> bool {
        let all = tokio::join!(
            self.deployments.wait_until_ready(),
            self.pods.wait_until_ready(),
            self.config_maps.wait_until_ready(),
            self.services.wait_until_ready(),
            self.service_accounts.wait_until_ready(),
            self.disruption_budgets.wait_until_ready(),
            self.network_policies.wait_until_ready(),
        );
        all.0.and(all.1).and(all.2).and(all.3).and(all.4).and(all.5).and(all.6).is_ok()
    }

    /// What is there of a job.
    pub fn of(&self, job: &StreamJobResource) -> Live {
        fn of_name<K>(store: &Store<K>, job: &StreamJobResource, name: &str) -> Option<K>
        where
            K: Resource<DynamicType = ()> + Clone + 'static,
        {
            let key = ObjectRef::<K>::new(name).within(&job.namespace().unwrap_or_default());
            store.get(&key).map(|object| (*object).clone())
        }
        fn named<K>(store: &Store<K>, job: &StreamJobResource) -> Option<K>
        where
            K: Resource<DynamicType = ()> + Clone + 'static,
        {
            of_name(store, job, &job.name_any())
        }
        fn labelled<K>(store: &Store<K>, job: &StreamJobResource, label: &str) -> Vec<K>
        where
            K: Resource<DynamicType = ()> + Clone + 'static,
        {
            let (name, namespace) = (job.name_any(), job.namespace());
            let belongs = |object: &K| object.namespace() == namespace && object.labels().get(label) == Some(&name);
            let mut found: Vec<K> = store.state_filter(belongs).iter().map(|object| (**object).clone()).collect();
            found.sort_by_key(ResourceExt::name_any);
            found
        }
        Live {
            deployment: named(&self.deployments, job),
            service: named(&self.services, job),
            service_account: named(&self.service_accounts, job),
            disruption_budget: named(&self.disruption_budgets, job),
            network_policy: named(&self.network_policies, job),
            config_maps: labelled(&self.config_maps, job, JOB_LABEL),
            pods: labelled(&self.pods, job, JOB_LABEL),
            workers: LiveWorkers {
                pods: labelled(&self.pods, job, WORKERS_LABEL),
                deployment: of_name(&self.deployments, job, &build::workers(job)),
                service: of_name(&self.services, job, &build::coordinators(job)),
                disruption_budget: of_name(&self.disruption_budgets, job, &build::workers(job)),
                network_policy: of_name(&self.network_policies, job, &build::workers(job)),
            },
        }
    }
}

impl Live {
    /// When somebody asked for new pods by `kubectl rollout restart`.
    pub fn restarted_at(&self) -> Option<&String> {
        let template = self.deployment.as_ref()?.spec.as_ref()?.template.metadata.as_ref()?;
        template.annotations.as_ref()?.get(RESTARTED_AT)
    }

    /// The revision that is rolled out.
    pub fn revision(&self) -> Option<u64> {
        self.rollout().map(|rollout| rollout.revision)
    }

    /// Kind and name of an object of the job's name that belongs to somebody else.
    pub fn foreign(&self, job: &StreamJobResource) -> Option<String> {
        let LiveWorkers { pods: _, deployment, service, disruption_budget, network_policy } = &self.workers;
        let metas = [
            ("Deployment", deployment.as_ref().map(|object| &object.metadata)),
            ("Service", service.as_ref().map(|object| &object.metadata)),
            ("PodDisruptionBudget", disruption_budget.as_ref().map(|object| &object.metadata)),
            ("NetworkPolicy", network_policy.as_ref().map(|object| &object.metadata)),
            ("Deployment", self.deployment.as_ref().map(|object| &object.metadata)),
            ("Service", self.service.as_ref().map(|object| &object.metadata)),
            ("ServiceAccount", self.service_account.as_ref().map(|object| &object.metadata)),
            ("PodDisruptionBudget", self.disruption_budget.as_ref().map(|object| &object.metadata)),
            ("NetworkPolicy", self.network_policy.as_ref().map(|object| &object.metadata)),
        ];
        let foreign = metas.into_iter().filter_map(|(kind, meta)| Some((kind, meta?)));
        let mut foreign = foreign.filter(|(_, meta)| foreign_owner(meta, job));
        foreign.next().map(|(kind, meta)| format!("{kind} `{}`", meta.name.as_deref().unwrap_or_default()))
    }

    /// Whether an object is missing or is not as `wanted`.
    fn drifted(&self, wanted: &Objects) -> bool {
        let map = self.config_maps.iter().find(|map| map.metadata.name == wanted.config_map.metadata.name);
        differs(&wanted.config_map, map)
            || differs(&wanted.service_account, self.service_account.as_ref())
            || differs(&wanted.service, self.service.as_ref())
            || differs(&wanted.disruption_budget, self.disruption_budget.as_ref())
            || differs(&wanted.network_policy, self.network_policy.as_ref())
            || differs(&wanted.deployment, self.deployment.as_ref())
            || wanted.workers.as_ref().is_some_and(|wanted| self.workers.drifted(wanted))
    }

    fn rollout(&self) -> Option<Rollout> {
        let deployment = self.deployment.as_ref()?;
        Some(Rollout {
            revision: revision(deployment.annotations()),
            digest: deployment.annotations().get(DIGEST).cloned().unwrap_or_default(),
            replicas: deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
        })
    }

    /// Job files that neither the Deployment nor a pod names, and workers of a job that has none any more. While a new
    /// version is on its way the one before may still have to start again, so nothing is an orphan then.
    fn orphans(&self, wanted_workers: bool) -> Vec<Orphan> {
        let Some(deployment) = &self.deployment else { return Vec::new() };
        let wanted = deployment.annotations().get(DIGEST);
        let rolled_out = deployment.status.as_ref().is_some_and(|status| {
            status.observed_generation == deployment.metadata.generation
                && status.replicas.unwrap_or(0) == status.updated_replicas.unwrap_or(0)
                && status.unavailable_replicas.unwrap_or(0) == 0
        });
        let settled = rolled_out && self.pods.iter().all(|pod| pod.annotations().get(DIGEST) == wanted);
        if !settled {
            return Vec::new();
        }
        let named = |map: &&ConfigMap| wanted.is_none_or(|digest| map.name_any().ends_with(&format!("-{digest}")));
        let files = self.config_maps.iter().filter(|map| !named(map)).map(ResourceExt::name_any);
        let mut orphans: Vec<Orphan> = files.map(Orphan::JobFile).collect();
        if !wanted_workers {
            orphans.extend(self.workers.orphans());
        }
        orphans
    }
}

impl LiveWorkers {
    fn drifted(&self, wanted: &WorkerObjects) -> bool {
        differs(&wanted.service, self.service.as_ref())
            || differs(&wanted.disruption_budget, self.disruption_budget.as_ref())
            || differs(&wanted.network_policy, self.network_policy.as_ref())
            || differs(&wanted.deployment, self.deployment.as_ref())
    }

    fn orphans(&self) -> impl Iterator<Item = Orphan> {
        let deployment = self.deployment.as_ref().map(|object| Orphan::Workers(object.name_any()));
        let budget = self.disruption_budget.as_ref().map(|object| Orphan::WorkersBudget(object.name_any()));
        let policy = self.network_policy.as_ref().map(|object| Orphan::WorkersPolicy(object.name_any()));
        let service = self.service.as_ref().map(|object| Orphan::Coordinators(object.name_any()));
        deployment.into_iter().chain(budget).chain(policy).chain(service)
    }
}

/// Reads the facts. `wanted` are the objects of the version that the spec asks for, as they would be under the revision
/// that is rolled out now.
pub async fn observe(
    job: &StreamJobResource,
    live: &Live,
    digest: &str,
    wanted: &Objects,
    coordinators: &dyn Coordinators,
    now: u64,
) -> Facts {
    let status = job.status.clone().unwrap_or_default();
    let refusal =
        build::document(job).check().err().map(|problems| Refusal::Spec(problems.to_string())).or_else(|| {
            let taken = live.foreign(job)?;
            Some(Refusal::NameTaken(format!("{taken} is there and does not belong to this StreamJob")))
        });
    Facts {
        now,
        has_finalizer: job.finalizers().iter().any(|finalizer| finalizer == FINALIZER),
        deleted_at: job.metadata.deletion_timestamp.as_ref().map(|at| at.0.as_second() as u64),
        deletion_deadline: job.spec.deletion_deadline.unwrap_or(DELETION_DEADLINE).millis() / 1000,
        on_delete: job.spec.on_delete,
        state: job.spec.state,
        refusal,
        digest: digest.to_owned(),
        rollout: live.rollout(),
        drifted: live.drifted(wanted),
        orphans: live.orphans(wanted.workers.is_some()),
        known_revision: status.revision,
        finished_revision: status.revision.filter(|_| status.phase == Some(JobPhase::Finished)),
        no_pods: live.deployment.as_ref().and_then(trouble::of_deployment),
        pods: join_all(live.pods.iter().map(|pod| look(pod, coordinators))).await,
        no_workers: live.workers.deployment.as_ref().and_then(trouble::of_deployment),
        workers: live.workers.pods.iter().filter_map(look_at_worker).collect(),
    }
}

async fn look(pod: &Pod, coordinators: &dyn Coordinators) -> PodFact {
    let status = pod.status.as_ref();
    let ip = status.and_then(|status| status.pod_ip.clone());
    let runs = status.and_then(|status| status.phase.as_deref()) == Some("Running");
    let lost = trouble::is_lost(pod);
    let ready = trouble::is_ready(pod);
    let job = match &ip {
        Some(ip) if runs && !lost => coordinators
            .status(ip)
            .await
            .inspect_err(|error| tracing::debug!(pod = pod.name_any(), ?error, "the job's API does not answer"))
            .ok(),
        _ => None,
    };
    PodFact {
        name: pod.name_any(),
        ip,
        revision: revision(pod.annotations()),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        lost,
        trouble: trouble::of(pod).or_else(|| (ready && job.is_none()).then(trouble::unresponsive)),
        last_end: trouble::last_end(pod),
        job,
    }
}

/// A worker's pod that does not run, and is to.
fn look_at_worker(pod: &Pod) -> Option<WorkerFact> {
    let trouble = trouble::of(pod).filter(|_| pod.metadata.deletion_timestamp.is_none())?;
    Some(WorkerFact { name: pod.name_any(), revision: revision(pod.annotations()), trouble })
}

fn revision(annotations: &BTreeMap<String, String>) -> u64 {
    annotations.get(REVISION).and_then(|revision| revision.parse().ok()).unwrap_or(0)
}
