//! `make demo`: the store-sales job on generated orders, killed twice while it works, and every total compared.
//!
//! Needs no server: orders come from the generator, results go to files, checkpoints to a folder.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step ends the demo
#![allow(clippy::disallowed_methods)] // a demo lives in real time

use std::{
    path::Path,
    time::{Duration, Instant},
};

use tidegate_crds::StreamJob;
use tidegate_tests::{
    job::{End, Job},
    oracle::{Rows, Workload, file_rows, reference, totals},
};

const EXAMPLE: &str = "store-sales-local.yaml";
const PATIENCE: Duration = Duration::from_mins(5);

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("store-sales");
    let checkpoints = folder.path().join("checkpoints");
    let workload = workload();
    let mut job = Job::example(EXAMPLE)
        .set("spec.sinks[0].files.path", output.display())
        .set("spec.checkpoint.storage.local.path", checkpoints.display())
        .set("spec.checkpoint.interval", "200ms");
    println!("==> running examples/{EXAMPLE}: {} orders", workload.count);
    let started = Instant::now();
    let mut recoveries = Vec::new();
    let (mut process, mut epoch) = (job.start(), 0);
    for kill in 1..=2 {
        epoch = process.wait_for_epoch(epoch + 2, PATIENCE).await;
        println!("==> kill -9, the {kill}. time, with epoch {epoch} published, and starting it again");
        assert_eq!(process.kill_9(), End::Killed);
        let killed = Instant::now();
        process = job.start();
        let next = process.wait_for_epoch(epoch + 1, PATIENCE).await;
        recoveries.push(killed.elapsed().as_secs_f64());
        println!("    output goes on with epoch {next}");
        epoch = next;
    }
    let end = process.wait(PATIENCE);
    assert_eq!(end, End::Finished, "the job ends by itself");
    println!(
        "==> finished after {:.1} s; comparing with a reference that never failed",
        started.elapsed().as_secs_f64()
    );
    report(&workload, &file_rows(&output), &recoveries);
}

/// The orders of the example.
fn workload() -> Workload {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(EXAMPLE);
    let job = StreamJob::from_yaml(&std::fs::read_to_string(path).expect("the example")).expect("a valid example");
    let source = job.spec.sources.into_iter().find_map(|source| source.generator).expect("a generator");
    Workload::of(&source)
}

fn report(workload: &Workload, found: &Rows, recoveries: &[f64]) {
    let expected = reference(workload);
    let (found_cents, found_orders) = totals(found);
    let (cents, orders) = totals(&expected);
    let money = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
    let seconds: Vec<String> = recoveries.iter().map(|seconds| format!("{seconds:.2}")).collect();
    println!();
    println!("orders read                    {:>18}", workload.count);
    println!("duplicates dropped             {:>18}", workload.count as i64 - found_orders);
    println!("  in the reference             {:>18}", workload.count as i64 - orders);
    println!("windows (store and minute)     {:>18}", found.len());
    println!("  in the reference             {:>18}", expected.len());
    println!("total sales                    {:>18}", money(found_cents));
    println!("  in the reference             {:>18}", money(cents));
    println!("difference                     {:>18}", found_cents - cents);
    println!("rows that differ               {:>18}", found.difference(&expected).len());
    println!("seconds from kill to output    {:>18}", seconds.join(", "));
    for line in found.difference(&expected).iter().take(10) {
        println!("  {line}");
    }
    assert!(found.difference(&expected).is_empty(), "the output is not exact");
}
