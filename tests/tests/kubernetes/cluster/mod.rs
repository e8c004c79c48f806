use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tidegate_tests::counterparts::cluster::{self, Cluster, HELLO, SANDBOX};
use tidegate_tests::counterparts::{Error, S3};
use tidegate_tests::skip::{is_named, skip};

mod traces;

use traces::Traces;

const PATIENCE: Duration = Duration::from_mins(2);

/// Two pods on two nodes if both are there, and a name for them.
const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
        - { maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway,
            labelSelector: { matchLabels: { app: web } } }
      containers:
        - name: hello
          image: IMAGE
          args: [':8080']
          readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { selector: { app: web }, ports: [{ port: 80, targetPort: 8080 }] }
";

/// One test, since a cluster takes time and memory to start.
#[tokio::test]
async fn a_cluster_runs_pods_survives_every_fault_and_leaves_nothing() {
    let Some(mut cluster) = start().await else { return };
    let traces = Traces::of(cluster.kubeconfig());
    cluster.load_image(&cluster.hello_image()).await.unwrap();
    cluster.apply(&WEB.replace("IMAGE", HELLO)).await.unwrap();
    until("a pod on each node", async || nodes_of_pods(&cluster).await == ["n1", "n2"]).await;
    pods_and_services_are_reached(&cluster).await;
    pods_reach_servers_of_the_host(&cluster).await;
    assert_eq!(cluster.helm(&["list", "--short"]).await.unwrap().trim(), "");
    a_container_that_is_killed_starts_again(&cluster).await;

    cluster.kill_api_server().unwrap();
    cluster.kubectl(&["get", "pods"]).await.unwrap_err();
    cluster.start_api_server().await.unwrap();
    cluster.kill_etcd().unwrap();
    cluster.kubectl(&["get", "pods", "--request-timeout=1s"]).await.unwrap_err();
    cluster.start_etcd().await.unwrap();
    assert_eq!(nodes_of_pods(&cluster).await, ["n1", "n2"]);

    cluster.cut_node("n2").unwrap();
    until("the pods move to n1", async || nodes_of_pods(&cluster).await == ["n1", "n1"]).await;
    cluster.heal_node("n2").unwrap();
    until("n2 comes back", async || ready(&cluster, "n2").await).await;

    cluster.power_off("n1").unwrap();
    assert!(matches!(cluster.load_image(&cluster.hello_image()).await, Err(Error::NotRunning { server: "n1" })));
    until("the pods move to n2", async || nodes_of_pods(&cluster).await == ["n2", "n2"]).await;
    pods_and_services_are_reached(&cluster).await;
    cluster.power_on("n1").await.unwrap();
    until("n1 comes back", async || ready(&cluster, "n1").await).await;
    cluster.kubectl(&["rollout", "restart", "deployment/web"]).await.unwrap();
    until("a pod on each node", async || nodes_of_pods(&cluster).await == ["n1", "n2"]).await;

    let unknown = cluster.cut_node("n3").unwrap_err().to_string();
    assert_eq!(unknown, "the cluster has no node `n3`, only: n1, n2");
    drop(cluster);
    // What was killed goes when the kernel comes to it.
    until("all is gone", async || traces.are_gone()).await;
    traces.assert_gone();
}

#[tokio::test]
async fn a_test_that_is_killed_leaves_nothing_of_its_cluster() {
    if let Err(reason) = Cluster::available() {
        skip(reason);
        return;
    }
    let mut harness = Command::new(env!("CARGO_BIN_EXE_counterparts"))
        .args(["up", "cluster"])
        .env_remove(cluster::VARIABLE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(harness.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let kubeconfig = line.strip_prefix("export KUBECONFIG='").and_then(|line| line.split('\'').next()).unwrap();

    // Every node has this image, since every pod has a container of it.
    let kubectl = cluster::PROGRAM.ready().await.unwrap().join("kubectl");
    for arguments in
        [&["run", "pod", "--image", SANDBOX][..], &["wait", "--for=condition=Ready", "pod/pod", "--timeout=120s"]]
    {
        assert!(Command::new(&kubectl).args(arguments).env("KUBECONFIG", kubeconfig).status().unwrap().success());
    }
    let traces = Traces::of(Path::new(kubeconfig));
    harness.kill().unwrap(); // SIGKILL: no destructor runs
    harness.wait().unwrap();
    until("all is gone", async || traces.are_gone()).await;
    traces.assert_gone();
}

/// None, saying why, where there can't be one that is ours to break.
async fn start() -> Option<Cluster> {
    if is_named(cluster::VARIABLE) {
        return None;
    }
    if let Err(reason) = Cluster::available() {
        skip(reason);
        return None;
    }
    Some(Cluster::start().await.unwrap())
}

async fn pods_and_services_are_reached(cluster: &Cluster) {
    let pods = ready_pods(cluster).await;
    for pod in &pods {
        assert_eq!(fetch(&format!("http://{}:8080/", pod.address)).await.unwrap(), pod.name);
    }
    // By its address from here, and by its name from a pod. It takes a moment to forget pods that are gone.
    let running = |answer: &str| pods.iter().any(|pod| pod.name == answer.trim());
    let service = format!("http://{}/", get(cluster, "service/web", "{.spec.clusterIP}").await);
    until("the service answers the host", async || fetch(&service).await.is_ok_and(|answer| running(&answer))).await;
    let ask = ["exec", &pods[0].name, "--", "/hello", "http://web.default.svc.cluster.local/"];
    until("the service answers a pod", async || cluster.kubectl(&ask).await.is_ok_and(|answer| running(&answer))).await;
}

async fn pods_reach_servers_of_the_host(cluster: &Cluster) {
    let store = S3::start_at(cluster.host_address().unwrap()).await.unwrap();
    let pod = &ready_pods(cluster).await[0].name;
    let answer = cluster.kubectl(&["exec", pod, "--", "/hello", store.endpoint()]).await.unwrap();
    assert!(answer.contains("<Code>AccessDenied</Code>"), "{answer}");
}

async fn a_container_that_is_killed_starts_again(cluster: &Cluster) {
    let pod = &ready_pods(cluster).await[0].name;
    let before = cluster.processes("default", pod, "hello").await.unwrap();
    assert_eq!(before.len(), 1);
    cluster.kill_9("default", pod, "hello").await.unwrap();
    let restarts = "{.status.containerStatuses[0].restartCount}";
    until("a restart", async || get(cluster, &format!("pod/{pod}"), restarts).await == "1").await;
    until("the pod is ready", async || ready_pods(cluster).await.len() == 2).await;
    assert_ne!(cluster.processes("default", pod, "hello").await.unwrap(), before);
}

struct Pod {
    name: String,
    address: String,
    node: String,
}

/// Pods that are ready and not about to go.
async fn ready_pods(cluster: &Cluster) -> Vec<Pod> {
    let pods = cluster.kubectl(&["get", "pods", "--output=json"]).await.unwrap();
    let pods: serde_json::Value = serde_json::from_str(&pods).unwrap();
    let ready = |pod: &&serde_json::Value| {
        let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        let mut conditions = conditions.filter(|condition| condition["type"] == "Ready");
        pod["metadata"]["deletionTimestamp"].is_null() && conditions.any(|condition| condition["status"] == "True")
    };
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let pod = |pod: &serde_json::Value| Pod {
        name: text(&pod["metadata"]["name"]),
        address: text(&pod["status"]["podIP"]),
        node: text(&pod["spec"]["nodeName"]),
    };
    pods["items"].as_array().unwrap().iter().filter(ready).map(pod).collect()
}

async fn nodes_of_pods(cluster: &Cluster) -> Vec<String> {
    let mut nodes: Vec<String> = ready_pods(cluster).await.into_iter().map(|pod| pod.node).collect();
    nodes.sort();
    nodes
}

async fn ready(cluster: &Cluster, node: &str) -> bool {
    get(cluster, &format!("node/{node}"), "{.status.conditions[?(@.type==\"Ready\")].status}").await == "True"
}

async fn get(cluster: &Cluster, what: &str, path: &str) -> String {
    cluster.kubectl(&["get", what, &format!("--output=jsonpath={path}")]).await.unwrap()
}

async fn fetch(url: &str) -> reqwest::Result<String> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(3)).build()?;
    Ok(client.get(url).send().await?.text().await?.trim().to_owned())
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("{what}: {:.1} s", started.elapsed().as_secs_f64());
}
