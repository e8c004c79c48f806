//! How long a job of which a process was killed takes until it has put out something new: a job in one process that is
//! started again, and one over workers of which a spare one takes the place of the killed.

use std::time::{Duration, Instant};

use tidegate_crds::api::JobStatus;
use tidegate_tests::{
    crew::Crew,
    job::{End, Process},
};

use super::{Bench, measure, variant::Variant};

const PATIENCE: Duration = Duration::from_mins(5);
/// Epochs that a start publishes before it is killed.
const EPOCHS: u64 = 3;

/// What a killed job had to restore, and how long it took.
struct Recovery {
    state_mb: f64,
    /// From `kill -9` until an epoch was published that had not been.
    seconds: f64,
}

pub async fn table(bench: &Bench) -> String {
    let mut lines = vec!["kill -9 to committed output, checkpoints every second".to_owned()];
    for variant in Variant::ALL {
        println!("==> killing the job with {} and waiting for its output", variant.name());
        let whole = kills(bench, variant).await;
        let workers = lost_workers(bench, variant).await;
        for (name, recoveries) in [("the process", whole), ("a worker of three", workers)] {
            let all: Vec<String> =
                recoveries.iter().map(|one| format!("{:.2} s ({:.0} MB)", one.seconds, one.state_mb)).collect();
            if recoveries.is_empty() {
                lines.push(format!("  {:<26} {name:<18} had read everything before it was killed", variant.name()));
                continue;
            }
            let median = measure::median(recoveries.iter().map(|one| one.seconds));
            lines.push(format!("  {:<26} {name:<18} median {median:.2} s of {}", variant.name(), all.join(", ")));
        }
    }
    lines.join("\n")
}

/// Kills the job again and again until it has read everything.
async fn kills(bench: &Bench, variant: Variant) -> Vec<Recovery> {
    let (mut job, run) = variant.job(bench, "kills", "1s").await;
    let mut recoveries = Vec::new();
    let mut process = job.start();
    let mut epoch = process.committed(EPOCHS, PATIENCE).await;
    while let Some(before) = epoch {
        let state_mb = state_mb(&mut process).await;
        assert_eq!(process.kill_9(), End::Killed);
        let killed = Instant::now();
        process = job.start();
        if process.committed(before + 1, PATIENCE).await.is_some() {
            recoveries.push(Recovery { state_mb, seconds: killed.elapsed().as_secs_f64() });
        }
        epoch = process.committed(before + EPOCHS, PATIENCE).await;
    }
    assert_eq!(process.wait(PATIENCE), End::Finished);
    bench.world.assert_rows(&run, &variant.reference(&bench.workload)).await;
    recoveries
}

/// Kills workers that have subtasks, one after the other, until the job has read everything. Another takes their place
/// at once, since the restart strategy does not wait.
async fn lost_workers(bench: &Bench, variant: Variant) -> Vec<Recovery> {
    let (job, run) = variant.job(bench, "lost-workers", "1s").await;
    let mut crew = Crew::start(job.set("spec.restart", r#"{"fixedDelay":{"delay":"1ms","attempts":1000}}"#), 3, 1);
    let mut recoveries = Vec::new();
    let mut epoch = crew.coordinator().committed(EPOCHS, PATIENCE).await;
    while let Some(before) = epoch {
        let state_mb = state_mb(crew.coordinator()).await;
        let Some(busy) = busy_worker(crew.coordinator()).await else { break };
        let killed = Instant::now();
        crew.replace_worker(busy);
        if crew.coordinator().committed(before + 1, PATIENCE).await.is_some() {
            recoveries.push(Recovery { state_mb, seconds: killed.elapsed().as_secs_f64() });
        }
        epoch = crew.coordinator().committed(before + EPOCHS, PATIENCE).await;
    }
    assert_eq!(crew.wait(PATIENCE), End::Finished);
    bench.world.assert_rows(&run, &variant.reference(&bench.workload)).await;
    recoveries
}

/// A worker that has subtasks, while the job lasts.
async fn busy_worker(coordinator: &mut Process) -> Option<usize> {
    let busy = |status: &JobStatus| {
        let worker = status.workers.iter().find(|worker| !worker.subtasks.is_empty())?;
        worker.name.strip_prefix("worker-")?.parse().ok()
    };
    let status = coordinator.status_when("a worker with subtasks", PATIENCE, |status| busy(status).is_some()).await?;
    busy(&status)
}

/// Bytes that the newest checkpoint needs, in MB of a million.
async fn state_mb(process: &mut Process) -> f64 {
    let newest = process.status_when("a checkpoint", PATIENCE, |status| status.last_checkpoint.is_some()).await;
    newest.and_then(|status| status.last_checkpoint).map_or(0.0, |checkpoint| checkpoint.full_bytes as f64 / 1e6)
}
