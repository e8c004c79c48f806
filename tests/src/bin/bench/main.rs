//! `make bench`: what the store-sales job costs, beside the cost of its parts, in one run on one topic.
//!
//! Orders as JSON of about 100 bytes lie in a topic of 8 partitions. They are read by programs of growing duty: one that
//! only consumes, one that also decodes ([`stage`]), the job with its window, the job with a deduplication before it.
//! Each is a process of its own, so that its processor time and memory are those that the kernel counted
//! ([`usage`]). The job's output is compared with the reference, row by row: a fast wrong answer is worth nothing.
//!
//! The program under test is built like a release, but for its fault points, which cost nothing where no fault is set.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step ends the benchmark
#![allow(clippy::disallowed_methods)] // a benchmark lives in real time

mod measure;
mod recovery;
mod stage;
mod usage;
mod variant;

use clap::{Parser, Subcommand};
use measure::{Figures, PROGRAMS, median};
use stage::Duty;
use tidegate_tests::{oracle::Workload, world::World};
use variant::Variant;

/// Measures the store-sales job against real servers.
#[derive(Debug, Parser)]
struct Arguments {
    /// Orders in the topic; nine in ten have an id of their own.
    #[arg(long, default_value_t = 12_000_000)]
    records: u64,
    /// How often each program reads the topic.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Sets a field over the measured jobs' documents, such as `spec.parallelism=1`. Repeatable.
    #[arg(long, value_name = "PATH=VALUE", value_parser = stage::pair)]
    set: Vec<(String, String)>,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Reads the topic of a job, as its sources do.
    Consume(stage::Stage),
    /// Reads and decodes it.
    Decode(stage::Stage),
    /// Reads it and decodes it by arrow-json, which RFC 0002 compares our decoder with.
    ArrowJson(stage::Stage),
}

const STORES: u64 = 1_000;

/// What all measurements share.
pub struct Bench {
    pub world: World,
    pub workload: Workload,
    /// The topic.
    pub orders: String,
    pub settings: Vec<(String, String)>,
}

fn main() {
    let arguments = Arguments::parse();
    match &arguments.part {
        Some(Part::Consume(stage)) => stage.run(Duty::Consume),
        Some(Part::Decode(stage)) => stage.run(Duty::Decode),
        Some(Part::ArrowJson(stage)) => stage.run(Duty::ArrowJson),
        None => tokio::runtime::Runtime::new().expect("a runtime").block_on(bench(&arguments)),
    }
}

async fn bench(arguments: &Arguments) {
    println!("==> starting Kafka, S3 and ClickHouse");
    let world = World::start().await;
    println!("==> writing {} orders into a topic of 8 partitions", arguments.records);
    let workload = Workload::with_stores(5, arguments.records, STORES);
    let orders = world.store_sales("bench", &workload).await.orders;
    let bench = Bench { world, workload, orders, settings: arguments.set.clone() };
    let mut table = Vec::new();
    for variant in Variant::ALL {
        println!("==> the job {}: {} rounds", variant.name(), arguments.rounds);
        let mut rounds: [Vec<Figures>; PROGRAMS.len()] = Default::default();
        for round in 0..arguments.rounds {
            // In turn, so that whatever else the machine does meets them all.
            let figures = measure::round(&bench, variant, round).await;
            for (all, one) in rounds.iter_mut().zip(figures) {
                all.push(one);
            }
        }
        table.push((variant, rounds));
    }
    println!("==> killing the job and waiting for its output");
    let mut recoveries = Vec::new();
    for variant in Variant::ALL {
        recoveries.push((variant, recovery::seconds(&bench, variant).await));
    }
    println!();
    for (variant, rounds) in &table {
        report(*variant, rounds, arguments.records);
    }
    println!("kill -9 to committed output, checkpoints every second");
    for (variant, seconds) in recoveries {
        let all: Vec<String> = seconds.iter().map(|seconds| format!("{seconds:.2}")).collect();
        println!("  {:<32} median {:>6.2} s   of {}", variant.name(), median(seconds), all.join(", "));
    }
}

fn report(variant: Variant, rounds: &[Vec<Figures>; PROGRAMS.len()], records: u64) {
    let rate = |figures: &[Figures]| {
        records as f64 / median(figures.iter().map(|figures| figures.cpu_seconds).collect()) / 1e6
    };
    let base = rate(&rounds[1]);
    println!("{}, {} records, median of {}", variant.name(), records, rounds[0].len());
    println!("  {:<26} {:>16} {:>10} {:>10} {:>10}", "program", "M records/CPU-s", "of decode", "wall s", "peak MB");
    for (name, figures) in PROGRAMS.into_iter().zip(rounds) {
        let wall = median(figures.iter().map(|figures| figures.wall_seconds).collect());
        let peak = figures.iter().map(|figures| figures.peak_mb).fold(0.0, f64::max);
        let rate = rate(figures);
        println!("  {name:<26} {rate:>16.2} {:>9.0}% {wall:>10.1} {peak:>10.0}", rate / base * 100.0);
    }
    let checkpoints: Vec<f64> =
        rounds[PROGRAMS.len() - 1].iter().flat_map(|figures| &figures.checkpoint_ms).map(|ms| *ms as f64).collect();
    let longest = checkpoints.iter().copied().fold(0.0, f64::max);
    println!("  checkpoints: {}, median {:.0} ms, longest {longest:.0} ms\n", checkpoints.len(), median(checkpoints));
}
