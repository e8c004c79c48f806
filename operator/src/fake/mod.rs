//! A cluster without machines, for tests: an API server that keeps objects as the real one does, and what follows from
//! them (pods of a Deployment, a coordinator in each pod), one step at a time.
//!
//! The API server is honest in what the operator rests on: patches with an old resource version are conflicts, an apply
//! makes what is missing, a deletion waits for finalizers and takes what belongs to the object with it. It notes every
//! write, and can die after any of them: every later call fails, as for an operator that was killed.

mod api_server;
mod jobs;

pub use api_server::ApiServer;
pub use jobs::{Jobs, says};

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    core::DeserializeGuard,
    runtime::{
        reflector::{self, Store},
        watcher::Event,
    },
};
use serde_json::{Value, json};
use tidegate_crds::StreamJobResource;

use crate::{
    build::Defaults,
    metrics::Metrics,
    reconcile::{Context, ReconcileError, Stores, reconcile, reporter},
};

pub const NAMESPACE: &str = "shop";
pub const JOB: &str = "sales";

/// The cluster, and who works in it.
#[derive(Debug, Clone, Default)]
pub struct Fake {
    pub api: ApiServer,
    pub jobs: Jobs,
}

impl Fake {
    /// A cluster with one `StreamJob`, as a user has just applied it.
    pub fn with_job() -> Self {
        let fake = Self::default();
        fake.api.create("streamjobs", stream_job());
        fake
    }

    /// What an operator sees that starts now.
    fn context(&self) -> Arc<Context> {
        let client = self.api.client();
        let stores = Stores {
            deployments: self.store("deployments"),
            pods: self.store("pods"),
            config_maps: self.store("configmaps"),
            services: self.store("services"),
            service_accounts: self.store("serviceaccounts"),
            disruption_budgets: self.store("poddisruptionbudgets"),
            network_policies: self.store("networkpolicies"),
        };
        Arc::new(Context {
            reporter: reporter("operator-0"),
            client,
            stores,
            coordinators: Arc::new(self.jobs.clone()),
            metrics: Metrics::new(),
            defaults: Defaults { runtime_image: "localhost/tidegate:1".into(), pull_policy: None },
            poll_interval: Duration::from_secs(5),
            status_interval: 30,
        })
    }

    /// What an operator sees whose watches have stopped before the newest change of the Deployment, or before it was
    /// made.
    pub fn stale_context(&self, knows_the_deployment: bool) -> Arc<Context> {
        let context = self.context();
        let (deployments, mut writer) = reflector::store();
        writer.apply_watcher_event(&Event::Init);
        if knows_the_deployment {
            let mut old: Deployment = serde_json::from_value(self.api.get("deployments", JOB).unwrap()).unwrap();
            old.metadata.resource_version = Some("1".into());
            writer.apply_watcher_event(&Event::InitApply(old));
        }
        writer.apply_watcher_event(&Event::InitDone);
        let stores = Stores { deployments, ..context.stores.clone() };
        let Context { client, reporter, coordinators, metrics, defaults, poll_interval, status_interval, .. } =
            Arc::into_inner(context).unwrap();
        Arc::new(Context { client, stores, coordinators, reporter, metrics, defaults, poll_interval, status_interval })
    }

    fn store<K>(&self, kind: &str) -> Store<K>
    where
        K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + 'static,
    {
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&Event::Init);
        for object in self.api.list(kind) {
            writer.apply_watcher_event(&Event::InitApply(serde_json::from_value(object).unwrap()));
        }
        writer.apply_watcher_event(&Event::InitDone);
        store
    }

    pub fn job(&self) -> Option<StreamJobResource> {
        self.api.get("streamjobs", JOB).map(|object| serde_json::from_value(object).unwrap())
    }

    /// One reconcile of an operator that has just started.
    pub async fn reconcile(&self) -> Result<(), ReconcileError> {
        let Some(job) = self.job() else { return Ok(()) };
        reconcile(Arc::new(DeserializeGuard(Ok(job))), self.context()).await.map(drop)
    }

    /// Lets Kubernetes and the pods do what they would, one step.
    pub fn play(&self) {
        self.jobs.play(&self.api);
    }

    /// Reconciles until nothing is written any more.
    pub async fn settle(&self) {
        let mut quiet = 0;
        for _ in 0..60 {
            let before = self.api.writes().len();
            self.reconcile().await.unwrap();
            self.play();
            // Once more: what was played last is yet to be seen.
            let is_quiet = self.api.writes().len() == before && self.jobs.is_settled(&self.api);
            quiet = if is_quiet { quiet + 1 } else { 0 };
            if quiet == 2 {
                return;
            }
        }
        panic!("it does not settle: {:#?}", self.api.writes());
    }
}

/// A small job, as the API server would store it.
pub fn stream_job() -> Value {
    json!({
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "StreamJob",
        "metadata": { "name": JOB, "namespace": NAMESPACE },
        "spec": {
            "sources": [{
                "name": "orders",
                "kafka": { "bootstrapServers": "kafka:9092", "topic": "orders" },
                "schema": [{ "name": "id", "type": "bigint" }],
            }],
            "sql": "INSERT INTO out SELECT id FROM orders",
            "sinks": [{ "name": "out", "kafka": { "bootstrapServers": "kafka:9092", "topic": "out" } }],
            "checkpoint": { "storage": { "s3": {
                "bucket": "checkpoints",
                "accessKeyId": { "secretKeyRef": { "name": "s3", "key": "id" } },
            } } },
        },
    })
}
