//! What dies: processes, pods, nodes, the operator, the control plane.

use std::{collections::BTreeSet, time::Instant};

use tidegate_crds::StreamJobStatus;
use tidegate_tests::platform::OPERATOR_NAMESPACE;

use super::{Case, platform};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_is_killed_and_one_that_is_deleted() {
    let Some(platform) = platform().await else { return };
    let case = Case::start(&platform, "pod-killed", &[]).await;
    let (epoch, pod) = platform.committed_after(&case.job, 2).await;
    platform.cluster.kill_9(case.job.namespace, &pod.name, "tidegate").await.unwrap();
    let killed = Instant::now();
    let (epoch, same) = platform.committed_after(&case.job, epoch + 1).await;
    println!("kill -9 in the pod to committed output: {:.1} s", killed.elapsed().as_secs_f64());
    assert_eq!(same.name, pod.name, "a process that was killed starts again in its pod");

    platform.kubectl(&["delete", "pod", &pod.name, "--namespace", case.job.namespace, "--wait=false"]).await;
    let deleted = Instant::now();
    let (_, other) = platform.committed_after(&case.job, epoch + 1).await;
    println!("deletion of the pod to committed output: {:.1} s", deleted.elapsed().as_secs_f64());
    assert_ne!(other.name, pod.name);
    // The operator looks now and then, and may have seen the restart in the first pod only.
    let seen = |status: &StreamJobStatus| status.restarts > 0 && status.attempt > Some(2);
    platform.wait(&case.job, "the restart and the third attempt are seen", seen).await;
    case.finish_exact(&platform).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_and_goes_on_in_the_dark() {
    let Some(mut platform) = platform().await else { return };
    let case = Case::start(&platform, "node-cut", &[]).await;
    let (epoch, pod) = platform.committed_after(&case.job, 2).await;
    let node = pod.node.clone().unwrap();
    platform.cluster.cut_node(&node).unwrap();
    let cut = Instant::now();
    let (epoch, other) = platform.committed_after(&case.job, epoch + 2).await;
    println!("node cut off to committed output: {:.1} s", cut.elapsed().as_secs_f64());
    assert_ne!(other.node, pod.node);
    // Back on the network, the old process learns that it has lost the job.
    platform.cluster.heal_node(&node).unwrap();
    platform.committed_after(&case.job, epoch + 1).await;
    case.finish_exact(&platform).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_loses_its_power() {
    let Some(mut platform) = platform().await else { return };
    let case = Case::start(&platform, "node-off", &[]).await;
    let (epoch, pod) = platform.committed_after(&case.job, 2).await;
    let node = pod.node.clone().unwrap();
    platform.cluster.power_off(&node).unwrap();
    let off = Instant::now();
    let (_, other) = platform.committed_after(&case.job, epoch + 1).await;
    println!("node without power to committed output: {:.1} s", off.elapsed().as_secs_f64());
    assert_ne!(other.node, pod.node);
    platform.cluster.power_on(&node).await.unwrap();
    case.finish_exact(&platform).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_drained() {
    let Some(platform) = platform().await else { return };
    let case = Case::start(&platform, "node-drained", &[]).await;
    let (epoch, pod) = platform.committed_after(&case.job, 2).await;
    let node = pod.node.clone().unwrap();
    let drain = ["drain", &node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=180s"];
    platform.kubectl(&drain).await;
    let gone = platform.pods(&case.job).await.iter().all(|pod| pod.node.as_ref() != Some(&node));
    assert!(gone, "a pod is left on {node}");
    let (_, other) = platform.committed_after(&case.job, epoch + 1).await;
    assert_ne!(other.node, pod.node);
    platform.kubectl(&["uncordon", &node]).await;
    case.finish_exact(&platform).await;
}

/// Three workers and their coordinator, over two nodes.
const WORKERS: [(&str, &str); 2] = [("spec.parallelism", "4"), ("spec.workers", "{ replicas: 3, slotsPerWorker: 2 }")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_loses_its_power_under_a_job_of_several_pods() {
    let Some(mut platform) = platform().await else { return };
    let case = Case::start(&platform, "workers", &WORKERS).await;
    let (epoch, coordinator) = platform.committed_after(&case.job, 2).await;
    let selector = format!("tidegate.dev/workers={}", case.job.name);
    let place = "jsonpath={range .items[*]}{.spec.nodeName} {end}";
    let asked = ["get", "pods", "--namespace", case.job.namespace, "--selector", &selector, "--output", place];
    let places = platform.kubectl(&asked).await;
    let nodes: BTreeSet<&str> = places.split_whitespace().collect();
    assert_eq!((places.split_whitespace().count(), nodes.len()), (3, 2), "{places}");
    let node = coordinator.node.clone().unwrap();
    platform.cluster.power_off(&node).unwrap();
    let off = Instant::now();
    let (epoch, other) = platform.committed_after(&case.job, epoch + 1).await;
    println!("node of coordinator and workers without power to committed output: {:.1} s", off.elapsed().as_secs_f64());
    assert_ne!(other.node, coordinator.node);
    platform.cluster.power_on(&node).await.unwrap();
    // A new version has workers of its own, and takes over when they have joined.
    case.apply(&platform, &[WORKERS[1], ("spec.parallelism", "3")]).await;
    platform.wait(&case.job, "the other parallelism", |status| status.parallelism == 3).await;
    platform.committed_after(&case.job, epoch + 1).await;
    case.finish_exact(&platform).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_that_is_away_does_not_hold_the_job_up() {
    let Some(mut platform) = platform().await else { return };
    let case = Case::start(&platform, "no-control", &[]).await;
    let (epoch, pod) = platform.committed_after(&case.job, 1).await;
    platform.cluster.kill_api_server().unwrap();
    let epoch = committed_by(&platform, &pod, epoch).await;
    platform.cluster.start_api_server().await.unwrap();
    platform.cluster.kill_etcd().unwrap();
    let epoch = committed_by(&platform, &pod, epoch).await;
    platform.cluster.start_etcd().await.unwrap();
    platform.committed_after(&case.job, epoch).await;
    case.finish_exact(&platform).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_with_too_little_memory_is_named_and_goes_on_with_more() {
    let Some(platform) = platform().await else { return };
    let limits =
        |memory: &str| format!("{{ requests: {{ cpu: 100m, memory: 32Mi }}, limits: {{ memory: {memory} }} }}");
    let little = limits("72Mi");
    let case = Case::start(&platform, "out-of-memory", &[("spec.template.resources", &little)]).await;
    let status = platform
        .wait(&case.job, "it is named", |status| {
            status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.reason == "OutOfMemory")
        })
        .await;
    println!("{:?}", status.failure);
    case.apply(&platform, &[("spec.template.resources", &limits("1Gi"))]).await;
    case.finish_exact(&platform).await;
}

/// Waits for the next epochs of a pod that Kubernetes can't be asked for.
async fn committed_by(
    platform: &tidegate_tests::platform::Platform,
    pod: &tidegate_tests::platform::PodPlace,
    epoch: u64,
) -> u64 {
    let mut committed = epoch;
    tidegate_tests::world::until("the job commits without a control plane", || {
        let asked = platform.ask(pod);
        async move { asked.await.and_then(|status| status.committed_epoch).unwrap_or(0) > epoch + 1 }
    })
    .await;
    if let Some(status) = platform.ask(pod).await {
        committed = status.committed_epoch.unwrap_or(committed);
    }
    committed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_is_killed_and_two_that_run() {
    let Some(platform) = platform().await else { return };
    platform.install(&["replicas=2"]).await;
    let case = Case::start(&platform, "operators", &[]).await;
    let (epoch, _) = platform.committed_after(&case.job, 1).await;
    let holder = leader(&platform).await;
    platform
        .kubectl(&["delete", "pod", &holder, "--namespace", OPERATOR_NAMESPACE, "--grace-period=0", "--force"])
        .await;
    case.apply(&platform, &[("spec.parallelism", "1")]).await;
    platform.wait(&case.job, "the other operator rolls the change out", |status| status.parallelism == 1).await;
    platform.committed_after(&case.job, epoch).await;
    assert_ne!(leader(&platform).await, holder);
    case.finish_exact(&platform).await;
    platform.install(&["replicas=1"]).await;
}

async fn leader(platform: &tidegate_tests::platform::Platform) -> String {
    let path = "jsonpath={.spec.holderIdentity}";
    platform.kubectl(&["get", "lease", "tidegate-operator", "--namespace", OPERATOR_NAMESPACE, "--output", path]).await
}
