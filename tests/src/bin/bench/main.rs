//! `make bench`: what the store-sales job costs, in one run, on this machine.
//!
//! Orders as JSON of about 100 bytes lie in a topic of 8 partitions. What reads them is a process of its own, so that its
//! processor time and memory are those that the kernel counted ([`tidegate_tests::usage`]). Each [`Section`] changes one thing and holds
//! the rest: the duty of the program, the subtasks, the keys, the checkpoint interval, the processes, the state that a
//! killed job has to restore. The job's output is compared with the reference, row by row: a fast wrong answer is worth
//! nothing.
//!
//! The program under test is built like a release, but for its fault points, which cost nothing where no fault is set.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step ends the benchmark
#![allow(clippy::disallowed_methods)] // a benchmark lives in real time

mod backends;
mod checkpoints;
mod duty;
mod keys;
mod measure;
mod parallelism;
mod processes;
mod recovery;
mod stage;
mod variant;

use clap::{Parser, Subcommand, ValueEnum};
use measure::Figures;
use stage::Duty;
use tidegate_tests::{
    oracle::{Rows, Workload},
    world::World,
};

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
    /// What to measure; everything when it is not given. Repeatable.
    #[arg(long)]
    only: Vec<Section>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// A table of figures, in the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// The job beside consuming and decoding alone.
    Duty,
    /// 1, 2 and 4 subtasks.
    Parallelism,
    /// A thousand to ten million keys: what a row costs, and a checkpoint.
    Keys,
    /// A deduplication of as many keys, in memory and in RocksDB.
    Backends,
    /// Checkpoints every second against none.
    Checkpoints,
    /// Two processes that exchange rows against one.
    Processes,
    /// Killed jobs, by the state that they have to restore.
    Recovery,
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
    pub rounds: usize,
}

impl Bench {
    /// Runs the job on a topic as often as asked for, with checkpoints every second and these fields set, and compares the
    /// rows each time.
    async fn rounds(&self, name: &str, orders: &str, expected: &Rows, fields: &[(&str, &str)]) -> Vec<Figures> {
        let mut rounds = Vec::new();
        for round in 0..self.rounds {
            let name = format!("{name}-{round}");
            let run = self.world.results(&name, orders).await;
            let job = self.world.job(&run, &name).set("spec.checkpoint.interval", "1s");
            let job = fields.iter().fold(job, |job, (path, value)| job.set(path, value));
            let mut job = self.settings.iter().fold(job, |job, (path, value)| job.set(path, value));
            rounds.push(measure::whole(&mut job).await);
            self.world.assert_rows(&run, expected).await;
        }
        rounds
    }
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
    let bench = Bench { world, workload, orders, settings: arguments.set.clone(), rounds: arguments.rounds };
    let mut report = Vec::new();
    for section in Section::value_variants() {
        if !arguments.only.is_empty() && !arguments.only.contains(section) {
            continue;
        }
        report.push(match section {
            Section::Duty => duty::table(&bench).await,
            Section::Parallelism => parallelism::table(&bench).await,
            Section::Keys => keys::table(&bench).await,
            Section::Backends => backends::table(&bench).await,
            Section::Checkpoints => checkpoints::table(&bench).await,
            Section::Processes => processes::table(&bench).await,
            Section::Recovery => recovery::table(&bench).await,
        });
    }
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let build = if cfg!(debug_assertions) { "no release build: the figures mean little" } else { "release build" };
    println!("\n{} records; {cores} cores, which the servers use too; {build}", arguments.records);
    for table in report {
        println!("\n{table}");
    }
}
