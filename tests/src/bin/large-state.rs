//! A measure: a job that remembers more keys than memory holds, killed in the middle, restored, and compared.
//!
//! Generated orders are counted once each, so every order's id is a key in RocksDB. The job is one process in a cgroup of
//! its own with little memory, its checkpoints lie in a folder beside its local disk. It is killed when half of the keys
//! are there, and again when nine tenths are; what it puts out in the end is compared row by row.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step ends the measure
#![allow(clippy::disallowed_methods)] // a measure lives in real time

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Parser;
use tidegate_crds::api::{CheckpointStatus, JobStatus};
use tidegate_tests::{
    job::{End, Job, Process},
    oracle::{Workload, file_rows, reference_of_originals},
    usage,
};

/// Measures a job whose state is larger than its memory.
#[derive(Debug, Parser)]
struct Arguments {
    /// Gets the checkpoints and what is on the local disk: about four times the state. It must not be there.
    folder: PathBuf,
    /// Orders in millions; a key takes about 26 bytes.
    #[arg(long, default_value_t = 40)]
    millions: u64,
    /// Memory of the process in MiB.
    #[arg(long, default_value_t = 2048)]
    memory: u64,
    #[arg(long, default_value_t = 2)]
    parallelism: u32,
    /// Between checkpoints. The job is killed when one says that the state is large enough, so there must be several.
    #[arg(long, default_value = "2s")]
    interval: String,
}

const EXAMPLE: &str = "store-sales-local.yaml";
const PATIENCE: Duration = Duration::from_hours(2);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A line is printed for a checkpoint when the state has grown by so much since the last one.
const LINE_EVERY: u64 = 500_000_000;
/// Bytes of a key in a checkpoint, about: 16 of its hash, 8 of its time, and the filter.
const BYTES_A_KEY: u64 = 26;

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let folder = &arguments.folder;
    std::fs::create_dir(folder).expect("a new folder");
    let settings = serde_json::json!({
        "count": arguments.millions * 1_000_000, "stores": 10, "duplicates": 0.05, "outOfOrder": 0.2, "maxDelay": "5s",
    });
    let workload = Workload::of(&serde_json::from_value(settings.clone()).expect("a generator"));
    let output = folder.join("output");
    let mut job = Job::example(EXAMPLE)
        .set("spec.sources[0].generator", &settings)
        .set("spec.sinks[0].files.path", output.display())
        .set("spec.checkpoint.storage.local.path", folder.join("checkpoints").display())
        .set("spec.checkpoint.interval", &arguments.interval)
        .set("spec.stateBackend", "RocksDB")
        .set("spec.parallelism", arguments.parallelism)
        .env("TIDEGATE_LOCAL_FOLDER", folder.join("local").display())
        .env("TIDEGATE_MEMORY_LIMIT", arguments.memory);
    let group = Group::new(arguments.memory << 20);
    let started = Instant::now();
    for tenths in [5, 9] {
        let mut process = start(&mut job, &group).await;
        let bytes = workload.count * BYTES_A_KEY / 10 * tenths;
        watch(&mut process, started, |status| state_bytes(status) >= bytes).await;
        println!("==> kill -9 with {} MB of state", bytes / 1_000_000);
        assert_eq!(process.kill_9(), End::Killed);
    }
    let mut process = start(&mut job, &group).await;
    watch(&mut process, started, |_| false).await;
    assert_eq!(process.wait(PATIENCE), End::Finished);
    println!("==> finished after {:.0} s; comparing", started.elapsed().as_secs_f64());
    let (found, expected) = (file_rows(&output), reference_of_originals(&workload));
    let differ = found.difference(&expected);
    println!("{} rows, {} differ", found.len(), differ.len());
    assert!(differ.is_empty(), "the output is not exact");
    std::fs::remove_dir_all(folder).expect("the folder");
}

/// Starts the job, and waits until an epoch is published that had not been.
async fn start(job: &mut Job, group: &Group) -> Process {
    let begun = Instant::now();
    let mut process = job.start();
    group.take(process.id());
    let status = process.status_when("the job runs", PATIENCE, |status| status.committed_epoch.is_some()).await;
    if let Some(restored) = status.and_then(|status| status.last_restore) {
        let peak = usage::of(process.id()).peak_mb;
        println!("==> goes on after {:.1} s, peak of memory {peak:.0} MB: {restored:?}", begun.elapsed().as_secs_f64());
    }
    process
}

fn state_bytes(status: &JobStatus) -> u64 {
    status.last_checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.full_bytes)
}

/// Prints how the state grows, until `enough` says so or the job ends.
async fn watch(process: &mut Process, started: Instant, enough: impl Fn(&JobStatus) -> bool) {
    let mut printed = 0;
    loop {
        let Some(status) = process.status_when("a status", PATIENCE, |_| true).await else { return };
        if state_bytes(&status) >= printed + LINE_EVERY
            && let Some(checkpoint) = &status.last_checkpoint
        {
            printed = checkpoint.full_bytes;
            print(checkpoint, started, usage::of(process.id()).peak_mb);
        }
        if enough(&status) {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn print(checkpoint: &CheckpointStatus, started: Instant, peak_mb: f64) {
    println!(
        "{:>5.0} s: checkpoint {} of {:.2} GB, {:.0} MB of it new, {} ms, stood still {} ms; peak of memory {peak_mb:.0} MB",
        started.elapsed().as_secs_f64(),
        checkpoint.epoch,
        checkpoint.full_bytes as f64 / 1e9,
        checkpoint.bytes as f64 / 1e6,
        checkpoint.duration_ms,
        checkpoint.longest.sync_ms,
    );
}

/// A memory cgroup, of version 1 or 2, removed when dropped.
struct Group(PathBuf);

impl Group {
    fn new(bytes: u64) -> Self {
        let mounted = Path::new("/sys/fs/cgroup");
        let (parent, limit) = match mounted.join("memory") {
            first if first.exists() => (first, "memory.limit_in_bytes"),
            _ => (mounted.to_owned(), "memory.max"),
        };
        let folder = parent.join(format!("tidegate-large-state-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("a cgroup of its own: run it as root");
        std::fs::write(folder.join(limit), bytes.to_string()).expect("a limit");
        Self(folder)
    }

    /// From now on the process has what the group has.
    fn take(&self, process: u32) {
        std::fs::write(self.0.join("cgroup.procs"), process.to_string()).expect("the process joins");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir(&self.0) {
            eprintln!("{} stays: {error}", self.0.display());
        }
    }
}
