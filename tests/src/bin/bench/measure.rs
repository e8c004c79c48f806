//! One round: the parts and the job, one after the other, over the same topic.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tidegate_crds::api::CheckpointHistory;
use tidegate_tests::job::{End, Job};

use super::{
    Bench,
    usage::{self, Usage},
    variant::Variant,
};

/// How long a program may read.
const PATIENCE: Duration = Duration::from_mins(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What one program used.
#[derive(Debug, Default)]
pub struct Figures {
    pub cpu_seconds: f64,
    pub wall_seconds: f64,
    pub peak_mb: f64,
    /// Of each checkpoint that completed, from its trigger until the log had it.
    pub checkpoint_ms: Vec<u64>,
}

/// What is measured, in the order of the figures.
pub const PROGRAMS: [&str; 4] = ["consume", "consume and decode", "consume, decode by arrow", "job"];

pub async fn round(bench: &Bench, variant: Variant, round: usize) -> [Figures; PROGRAMS.len()] {
    let workload = &bench.workload;
    let (mut job, run) = variant.job(bench, &format!("{round}"), "5s").await;
    let consumed = part(&job, "consume", workload.count);
    let decoded = part(&job, "decode", workload.count);
    let by_arrow = part(&job, "arrow-json", workload.count);
    let figures = whole(&mut job).await;
    bench.world.assert_rows(&run, &variant.reference(workload)).await;
    println!("    round {}: job {:.1} CPU-s, output exact", round + 1, figures.cpu_seconds);
    [consumed, decoded, by_arrow, figures]
}

fn part(job: &Job, part: &str, records: u64) -> Figures {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.arg(part).args(job.arguments()).stdout(Stdio::piped());
    let started = Instant::now();
    let child = command.spawn().expect("this program starts");
    let mut seen = Usage::default();
    while !seen.ended {
        assert!(started.elapsed() < PATIENCE, "`{part}` is too slow");
        std::thread::sleep(LOOK_EVERY);
        seen = later(seen, usage::of(child.id()));
    }
    let wall_seconds = started.elapsed().as_secs_f64();
    let output = child.wait_with_output().expect("its output");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), records.to_string(), "`{part}` reads the whole topic");
    Figures { cpu_seconds: seen.cpu_seconds, wall_seconds, peak_mb: seen.peak_mb, checkpoint_ms: Vec::new() }
}

async fn whole(job: &mut Job) -> Figures {
    let started = Instant::now();
    let mut process = job.start();
    let address = process.api(PATIENCE);
    let mut seen = Usage::default();
    let mut checkpoints = BTreeMap::new();
    while !seen.ended {
        assert!(started.elapsed() < PATIENCE, "the job is too slow");
        if let Ok(answer) = reqwest::get(format!("http://{address}/v1/checkpoints")).await
            && let Ok(history) = answer.json::<CheckpointHistory>().await
        {
            let completed = history.checkpoints.into_iter().filter(|checkpoint| checkpoint.failure.is_none());
            checkpoints.extend(completed.map(|checkpoint| (checkpoint.epoch, checkpoint.duration_ms)));
        }
        tokio::time::sleep(LOOK_EVERY).await;
        seen = later(seen, usage::of(process.id()));
    }
    let wall_seconds = started.elapsed().as_secs_f64();
    assert_eq!(process.wait(PATIENCE), End::Finished);
    Figures {
        cpu_seconds: seen.cpu_seconds,
        wall_seconds,
        peak_mb: seen.peak_mb,
        checkpoint_ms: checkpoints.into_values().collect(),
    }
}

/// Both figures only grow; a process that has ended no longer tells its memory.
fn later(before: Usage, now: Usage) -> Usage {
    Usage {
        cpu_seconds: now.cpu_seconds.max(before.cpu_seconds),
        peak_mb: now.peak_mb.max(before.peak_mb),
        ended: now.ended,
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
