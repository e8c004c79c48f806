//! A pod: one container without rights, which gets its secrets from Kubernetes and writes to disk only what goes with the
//! pod.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
        HTTPGetAction, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements,
        SeccompProfile, SecretKeySelector, SecretVolumeSource, SecurityContext, Toleration, TopologySpreadConstraint,
        Volume, VolumeMount,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use kube::ResourceExt;
use tidegate_crds::{SecretRef, StreamJobResource, api};

use super::{
    Defaults,
    config_map::JOB_FILE,
    names::{self, DIGEST, JOB_LABEL, REVISION},
};

/// The runtime's user in its image.
const USER: i64 = 65_532;
/// For the last checkpoint and its output, see the runtime's stop.
const GRACE_SECONDS: i64 = 60;
/// A node that does not answer is left after so long: the checkpoint log makes that safe.
const NODE_PATIENCE_SECONDS: i64 = 5;
const CONTAINER: &str = "tidegate";
const FOLDER: &str = "/etc/tidegate";
const CERTIFICATES: &str = "/etc/tidegate-tls";
/// Where state on the local disk is kept.
const LOCAL: &str = "/var/lib/tidegate";

/// What a pod of a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Whole,
    /// What `workers` do not.
    Coordinator {
        workers: u32,
    },
    Worker {
        slots: u32,
    },
}

/// The pod of a job, but for what differs from revision to revision.
pub fn template(job: &StreamJobResource, role: Role, defaults: &Defaults) -> PodTemplateSpec {
    let user = job.spec.template.clone().unwrap_or_default();
    let mut labels = user.labels;
    labels.extend(names::labels(job));
    let mut spread = user.topology_spread_constraints;
    if let Role::Worker { .. } = role {
        // The job's own label selects its coordinator.
        labels.retain(|label, _| label != JOB_LABEL);
        labels.extend(names::worker_selector(job));
        if spread.is_empty() {
            spread.push(over_nodes(job));
        }
    }
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
        topology_spread_constraints: Some(spread).filter(|list| !list.is_empty()),
        image_pull_secrets: Some(user.image_pull_secrets).filter(|list| !list.is_empty()),
        priority_class_name: user.priority_class,
        containers: vec![container(job, role, defaults, user.resources, user.env)],
        volumes: Some(volumes(job, role)),
        ..PodSpec::default()
    };
    let metadata =
        ObjectMeta { labels: Some(labels), annotations: not_empty(user.annotations), ..ObjectMeta::default() };
    PodTemplateSpec { metadata: Some(metadata), spec: Some(spec) }
}

/// Adds what differs from revision to revision.
pub fn of_revision(
    mut template: PodTemplateSpec,
    job: &StreamJobResource,
    role: Role,
    config_map: &str,
    revision: u64,
    digest: &str,
) -> PodTemplateSpec {
    let annotations = template.metadata.get_or_insert_default().annotations.get_or_insert_default();
    if !matches!(role, Role::Worker { .. }) {
        // Workers serve every revision of their version.
        annotations.insert(REVISION.to_owned(), revision.to_string());
    }
    annotations.insert(DIGEST.to_owned(), digest.to_owned());
    let spec = template.spec.get_or_insert_default();
    let source = ConfigMapVolumeSource { name: config_map.to_owned(), ..ConfigMapVolumeSource::default() };
    let volumes = spec.volumes.get_or_insert_default();
    volumes.push(Volume { name: "job".to_owned(), config_map: Some(source), ..Volume::default() });
    if let Role::Coordinator { .. } = role {
        spec.hostname = Some(names::coordinator_host(digest));
        spec.subdomain = Some(names::coordinators(job));
    }
    for container in &mut spec.containers {
        let variables = container.env.get_or_insert_default();
        variables.push(match role {
            Role::Whole | Role::Coordinator { .. } => variable("TIDEGATE_REVISION", revision.to_string()),
            Role::Worker { .. } => variable("TIDEGATE_COORDINATOR", coordinator(job, digest)),
        });
    }
    template
}

/// Where the workers of a version find their coordinator.
fn coordinator(job: &StreamJobResource, digest: &str) -> String {
    let (host, domain) = (names::coordinator_host(digest), names::coordinators(job));
    format!("{host}.{domain}.{}.svc:{}", job.namespace().unwrap_or_default(), api::WORKERS_PORT)
}

fn over_nodes(job: &StreamJobResource) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(LabelSelector {
            match_labels: Some(names::worker_selector(job)),
            ..LabelSelector::default()
        }),
        ..TopologySpreadConstraint::default()
    }
}

fn volumes(job: &StreamJobResource, role: Role) -> Vec<Volume> {
    let certificates = (role != Role::Whole).then(|| certificates(job));
    // Nothing in it is needed by another pod, or after this one.
    let folder = EmptyDirVolumeSource::default();
    let local =
        runs_subtasks(role).then(|| Volume { name: "local".to_owned(), empty_dir: Some(folder), ..Volume::default() });
    certificates.into_iter().chain(local).collect()
}

fn runs_subtasks(role: Role) -> bool {
    !matches!(role, Role::Coordinator { .. })
}

fn certificates(job: &StreamJobResource) -> Volume {
    let secret = SecretVolumeSource { secret_name: Some(names::certificates(job)), ..SecretVolumeSource::default() };
    Volume { name: "tls".to_owned(), secret: Some(secret), ..Volume::default() }
}

fn mount(name: &str, folder: &str) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: folder.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort { name: Some(name.to_owned()), container_port: i32::from(number), ..ContainerPort::default() }
}

fn container(
    job: &StreamJobResource,
    role: Role,
    defaults: &Defaults,
    resources: Option<ResourceRequirements>,
    user: Vec<EnvVar>,
) -> Container {
    let (command, other_port) = match role {
        Role::Whole => ("run", None),
        Role::Coordinator { .. } => ("coordinator", Some(port("workers", api::WORKERS_PORT))),
        Role::Worker { .. } => ("worker", Some(port("exchange", api::EXCHANGE_PORT))),
    };
    let mut ports = vec![port("http", api::PORT)];
    ports.extend(other_port);
    let mut mounts = vec![mount("job", FOLDER)];
    mounts.extend((role != Role::Whole).then(|| mount("tls", CERTIFICATES)));
    mounts.extend(runs_subtasks(role).then(|| VolumeMount { read_only: None, ..mount("local", LOCAL) }));
    Container {
        name: CONTAINER.to_owned(),
        image: Some(job.spec.image.clone().unwrap_or_else(|| defaults.runtime_image.clone())),
        image_pull_policy: defaults.pull_policy.clone(),
        args: Some(vec![command.to_owned(), format!("{FOLDER}/{JOB_FILE}")]),
        env: Some(environment(job, role, user)),
        ports: Some(ports),
        resources: Some(resources.filter(|_| runs_subtasks(role)).unwrap_or_else(default_resources)),
        volume_mounts: Some(mounts),
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
fn environment(job: &StreamJobResource, role: Role, user: Vec<EnvVar>) -> Vec<EnvVar> {
    let mut variables = user;
    variables.retain(|variable| !variable.name.starts_with("TIDEGATE_"));
    variables.extend([
        field("POD_IP", "status.podIP"),
        field("TIDEGATE_POD_NAME", "metadata.name"),
        variable("TIDEGATE_LISTEN", format!("0.0.0.0:{}", api::PORT)),
        variable("TIDEGATE_TERMINATION_LOG", "/dev/termination-log".to_owned()),
        variable("TIDEGATE_LOG_FORMAT", "json".to_owned()),
    ]);
    if let Role::Whole | Role::Coordinator { .. } = role {
        variables.extend([
            variable("TIDEGATE_ADVERTISE", format!("$(POD_IP):{}", api::PORT)),
            variable("TIDEGATE_STAND_BY", "true".to_owned()),
            variable("TIDEGATE_SUPERVISED", "true".to_owned()),
        ]);
        variables.extend(job.metadata.uid.clone().map(|uid| variable("TIDEGATE_JOB_UID", uid)));
    }
    if runs_subtasks(role) {
        variables.push(variable("TIDEGATE_LOCAL_FOLDER", LOCAL.to_owned()));
    }
    if role != Role::Whole {
        variables.push(variable("TIDEGATE_TLS", CERTIFICATES.to_owned()));
    }
    match role {
        Role::Whole => {}
        Role::Coordinator { workers } => variables.extend([
            variable("TIDEGATE_WORKERS_LISTEN", format!("0.0.0.0:{}", api::WORKERS_PORT)),
            variable("TIDEGATE_WORKERS", workers.to_string()),
        ]),
        Role::Worker { slots } => variables.extend([
            variable("TIDEGATE_SLOTS", slots.to_string()),
            variable("TIDEGATE_EXCHANGE_LISTEN", format!("0.0.0.0:{}", api::EXCHANGE_PORT)),
            variable("TIDEGATE_EXCHANGE_ADVERTISE", format!("$(POD_IP):{}", api::EXCHANGE_PORT)),
        ]),
    }
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
