//! The watches, and what happens when a reconcile fails.
//!
//! One controller runs for all namespaces, or one for each that was named. It looks at a job when its spec changes, when
//! an object that belongs to it does, and when the reconcile before asked for it. Everything that belongs to jobs is kept
//! in memory by the watches, so that a look at a job that is as it should be costs the API server nothing.

use std::{fmt::Debug, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, future::ready};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        Config, Controller, Predicate, PredicateConfig, WatchStreamExt,
        controller::Action,
        predicates,
        reflector::{self, ObjectRef, Store},
        utils::Backoff,
        watcher::{self, DefaultBackoff, watcher},
    },
};
use serde::de::DeserializeOwned;

use crate::{
    backoff::Failures,
    build::MANAGER,
    reconcile::{Context, ReconcileError, Stores, Watched, reconcile},
};

/// Changes that come together are looked at together.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// Seconds after which a watch is begun anew: one that was opened while the API server had lost its storage may stay
/// silent for ever.
const WATCH_TIMEOUT: u32 = 30;

/// Between two tries of a watch.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Where a controller looks.
#[derive(Debug, Clone)]
pub enum Scope {
    Everywhere,
    Namespace(String),
}

/// A controller that is ready to run.
pub struct Watches {
    controller: Controller<Watched>,
    pub jobs: Store<Watched>,
    pub stores: Stores,
}

impl Watches {
    pub fn new(client: &Client, scope: &Scope) -> Self {
        let (jobs, writer) = reflector::store();
        let stream = watcher(api::<Watched>(client, scope), watched())
            .backoff(Pauses::default())
            .reflect(writer)
            .applied_objects()
            .predicate_filter(predicates::generation.combine(predicates::finalizers), PredicateConfig::default());
        let stream = undisturbed(stream);
        let controller = Controller::for_stream(stream, jobs.clone());
        let (deployments, stream) = owned(client, scope);
        let controller = controller.owns_stream(stream);
        let (config_maps, stream) = owned(client, scope);
        let controller = controller.owns_stream(stream);
        let (services, stream) = owned(client, scope);
        let controller = controller.owns_stream(stream);
        let (service_accounts, stream) = owned(client, scope);
        let controller = controller.owns_stream(stream);
        let (disruption_budgets, stream) = owned(client, scope);
        let controller = controller.owns_stream(stream);
        let (network_policies, stream) = owned(client, scope);
        let controller = controller.owns_stream(stream);
        // Pods belong to a ReplicaSet, and name their job by a label.
        let (pods, stream) = owned(client, scope);
        let controller = controller.watches_stream(stream, job_of_pod);
        let stores =
            Stores { deployments, pods, config_maps, services, service_accounts, disruption_budgets, network_policies };
        Self { controller, jobs, stores }
    }

    /// Runs until `stop`, and what is under way then to its end.
    pub async fn run(
        self,
        context: Arc<Context>,
        concurrency: u16,
        stop: impl Future<Output = ()> + Send + Sync + 'static,
    ) {
        let backoff = Arc::new(Failures::default());
        let done = backoff.clone();
        let policy = move |job: Arc<Watched>, error: &ReconcileError, context: Arc<Context>| {
            context.metrics.failed(error.reason());
            let name = ObjectRef::from_obj(job.as_ref()).to_string();
            if error.is_conflict() {
                tracing::debug!(job = name, "the view was old: looking again");
                return Action::requeue(Duration::from_millis(200));
            }
            let pause = backoff.failed(&name);
            tracing::warn!(job = name, error = chain(error), ?pause, "failed; trying again");
            Action::requeue(pause)
        };
        let config = Config::default().debounce(DEBOUNCE).concurrency(concurrency);
        self.controller
            .with_config(config)
            .graceful_shutdown_on(stop)
            .run(reconcile, policy, context)
            .for_each(|result| {
                if let Ok((job, _)) = &result {
                    done.succeeded(&job.to_string());
                }
                ready(())
            })
            .await;
    }
}

fn api<K>(client: &Client, scope: &Scope) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match scope {
        Scope::Everywhere => Api::all(client.clone()),
        Scope::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
    }
}

fn watched() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_TIMEOUT)
}

/// Watches the objects of a kind that the operator has made, without what Kubernetes notes about who wrote which field.
fn owned<K>(
    client: &Client,
    scope: &Scope,
) -> (Store<K>, impl Stream<Item = Result<K, watcher::Error>> + Send + 'static)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store();
    let config = watched().labels(&format!("app.kubernetes.io/managed-by={MANAGER}"));
    let stream = watcher(api::<K>(client, scope), config)
        .backoff(Pauses::default())
        .modify(|object| object.meta_mut().managed_fields = None)
        .reflect(writer)
        .touched_objects();
    (store, undisturbed(stream))
}

/// Tells of a failed watch here and not to the controller, which would pause all of them for each failure of one: after an
/// outage, for minutes. Each watch has pauses of its own.
fn undisturbed<K>(
    stream: impl Stream<Item = Result<K, watcher::Error>> + Send + 'static,
) -> impl Stream<Item = Result<K, watcher::Error>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Send + 'static,
{
    stream.filter_map(|watched| {
        if let Err(error) = &watched {
            tracing::warn!(kind = %K::kind(&()), error = chain(error), "a watch has failed and begins anew");
        }
        ready(watched.ok().map(Ok))
    })
}

/// Kubernetes' own pauses after a failed watch, but none so long that people ask why nothing happens.
#[derive(Default)]
struct Pauses(DefaultBackoff);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|pause| pause.min(LONGEST_PAUSE))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0.reset();
    }
}

fn job_of_pod(pod: k8s_openapi::api::core::v1::Pod) -> Option<ObjectRef<Watched>> {
    let labels = pod.labels();
    let name = labels.get(crate::build::JOB_LABEL).or_else(|| labels.get(crate::build::WORKERS_LABEL))?;
    Some(ObjectRef::new(name).within(&pod.namespace()?))
}

/// An error with all its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
