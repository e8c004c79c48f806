//! What Kubernetes and the runtime make of a Deployment: pods, and in each a coordinator that takes the job when it may.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use serde_json::{Value, json};
use tidegate_crds::api::{JobStatus, Phase, StopPurpose, StopRequest};

use super::{ApiServer, JOB};
use crate::{
    build::{JOB_LABEL, REVISION},
    coordinator_client::{CoordinatorError, Coordinators},
};

/// The coordinators of all pods, by address.
#[derive(Debug, Clone, Default)]
pub struct Jobs {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    coordinators: BTreeMap<String, JobStatus>,
    /// Attempts that the log has.
    attempts: u64,
    pods: u64,
    stops: Vec<(String, StopPurpose)>,
}

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Every stop that was asked for.
    pub fn stops(&self) -> Vec<(String, StopPurpose)> {
        self.lock().stops.clone()
    }

    /// Changes what the coordinators say.
    pub fn say(&self, change: impl Fn(&mut JobStatus)) {
        self.lock().coordinators.values_mut().for_each(change);
    }

    /// No coordinator answers any more.
    pub fn fall_silent(&self) {
        self.lock().coordinators.clear();
    }

    /// How many coordinators run the job.
    pub fn running(&self) -> usize {
        self.lock().coordinators.values().filter(|job| job.phase == Phase::Running).count()
    }

    /// One step of everybody.
    pub fn play(&self, api: &ApiServer) {
        let deployment = api.get("deployments", JOB);
        let wanted = deployment.as_ref().map_or(0, |deployment| deployment["spec"]["replicas"].as_u64().unwrap_or(0));
        let template = deployment.as_ref().map(|deployment| deployment["spec"]["template"]["metadata"].clone());
        let revision = |object: &Value| object["metadata"]["annotations"][REVISION].clone();
        let pods = api.list("pods");
        let current = template.as_ref().map(|template| template["annotations"][REVISION].clone());
        let has_new = pods.iter().any(|pod| Some(revision(pod)) == current);
        let new_runs =
            pods.iter().any(|pod| Some(revision(pod)) == current && self.phase_of(pod) == Some(Phase::Running));
        for pod in &pods {
            let old = Some(revision(pod)) != current;
            if wanted == 0 || (old && new_runs) {
                self.remove(api, pod);
            }
        }
        if let Some(template) = template.filter(|_| wanted > 0 && !has_new) {
            self.add(api, &template, deployment.as_ref().unwrap());
        }
        self.step();
        Self::report(api);
    }

    fn phase_of(&self, pod: &Value) -> Option<Phase> {
        let ip = pod["status"]["podIP"].as_str()?;
        self.lock().coordinators.get(ip).map(|job| job.phase)
    }

    fn add(&self, api: &ApiServer, template: &Value, deployment: &Value) {
        let mut state = self.lock();
        state.pods += 1;
        let (name, ip) = (format!("{JOB}-{}", state.pods), format!("10.0.0.{}", state.pods));
        let revision = template["annotations"][REVISION].as_str().unwrap().parse().unwrap();
        state.coordinators.insert(ip.clone(), says(Phase::Claiming, revision, None));
        drop(state);
        api.create(
            "pods",
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {
                    "name": name, "labels": { JOB_LABEL: JOB }, "annotations": template["annotations"],
                    "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "Deployment", "name": JOB, "uid": deployment["metadata"]["uid"] }],
                },
                "status": { "phase": "Running", "podIP": ip },
            }),
        );
    }

    fn remove(&self, api: &ApiServer, pod: &Value) {
        self.lock().coordinators.remove(pod["status"]["podIP"].as_str().unwrap());
        api.delete("pods", pod["metadata"]["name"].as_str().unwrap());
    }

    /// The log's rules in small: a higher revision takes the job over, one that stops ends.
    fn step(&self) {
        let mut state = self.lock();
        let highest = state.coordinators.values().map(|job| job.revision).max();
        let mut attempts = state.attempts;
        for job in state.coordinators.values_mut() {
            match job.phase {
                Phase::Stopping => job.phase = Phase::Stopped,
                Phase::Running if Some(job.revision) < highest => job.phase = Phase::Stopped,
                Phase::Claiming if Some(job.revision) == highest => {
                    attempts += 1;
                    job.attempt = Some(attempts);
                    job.phase = Phase::Running;
                }
                _ => {}
            }
        }
        state.attempts = attempts;
    }

    /// What the Deployment's controller says of it.
    fn report(api: &ApiServer) {
        let Some(deployment) = api.get("deployments", JOB) else { return };
        let current = &deployment["spec"]["template"]["metadata"]["annotations"][REVISION];
        let pods = api.list("pods");
        let updated = pods.iter().filter(|pod| pod["metadata"]["annotations"][REVISION] == *current).count();
        let status = json!({
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": pods.len(), "updatedReplicas": updated, "unavailableReplicas": 0,
        });
        if deployment["status"] != status {
            api.change("deployments", JOB, json!({ "status": status }));
        }
    }

    /// Nothing more will happen by itself.
    pub fn is_settled(&self, api: &ApiServer) -> bool {
        let deployment = api.get("deployments", JOB);
        let wanted = deployment.map_or(0, |deployment| deployment["spec"]["replicas"].as_u64().unwrap_or(0));
        let moving = |job: &JobStatus| matches!(job.phase, Phase::Stopping | Phase::Claiming);
        api.list("pods").len() as u64 == wanted && !self.lock().coordinators.values().any(moving)
    }
}

/// What a coordinator says that has nothing to tell but its phase.
pub fn says(phase: Phase, revision: u64, attempt: Option<u64>) -> JobStatus {
    JobStatus { phase, attempt, ..JobStatus::new(JOB, revision, 1, "s3://checkpoints/shop.sales") }
}

#[async_trait]
impl Coordinators for Jobs {
    async fn status(&self, pod_ip: &str) -> Result<JobStatus, CoordinatorError> {
        self.lock().coordinators.get(pod_ip).cloned().ok_or_else(|| CoordinatorError::unreachable(pod_ip))
    }

    async fn stop(&self, pod_ip: &str, request: &StopRequest) -> Result<(), CoordinatorError> {
        let mut state = self.lock();
        state.stops.push((pod_ip.to_owned(), request.purpose));
        match state.coordinators.get_mut(pod_ip) {
            Some(job) if job.phase == Phase::Running => job.phase = Phase::Stopping,
            Some(job) => job.phase = Phase::Stopped,
            None => return Err(CoordinatorError::unreachable(pod_ip)),
        }
        Ok(())
    }
}
