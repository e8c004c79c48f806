//! Running a program to its end, and what it used.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tidegate_crds::api::{CheckpointHistory, CheckpointStatus};
use tidegate_tests::{
    crew::Crew,
    job::{End, Job, Process},
    usage::{self, Usage},
};

/// How long a program may read.
const PATIENCE: Duration = Duration::from_mins(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a program, or the processes of a job together, used.
#[derive(Debug, Default)]
pub struct Figures {
    pub cpu_seconds: f64,
    pub wall_seconds: f64,
    pub peak_mb: f64,
    /// Those that completed.
    pub checkpoints: Vec<CheckpointStatus>,
}

/// Runs a part of the job as a program of its own.
pub fn part(job: &Job, part: &str, records: u64) -> Figures {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.arg(part).args(job.arguments()).stdout(Stdio::piped());
    let started = Instant::now();
    let child = command.spawn().expect("this program starts");
    let mut seen = Usage::default();
    while !seen.ended {
        assert!(started.elapsed() < PATIENCE, "`{part}` is too slow");
        std::thread::sleep(LOOK_EVERY);
        seen.later(usage::of(child.id()));
    }
    let wall_seconds = started.elapsed().as_secs_f64();
    let output = child.wait_with_output().expect("its output");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), records.to_string(), "`{part}` reads the whole topic");
    Figures { cpu_seconds: seen.cpu_seconds, wall_seconds, peak_mb: seen.peak_mb, checkpoints: Vec::new() }
}

/// Runs the job in one process.
pub async fn whole(job: &mut Job) -> Figures {
    let mut process = job.start();
    let figures = watch(&mut process, &[]).await;
    assert_eq!(process.wait(PATIENCE), End::Finished);
    figures
}

/// Runs the job of processes that have just been started.
pub async fn crew(mut crew: Crew) -> Figures {
    let workers = crew.workers();
    let figures = watch(crew.coordinator(), &workers).await;
    assert_eq!(crew.wait(PATIENCE), End::Finished);
    figures
}

/// Watches a job until the process that serves its API ends, which has `others` beside it.
async fn watch(process: &mut Process, others: &[u32]) -> Figures {
    let started = Instant::now();
    let address = process.api(PATIENCE);
    let (mut seen, mut beside) = (Usage::default(), vec![Usage::default(); others.len()]);
    let mut checkpoints = BTreeMap::new();
    while !seen.ended {
        assert!(started.elapsed() < PATIENCE, "the job is too slow");
        if let Ok(answer) = reqwest::get(format!("http://{address}/v1/checkpoints")).await
            && let Ok(history) = answer.json::<CheckpointHistory>().await
        {
            let completed = history.checkpoints.into_iter().filter(|checkpoint| checkpoint.failure.is_none());
            checkpoints.extend(completed.map(|checkpoint| (checkpoint.epoch, checkpoint)));
        }
        tokio::time::sleep(LOOK_EVERY).await;
        for (id, seen) in others.iter().zip(&mut beside) {
            seen.later(usage::of(*id));
        }
        seen.later(usage::of(process.id()));
    }
    let all = || beside.iter().chain([&seen]);
    Figures {
        cpu_seconds: all().map(|usage| usage.cpu_seconds).sum(),
        wall_seconds: started.elapsed().as_secs_f64(),
        peak_mb: all().map(|usage| usage.peak_mb).sum(),
        checkpoints: checkpoints.into_values().collect(),
    }
}

/// Millions of records per CPU-second, the median of rounds.
pub fn rate(rounds: &[Figures], records: u64) -> f64 {
    records as f64 / median(rounds.iter().map(|figures| figures.cpu_seconds)) / 1e6
}

/// A line on how long checkpoints took, from their trigger until the log had them.
pub fn durations<'a>(checkpoints: impl Iterator<Item = &'a CheckpointStatus>) -> String {
    let all: Vec<f64> = checkpoints.map(|checkpoint| checkpoint.duration_ms as f64).collect();
    let (count, longest) = (all.len(), all.iter().copied().fold(0.0, f64::max));
    format!("  checkpoints: {count}, median {:.0} ms, longest {longest:.0} ms", median(all))
}

/// The columns of [`state_line`].
pub const STATE_COLUMNS: &str =
    "   M records/CPU-s  peak MB   stand still ms        upload ms      MB a checkpoint   state MB";

/// What a record costs, and a checkpoint: medians of all rounds, and in parentheses the longest and the largest.
pub fn state_line(rounds: &[Figures], records: u64) -> String {
    let checkpoints: Vec<_> = rounds.iter().flat_map(|figures| &figures.checkpoints).collect();
    let spread = |of: &dyn Fn(&CheckpointStatus) -> f64| {
        let values = || checkpoints.iter().map(|checkpoint| of(checkpoint));
        format!("{:.1} ({:.1})", median(values()), values().fold(0.0, f64::max))
    };
    let state = checkpoints.iter().map(|checkpoint| checkpoint.full_bytes).max().unwrap_or_default();
    format!(
        "{:>18.2} {:>8.0} {:>16} {:>16} {:>20} {:>10.1}",
        rate(rounds, records),
        rounds.iter().map(|figures| figures.peak_mb).fold(0.0, f64::max),
        spread(&|checkpoint| checkpoint.longest.sync_ms as f64),
        spread(&|checkpoint| checkpoint.longest.async_ms as f64),
        spread(&|checkpoint| checkpoint.bytes as f64 / 1e6),
        state as f64 / 1e6,
    )
}

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
