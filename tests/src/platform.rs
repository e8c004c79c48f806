//! Tidegate as its users have it: a cluster, the chart installed in it, and servers that jobs read and write.
//!
//! Kafka, S3 and ClickHouse run on this machine, at the address by which pods reach it. In every namespace that a test
//! asks for they have the names that the examples use, so a manifest is applied as it is.

use std::{
    fmt::Write,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;
use tidegate_crds::{
    StreamJob, StreamJobStatus,
    api::{JobStatus, PORT, SavepointPhase, SavepointStatus},
};

use crate::{
    counterparts::Cluster,
    job::program,
    world::{Run, World},
};

/// How long a job may take to do the next thing.
const PATIENCE: Duration = Duration::from_mins(4);

/// Where the chart is installed.
pub const OPERATOR_NAMESPACE: &str = "tidegate-system";
/// Of the images that are built of the programs under test.
const TAG: &str = "under-test";

/// A cluster with Tidegate, and the servers that its jobs use.
pub struct Platform {
    pub cluster: Cluster,
    pub world: World,
}

impl Platform {
    /// Starts the cluster and the servers, builds the images, and installs the chart with its defaults.
    pub async fn start() -> Self {
        let cluster = Cluster::start().await.unwrap();
        let host = cluster.host_address().unwrap();
        let images = tempfile::tempdir().unwrap();
        let folder = images.path().to_owned();
        let built = tokio::task::spawn_blocking(move || build_images(&folder));
        let world = World::start_at(host).await;
        built.await.unwrap();
        for name in ["tidegate", "tidegate-operator"] {
            cluster.load_image(&images.path().join(format!("{name}.tar"))).await.unwrap();
        }
        let platform = Self { cluster, world };
        platform.install(&[]).await;
        platform
    }

    /// Installs the chart, or upgrades it, with values over its defaults.
    pub async fn install(&self, values: &[&str]) {
        let chart = repository().join("charts/tidegate");
        let (chart, image, runtime) =
            (chart.to_str().unwrap(), format!("image.tag={TAG}"), format!("runtimeImage.tag={TAG}"));
        let mut arguments = vec!["upgrade", "--install", "tidegate", chart, "--namespace", OPERATOR_NAMESPACE];
        arguments.extend(["--create-namespace", "--wait", "--timeout", "3m", "--set", &image, "--set", &runtime]);
        for value in values {
            arguments.extend(["--set", value]);
        }
        self.cluster.helm(&arguments).await.unwrap();
    }

    /// A namespace in which `kafka`, `s3` and `clickhouse` are the servers, and the secret of the examples exists.
    pub async fn namespace(&self, name: &str) {
        let host = self.cluster.host_address().unwrap();
        let mut objects = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {name} }}\n");
        let servers = [
            ("kafka", 9092, self.world.kafka.bootstrap()),
            ("s3", 9000, self.world.s3.endpoint()),
            ("clickhouse", 8123, self.world.clickhouse.url()),
        ];
        for (service, port, address) in servers {
            let there = address.rsplit(':').next().unwrap().trim_end_matches('/');
            write!(objects, "---\n{}", alias(name, service, port, host, there)).unwrap();
        }
        let (id, key) = (self.world.s3.access_key(), self.world.s3.secret_key());
        write!(
            objects,
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{ name: s3, namespace: {name} }}\n\
             stringData: {{ access-key-id: {id}, secret-access-key: {key} }}\n"
        )
        .unwrap();
        self.cluster.apply(&objects).await.unwrap();
    }

    /// The job of `examples/store-sales.yaml` over the topics and the table of `run`, with fields set over its own.
    pub fn manifest(&self, run: &Run, job: &JobName, set: &[(&str, &str)]) -> String {
        let path = repository().join("examples/store-sales.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let table = run.table.clone();
        let mut fields: Vec<(String, String)> = [
            ("metadata.name", job.name),
            ("metadata.namespace", job.namespace),
            ("spec.sources[0].kafka.topic", &run.orders),
            ("spec.sinks[0].clickHouse.table", &table),
            ("spec.sinks[1].kafka.topic", &run.feed),
            ("spec.checkpoint.interval", "1s"),
            ("spec.checkpoint.storage.s3.bucket", self.world.s3.bucket()),
        ]
        .map(|(path, value)| (path.to_owned(), value.to_owned()))
        .into();
        fields.extend(set.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())));
        let document = StreamJob::from_yaml_with(&text, &fields).unwrap();
        serde_json::to_string(&document).unwrap()
    }

    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl(arguments).await.unwrap()
    }

    /// The status of a `StreamJob`; empty while it has none, or while the API server does not answer.
    pub async fn status(&self, job: &JobName) -> StreamJobStatus {
        let asked = ["get", "streamjob", job.name, "--namespace", job.namespace, "--output", "json"];
        let Ok(text) = self.cluster.kubectl(&asked).await else { return StreamJobStatus::default() };
        let object: Value = serde_json::from_str(&text).unwrap();
        object.get("status").map(|status| serde_json::from_value(status.clone()).unwrap()).unwrap_or_default()
    }

    /// Waits until the status is as `wanted`.
    pub async fn wait(&self, job: &JobName, what: &str, wanted: impl Fn(&StreamJobStatus) -> bool) -> StreamJobStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status(job).await;
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "in vain: {what}\n{status:#?}\n{}", self.report(job).await);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// What a person would look at, when a job is not as it should be.
    async fn report(&self, job: &JobName) -> String {
        let mut report = String::new();
        for asked in [
            vec!["describe", "streamjob,pod", "--namespace", job.namespace],
            vec!["logs", "--namespace", job.namespace, "--selector", "tidegate.dev/job", "--tail", "40", "--prefix"],
            vec!["logs", "--namespace", OPERATOR_NAMESPACE, "deployment/tidegate-operator", "--tail", "40"],
        ] {
            let answer = self.cluster.kubectl(&asked).await.unwrap_or_else(|error| error.to_string());
            writeln!(report, "$ kubectl {}\n{answer}", asked.join(" ")).unwrap();
        }
        report
    }

    /// The pods of a job that are not on their way out: name, address and node.
    pub async fn pods(&self, job: &JobName) -> Vec<PodPlace> {
        let selector = format!("tidegate.dev/job={}", job.name);
        let asked = ["get", "pods", "--namespace", job.namespace, "--selector", &selector, "--output", "json"];
        let Ok(text) = self.cluster.kubectl(&asked).await else { return Vec::new() };
        let list: Value = serde_json::from_str(&text).unwrap();
        let pods = list["items"].as_array().unwrap().iter();
        pods.filter(|pod| pod["metadata"].get("deletionTimestamp").is_none()).map(PodPlace::of).collect()
    }

    /// What the coordinator in a pod says.
    pub async fn ask(&self, pod: &PodPlace) -> Option<JobStatus> {
        let asked = reqwest::Client::new().get(format!("http://{}:{PORT}/v1/status", pod.ip.as_ref()?));
        asked.timeout(Duration::from_secs(2)).send().await.ok()?.json().await.ok()
    }

    /// Asks the coordinator in a pod for a savepoint, and waits until it is complete; its path.
    pub async fn take_savepoint(&self, job: &JobName, pod: &PodPlace, name: &str) -> String {
        let address = format!("http://{}:{PORT}/v1/savepoints", pod.ip.as_ref().expect("an address"));
        let asked = reqwest::Client::new().post(&address).body(format!(r#"{{"name": "{name}"}}"#));
        let answer = asked.timeout(PATIENCE).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 202, "{}", answer.text().await.unwrap_or_default());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let newest = self.ask(pod).await.and_then(|status| status.last_savepoint);
            if let Some(SavepointStatus { phase: SavepointPhase::Completed, path, .. }) = newest {
                return path;
            }
            assert!(Instant::now() < deadline, "no savepoint\n{}", self.report(job).await);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until a pod has committed an epoch after `epoch`; says which, and the pod.
    pub async fn committed_after(&self, job: &JobName, epoch: u64) -> (u64, PodPlace) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for pod in self.pods(job).await {
                let committed = self.ask(&pod).await.and_then(|status| status.committed_epoch);
                if let Some(committed) = committed.filter(|committed| *committed > epoch) {
                    return (committed, pod);
                }
            }
            assert!(Instant::now() < deadline, "no epoch after {epoch} is committed\n{}", self.report(job).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A job by its namespace and name.
#[derive(Debug, Clone, Copy)]
pub struct JobName {
    pub namespace: &'static str,
    pub name: &'static str,
}

/// Where a pod is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodPlace {
    pub name: String,
    pub ip: Option<String>,
    pub node: Option<String>,
}

impl PodPlace {
    fn of(pod: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
        Self {
            name: text(&pod["metadata"]["name"]).unwrap(),
            ip: text(&pod["status"]["podIP"]),
            node: text(&pod["spec"]["nodeName"]),
        }
    }
}

/// A service that leads out of the cluster, to `host`.
fn alias(namespace: &str, name: &str, port: u16, host: IpAddr, target: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: {namespace} }}\n\
         spec: {{ ports: [{{ port: {port}, targetPort: {target} }}] }}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{ name: {name}, namespace: {namespace}, labels: {{ kubernetes.io/service-name: {name} }} }}\n\
         addressType: IPv4\nports: [{{ name: \"\", port: {target} }}]\nendpoints: [{{ addresses: [\"{host}\"] }}]\n"
    )
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Builds the images of the programs as they are shipped: `make` has built them, without fault points, beside the others.
fn build_images(folder: &Path) {
    let binaries = program().with_file_name("shipped");
    assert!(binaries.is_dir(), "there is no {}; use `make`", binaries.display());
    let script = Command::new(repository().join("scripts/image.sh"))
        .arg("--binaries")
        .arg(binaries)
        .arg("--out")
        .arg(folder)
        .args(["--tag", TAG])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&script.stderr);
    assert!(script.status.success(), "scripts/image.sh: {said}");
}
