//! Carries a decision out: every write to Kubernetes but the status is here.
//!
//! Objects are applied by the server (server-side apply) under one manager of fields, in an order in which each finds
//! what it needs. The Deployment carries the version of it that the decision was made from, so a decision from an old
//! view, or of an operator that has lost its lease, is refused as a conflict.

use std::fmt::Debug;

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Secret, Service},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use thiserror::Error;
use tidegate_crds::StreamJobResource;

use super::{
    drift,
    facts::{Facts, Orphan, PodFact, Refusal},
    observe::{Live, LiveWorkers},
    plan::Decision,
};
use crate::{
    build::{self, APPLIED, FINALIZER, MANAGER, Objects, WorkerObjects, foreign_owner},
    coordinator_client::{CoordinatorError, Coordinators},
};

#[derive(Debug, Error)]
pub enum ApplyError {
    #[error("failed to {action} {kind} `{name}`")]
    Write {
        action: &'static str,
        kind: String,
        name: String,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("{kind} `{name}` is there and does not belong to this StreamJob")]
    Foreign { kind: String, name: String },
    #[error("{kind} `{name}` is there, and the watch has not told of it yet")]
    Unseen { kind: String, name: String },
    #[error("failed to write an object as JSON")]
    Json(#[from] serde_json::Error),
    #[error("failed to make the certificates of the job's processes")]
    Certificates(#[from] rcgen::Error),
    #[error(transparent)]
    Coordinator(#[from] CoordinatorError),
}

/// One job, and the way to change its objects.
pub struct Hands<'a> {
    pub client: &'a Client,
    pub coordinators: &'a dyn Coordinators,
    pub job: &'a StreamJobResource,
}

impl Hands<'_> {
    /// Does what was decided; `objects` are those of the decision's revision.
    pub async fn carry_out(
        &self,
        decision: &Decision,
        facts: &Facts,
        live: &Live,
        objects: Option<Objects>,
    ) -> Result<(), ApplyError> {
        match decision {
            Decision::Protect => self.set_finalizers(true).await,
            Decision::LetGo(_) => self.set_finalizers(false).await,
            Decision::Apply { .. } => match objects {
                Some(objects) => Box::pin(self.apply_all(objects, live)).await,
                None => Ok(()),
            },
            Decision::Scale { replicas } => self.scale(*replicas, live).await,
            Decision::Stop { pods, request } => {
                for PodFact { ip, .. } in facts.pods.iter().filter(|pod| pods.contains(&pod.name)) {
                    if let Some(ip) = ip {
                        self.coordinators.stop(ip, request).await?;
                    }
                }
                Ok(())
            }
            Decision::CleanUp(orphans) => {
                for orphan in orphans {
                    self.delete_orphan(orphan).await?;
                }
                Ok(())
            }
            Decision::Refuse(_) | Decision::Wait | Decision::Rest => Ok(()),
        }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.job.namespace().unwrap_or_default())
    }

    async fn set_finalizers(&self, present: bool) -> Result<(), ApplyError> {
        let mut finalizers = self.job.finalizers().to_vec();
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        if present {
            finalizers.push(FINALIZER.to_owned());
        }
        // With the version that it was read at: another controller may have changed the list.
        let patch = json!({ "metadata": { "finalizers": finalizers, "resourceVersion": self.job.resource_version() } });
        let api = self.api::<StreamJobResource>();
        let patched = api.patch(&self.job.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await;
        match patched {
            Err(kube::Error::Api(status)) if !present && status.code == 404 => Ok(()),
            other => {
                other.map(drop).map_err(failed::<StreamJobResource>("change the finalizers of", self.job.name_any()))
            }
        }
    }

    async fn apply_all(&self, objects: Objects, live: &Live) -> Result<(), ApplyError> {
        let Objects { config_map, service_account, service, disruption_budget, network_policy, deployment, workers } =
            objects;
        let map = live.config_maps.iter().find(|map| map.metadata.name == config_map.metadata.name);
        self.apply(config_map, map).await?;
        self.apply(service_account, live.service_account.as_ref()).await?;
        self.apply(service, live.service.as_ref()).await?;
        self.apply(disruption_budget, live.disruption_budget.as_ref()).await?;
        self.apply(network_policy, live.network_policy.as_ref()).await?;
        if let Some(workers) = workers {
            self.apply_workers(workers, &live.workers).await?;
        }
        // Last, since it says which version is rolled out.
        self.apply(deployment, live.deployment.as_ref()).await
    }

    async fn apply_workers(&self, workers: WorkerObjects, live: &LiveWorkers) -> Result<(), ApplyError> {
        let WorkerObjects { service, disruption_budget, network_policy, deployment } = workers;
        if live.deployment.is_none() {
            self.make_certificates().await?;
        }
        self.apply(service, live.service.as_ref()).await?;
        self.apply(disruption_budget, live.disruption_budget.as_ref()).await?;
        self.apply(network_policy, live.network_policy.as_ref()).await?;
        self.apply(deployment, live.deployment.as_ref()).await
    }

    /// Once: whoever has made them before, they stay. The operator has no right to read a Secret.
    async fn make_certificates(&self) -> Result<(), ApplyError> {
        let Some(secret) = build::certificates(self.job)? else { return Ok(()) };
        match self.api::<Secret>().create(&PostParams::default(), &secret).await {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            other => other.map(drop).map_err(failed::<Secret>("create", secret.name_any())),
        }
    }

    /// Applies one object if it is not as it should be.
    async fn apply<K>(&self, wanted: K, live: Option<&K>) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned,
    {
        if !drift::differs(&wanted, live) {
            return Ok(());
        }
        let (api, name) = (self.api::<K>(), wanted.name_any());
        if live.is_none() {
            // The watch may be behind: what is there under this name is somebody else's, or the decision was made from
            // an old view.
            let there = api.get_metadata_opt(&name).await.map_err(failed::<K>("read", name.clone()))?;
            if let Some(object) = there {
                let (kind, foreign) = (K::kind(&()).into_owned(), foreign_owner(&object.metadata, self.job));
                return Err(if foreign {
                    ApplyError::Foreign { kind, name }
                } else {
                    ApplyError::Unseen { kind, name }
                });
            }
        }
        let mut object = serde_json::to_value(&wanted)?;
        let digest = drift::digest(&object);
        object["apiVersion"] = Value::from(K::api_version(&()));
        object["kind"] = Value::from(K::kind(&()));
        object["metadata"]["annotations"][APPLIED] = Value::from(digest);
        if let Some(live) = live {
            object["metadata"]["resourceVersion"] = json!(live.resource_version());
        }
        let parameters = PatchParams::apply(MANAGER).force();
        api.patch(&name, &parameters, &Patch::Apply(object)).await.map(drop).map_err(failed::<K>("apply", name))
    }

    /// The job's pods, all or none. Workers first: whoever scales the job last has done it all.
    async fn scale(&self, replicas: i32, live: &Live) -> Result<(), ApplyError> {
        if replicas == 0 {
            self.scale_one(0, live.workers.deployment.as_ref()).await?;
        }
        self.scale_one(replicas, live.deployment.as_ref()).await
    }

    async fn scale_one(&self, replicas: i32, deployment: Option<&Deployment>) -> Result<(), ApplyError> {
        let Some(deployment) = deployment else { return Ok(()) };
        let (api, name) = (self.api::<Deployment>(), deployment.name_any());
        let patch = json!({
            "metadata": { "resourceVersion": deployment.resource_version() },
            "spec": { "replicas": replicas },
        });
        let scaled = api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
        scaled.map(drop).map_err(failed::<Deployment>("scale", name))
    }

    async fn delete_orphan(&self, orphan: &Orphan) -> Result<(), ApplyError> {
        match orphan {
            Orphan::JobFile(name) => self.delete::<ConfigMap>(name).await,
            Orphan::Workers(name) => self.delete::<Deployment>(name).await,
            Orphan::WorkersBudget(name) => self.delete::<PodDisruptionBudget>(name).await,
            Orphan::WorkersPolicy(name) => self.delete::<NetworkPolicy>(name).await,
            Orphan::Coordinators(name) => self.delete::<Service>(name).await,
        }
    }

    async fn delete<K>(&self, name: &str) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        match self.api::<K>().delete(name, &DeleteParams::background()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop).map_err(failed::<K>("delete", name.to_owned())),
        }
    }
}

fn failed<K: Resource<DynamicType = ()>>(action: &'static str, name: String) -> impl FnOnce(kube::Error) -> ApplyError {
    move |source| ApplyError::Write { action, kind: K::kind(&()).into_owned(), name, source: Box::new(source) }
}

impl ApplyError {
    /// What the user has to change, if trying again is of no use; the error itself otherwise.
    pub fn refusal(self) -> Result<Refusal, Self> {
        match &self {
            Self::Foreign { .. } => Ok(Refusal::NameTaken(self.to_string())),
            Self::Write { source, .. } => match source.as_ref() {
                kube::Error::Api(status) if status.code == 422 => Ok(Refusal::Rejected(status.message.clone())),
                _ => Err(self),
            },
            _ => Err(self),
        }
    }

    /// A short name for the metric of errors.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Write { source, .. } => match source.as_ref() {
                kube::Error::Api(status) if status.code == 409 => "conflict",
                kube::Error::Api(status) if status.code == 403 => "forbidden",
                kube::Error::Api(status) if status.code == 422 => "invalid",
                _ => "api",
            },
            Self::Unseen { .. } => "conflict",
            Self::Foreign { .. } => "name_taken",
            Self::Json(_) => "json",
            Self::Certificates(_) => "certificates",
            Self::Coordinator(_) => "coordinator",
        }
    }
}
