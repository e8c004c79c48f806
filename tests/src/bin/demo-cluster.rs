//! `make demo-cluster`: installs Tidegate into a cluster, applies the store-sales example, breaks what runs it, and
//! compares every total.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step ends the demo
#![allow(clippy::disallowed_methods)] // a demo lives in real time

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use tidegate_crds::StreamJob;
use tidegate_tests::{
    counterparts::Cluster,
    oracle::{Rows, Workload, reference, totals},
    platform::{JobName, Platform, PodPlace, repository},
    world::Run,
};

/// Orders a second.
const RATE: u64 = 20_000;
const JOB: JobName = JobName { namespace: "shop", name: "store-sales" };

#[tokio::main]
async fn main() -> ExitCode {
    if let Err(reason) = Cluster::available() {
        eprintln!("this machine can't run a cluster: {reason}");
        return ExitCode::FAILURE;
    }
    println!("==> starting a cluster of two nodes, Kafka, S3 and ClickHouse; building images; helm install tidegate");
    let mut platform = Platform::start().await;
    show(&platform, &["get", "nodes,pods", "--namespace", "tidegate-system", "--output", "wide"]).await;

    println!("==> {RATE} orders a second into topic `orders`, some of them twice");
    platform.namespace(JOB.namespace).await;
    let run = run_of_the_example();
    platform.world.make(&run).await;
    let orders = platform.world.flow(&run, Workload::new(1, 0), RATE);

    println!("==> kubectl apply --filename examples/store-sales.yaml");
    let example = example();
    platform.kubectl(&["apply", "--namespace", JOB.namespace, "--filename", example.to_str().unwrap()]).await;
    let wait = ["wait", "--for=condition=Ready", "streamjob/store-sales", "--namespace", JOB.namespace, "--timeout=4m"];
    platform.kubectl(&wait).await;
    let (epoch, pod) = platform.committed_after(&JOB, 1).await;
    show_job(&platform).await;
    let recoveries = break_it(&mut platform, epoch, pod).await;

    println!("==> no more orders; waiting until all of them are counted");
    let workload = orders.end().await;
    let expected = reference(&workload);
    let deadline = Instant::now() + Duration::from_mins(4);
    while platform.world.table_rows(&run).await.len() < expected.len() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    println!("==> kubectl delete streamjob store-sales");
    platform.kubectl(&["delete", "streamjob", JOB.name, "--namespace", JOB.namespace, "--timeout=3m"]).await;
    show(&platform, &["get", "events", "--namespace", JOB.namespace, "--field-selector", "reason=Deleted"]).await;
    let (table, feed) = (platform.world.table_rows(&run).await, platform.world.feed_rows(&run).await);
    report(workload.count, &expected, [("ClickHouse", table), ("Kafka", feed)], &recoveries)
}

/// Kills, deletes and cuts off; gives the seconds until output was committed again.
async fn break_it(platform: &mut Platform, epoch: u64, pod: PodPlace) -> Vec<(&'static str, f64)> {
    println!("==> kill -9 of the process in pod {}", pod.name);
    platform.cluster.kill_9(JOB.namespace, &pod.name, "tidegate").await.unwrap();
    let mut began = Instant::now();
    let (epoch, pod) = platform.committed_after(&JOB, epoch).await;
    let killed = began.elapsed().as_secs_f64();
    println!("    epoch {epoch} is committed");

    println!("==> kubectl delete pod {}", pod.name);
    platform.kubectl(&["delete", "pod", &pod.name, "--namespace", JOB.namespace, "--wait=false"]).await;
    began = Instant::now();
    let (epoch, pod) = platform.committed_after(&JOB, epoch + 1).await;
    let deleted = began.elapsed().as_secs_f64();
    println!("    epoch {epoch} is committed by {}", pod.name);

    let node = pod.node.clone().unwrap();
    println!("==> node {node} loses its network; the process on it goes on");
    platform.cluster.cut_node(&node).unwrap();
    began = Instant::now();
    let mut newest = epoch;
    let elsewhere = loop {
        let (committed, elsewhere) = platform.committed_after(&JOB, newest).await;
        if elsewhere.node != pod.node {
            break elsewhere;
        }
        newest = committed;
    };
    let cut = began.elapsed().as_secs_f64();
    println!("    {} goes on, on node {}", elsewhere.name, elsewhere.node.unwrap());
    platform.cluster.heal_node(&node).unwrap();
    show_job(platform).await;
    vec![("process killed", killed), ("pod deleted", deleted), ("node cut off", cut)]
}

fn example() -> PathBuf {
    repository().join("examples/store-sales.yaml")
}

/// The topics and the table that the example names.
fn run_of_the_example() -> Run {
    let spec = StreamJob::from_yaml(&std::fs::read_to_string(example()).unwrap()).unwrap().spec;
    let source = spec.sources[0].kafka.as_ref().unwrap();
    let (table, feed) = (spec.sinks[0].click_house.as_ref().unwrap(), spec.sinks[1].kafka.as_ref().unwrap());
    Run { orders: source.topic.clone(), feed: feed.topic.clone(), table: table.table.clone() }
}

async fn show_job(platform: &Platform) {
    show(platform, &["get", "streamjob,pods", "--namespace", JOB.namespace, "--output", "wide"]).await;
}

async fn show(platform: &Platform, arguments: &[&str]) {
    println!("$ kubectl {}", arguments.join(" "));
    for line in platform.kubectl(arguments).await.lines() {
        println!("  {line}");
    }
}

/// Prints totals beside the reference; fails if any row differs.
fn report(orders: u64, expected: &Rows, sinks: [(&str, Rows); 2], recoveries: &[(&str, f64)]) -> ExitCode {
    let money = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
    println!("\norders                                 {orders:>16}");
    println!("windows in the reference               {:>16}", expected.len());
    println!("sales in the reference                 {:>16}", money(totals(expected).0));
    let mut differing = 0;
    for (sink, found) in &sinks {
        let difference = found.difference(expected);
        println!("sales in {sink:<10}                    {:>16}", money(totals(found).0));
        println!("rows that differ in {sink:<10}         {:>16}", difference.len());
        difference.iter().take(10).for_each(|row| println!("  {row}"));
        differing += difference.len();
    }
    for (what, seconds) in recoveries {
        println!("seconds to committed output, {what:<14}{seconds:>12.1}");
    }
    if differing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
