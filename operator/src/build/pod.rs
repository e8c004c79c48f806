//! The pod: one container without rights, which gets its secrets from Kubernetes and writes nothing to disk.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction,
        ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile,
        SecretKeySelector, SecurityContext, Toleration, Volume, VolumeMount,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use kube::ResourceExt;
use tidegate_crds::{SecretRef, StreamJobResource, api};

use super::{
    Defaults,
    config_map::JOB_FILE,
    names::{self, DIGEST, REVISION},
};

/// The runtime's user in its image.
const USER: i64 = 65_532;
/// For the last checkpoint and its output, see the runtime's stop.
const GRACE_SECONDS: i64 = 60;
/// A node that does not answer is left after so long: the checkpoint log makes that safe.
const NODE_PATIENCE_SECONDS: i64 = 5;
const CONTAINER: &str = "tidegate";
const FOLDER: &str = "/etc/tidegate";

/// The pod of a job, but for what differs from revision to revision.
pub fn template(job: &StreamJobResource, defaults: &Defaults) -> PodTemplateSpec {
    let user = job.spec.template.clone().unwrap_or_default();
    let mut labels = user.labels;
    labels.extend(names::labels(job));
    let mut tolerations = vec![lost("node.kubernetes.io/not-ready"), lost("node.kubernetes.io/unreachable")];
    tolerations.extend(user.tolerations);
    let not_empty = |map: BTreeMap<String, String>| Some(map).filter(|map| !map.is_empty());
    let spec = PodSpec {
        service_account_name: Some(user.service_account.unwrap_or_else(|| job.name_any())),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        node_selector: not_empty(user.node_selector),
        affinity: user.affinity,
        tolerations: Some(tolerations),
        topology_spread_constraints: Some(user.topology_spread_constraints).filter(|list| !list.is_empty()),
        image_pull_secrets: Some(user.image_pull_secrets).filter(|list| !list.is_empty()),
        priority_class_name: user.priority_class,
        containers: vec![container(job, defaults, user.resources, user.env)],
        ..PodSpec::default()
    };
    let metadata =
        ObjectMeta { labels: Some(labels), annotations: not_empty(user.annotations), ..ObjectMeta::default() };
    PodTemplateSpec { metadata: Some(metadata), spec: Some(spec) }
}

/// Adds what differs from revision to revision.
pub fn of_revision(mut template: PodTemplateSpec, config_map: &str, revision: u64, digest: &str) -> PodTemplateSpec {
    let annotations = template.metadata.get_or_insert_default().annotations.get_or_insert_default();
    annotations.insert(REVISION.to_owned(), revision.to_string());
    annotations.insert(DIGEST.to_owned(), digest.to_owned());
    let spec = template.spec.get_or_insert_default();
    let source = ConfigMapVolumeSource { name: config_map.to_owned(), ..ConfigMapVolumeSource::default() };
    spec.volumes = Some(vec![Volume { name: "job".to_owned(), config_map: Some(source), ..Volume::default() }]);
    for container in &mut spec.containers {
        container.env.get_or_insert_default().push(variable("TIDEGATE_REVISION", revision.to_string()));
    }
    template
}

fn container(
    job: &StreamJobResource,
    defaults: &Defaults,
    resources: Option<ResourceRequirements>,
    user: Vec<EnvVar>,
) -> Container {
    Container {
        name: CONTAINER.to_owned(),
        image: Some(job.spec.image.clone().unwrap_or_else(|| defaults.runtime_image.clone())),
        image_pull_policy: defaults.pull_policy.clone(),
        args: Some(vec!["run".to_owned(), format!("{FOLDER}/{JOB_FILE}")]),
        env: Some(environment(job, user)),
        ports: Some(vec![ContainerPort {
            name: Some("http".to_owned()),
            container_port: i32::from(api::PORT),
            ..ContainerPort::default()
        }]),
        resources: Some(resources.unwrap_or_else(default_resources)),
        volume_mounts: Some(vec![VolumeMount {
            name: "job".to_owned(),
            mount_path: FOLDER.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        }]),
        liveness_probe: Some(probe("/livez", 10, 3)),
        readiness_probe: Some(probe("/readyz", 1, 1)),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            privileged: Some(false),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

/// What a job asks for that says nothing of it: enough to start, and no limit that would kill it.
fn default_resources() -> ResourceRequirements {
    let request = |name: &str, quantity: &str| (name.to_owned(), Quantity(quantity.to_owned()));
    ResourceRequirements {
        requests: Some(BTreeMap::from([request("cpu", "250m"), request("memory", "256Mi")])),
        ..ResourceRequirements::default()
    }
}

/// The user's variables first, so that they can't take the place of the operator's.
fn environment(job: &StreamJobResource, user: Vec<EnvVar>) -> Vec<EnvVar> {
    let mut variables = user;
    variables.retain(|variable| !variable.name.starts_with("TIDEGATE_"));
    variables.extend([
        field("POD_IP", "status.podIP"),
        field("TIDEGATE_POD_NAME", "metadata.name"),
        variable("TIDEGATE_LISTEN", format!("0.0.0.0:{}", api::PORT)),
        variable("TIDEGATE_ADVERTISE", format!("$(POD_IP):{}", api::PORT)),
        variable("TIDEGATE_STAND_BY", "true".to_owned()),
        variable("TIDEGATE_SUPERVISED", "true".to_owned()),
        variable("TIDEGATE_TERMINATION_LOG", "/dev/termination-log".to_owned()),
        variable("TIDEGATE_LOG_FORMAT", "json".to_owned()),
    ]);
    let secrets: BTreeMap<String, &SecretRef> =
        job.spec.secrets().into_iter().map(|secret| (secret.variable(), secret)).collect();
    variables.extend(secrets.into_iter().map(|(name, secret)| {
        let key = SecretKeySelector {
            name: secret.secret_key_ref.name.clone(),
            key: secret.secret_key_ref.key.clone(),
            optional: None,
        };
        EnvVar {
            name,
            value_from: Some(EnvVarSource { secret_key_ref: Some(key), ..EnvVarSource::default() }),
            value: None,
        }
    }));
    variables
}

fn variable(name: &str, value: String) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value), value_from: None }
}

fn field(name: &str, path: &str) -> EnvVar {
    let source = ObjectFieldSelector { field_path: path.to_owned(), api_version: Some("v1".to_owned()) };
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(source), ..EnvVarSource::default() }),
    }
}

fn lost(taint: &str) -> Toleration {
    Toleration {
        key: Some(taint.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        toleration_seconds: Some(NODE_PATIENCE_SECONDS),
        value: None,
    }
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    let get = HTTPGetAction {
        path: Some(path.to_owned()),
        port: IntOrString::String("http".to_owned()),
        ..HTTPGetAction::default()
    };
    Probe {
        http_get: Some(get),
        period_seconds: Some(period),
        failure_threshold: Some(failures),
        timeout_seconds: Some(3.min(period.max(1))),
        ..Probe::default()
    }
}
