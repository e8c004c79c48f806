//! `make demo`: the store-sales job on generated orders, killed twice while it works, and every total compared.
//!
//! Needs no server: orders come from the generator, results go to files, checkpoints to a folder. Orders come without an end
//! until the job was killed for the second time, so it is in the middle of its work whenever it is killed, on a fast machine
//! as on a slow one; then the demo looks into the checkpoint how far the job has read, and lets it read some more.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step ends the demo
#![allow(clippy::disallowed_methods)] // a demo lives in real time

use std::time::{Duration, Instant};

use tidegate_crds::{GeneratorSource, StreamJob};
use tidegate_tests::{
    job::{End, Job},
    oracle::{Rows, Workload, file_rows, reference, totals},
};

const EXAMPLE: &str = "store-sales-local.yaml";
const PATIENCE: Duration = Duration::from_mins(5);
const COUNT: &str = "spec.sources[0].generator.count";
const RATE: &str = "spec.sources[0].generator.rate";
/// Orders a second before the kills, at most: what is read has to be compared, too.
const MOST_A_SECOND: u64 = 500_000;
/// Orders after the second kill.
const REST: u64 = 1_000_000;

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("store-sales");
    let checkpoints = folder.path().join("checkpoints");
    let (id, generator) = example();
    let mut job = Job::example(EXAMPLE)
        .set(COUNT, "null")
        .set(RATE, MOST_A_SECOND)
        .set("spec.sinks[0].files.path", output.display())
        .set("spec.checkpoint.storage.local.path", checkpoints.display())
        .set("spec.checkpoint.interval", "200ms");
    println!("==> running examples/{EXAMPLE}, with orders without an end for now");
    let started = Instant::now();
    let mut process = job.start();
    let epoch = process.wait_for_epoch(2, PATIENCE).await;
    println!("==> kill -9, the first time, with epoch {epoch} published, and starting it again");
    assert_eq!(process.kill_9(), End::Killed);
    let killed = Instant::now();
    process = job.start();
    let next = process.wait_for_epoch(epoch + 1, PATIENCE).await;
    let first_recovery = killed.elapsed();
    println!("    output goes on with epoch {next}");

    let epoch = process.wait_for_epoch(next + 2, PATIENCE).await;
    println!("==> kill -9, the second time, with epoch {epoch} published");
    assert_eq!(process.kill_9(), End::Killed);
    let rows = Job::inspect(&checkpoints.join(id), "SELECT max(next) AS read FROM splits");
    let read = rows[0]["read"].as_u64().expect("how far the job has read");
    let workload = Workload::of(&GeneratorSource { count: Some(read + REST), ..generator });
    println!("    its newest checkpoint has read {read} orders; starting it again, to read {REST} more");
    job = job.set(COUNT, workload.count).set(RATE, "null");
    let killed = Instant::now();
    process = job.start();
    // A job that has ended before it was asked has published everything.
    let next = process.committed(epoch + 1, PATIENCE).await;
    let second_recovery = killed.elapsed();
    println!("    output goes on with epoch {}", next.map_or("the last".to_owned(), |epoch| epoch.to_string()));
    assert_eq!(process.wait(PATIENCE), End::Finished, "the job ends by itself");
    println!(
        "==> finished after {:.1} s; comparing with a reference that never failed",
        started.elapsed().as_secs_f64()
    );
    report(&workload, &file_rows(&output), &[first_recovery, second_recovery]);
}

/// The id of the example's job, and its generator.
fn example() -> (String, GeneratorSource) {
    let text = std::fs::read_to_string(Job::path_of(EXAMPLE)).expect("the example");
    let job = StreamJob::from_yaml(&text).expect("a valid example");
    let id = job.id();
    (id, job.spec.sources.into_iter().find_map(|source| source.generator).expect("a generator"))
}

fn report(workload: &Workload, found: &Rows, recoveries: &[Duration]) {
    let expected = reference(workload);
    let (found_cents, found_orders) = totals(found);
    let (cents, orders) = totals(&expected);
    let money = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
    let seconds: Vec<String> = recoveries.iter().map(|time| format!("{:.2}", time.as_secs_f64())).collect();
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
