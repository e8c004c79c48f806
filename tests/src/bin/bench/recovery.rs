//! How long a job that was killed takes until it has put out something new.

use std::time::{Duration, Instant};

use tidegate_tests::job::End;

use super::{Bench, variant::Variant};

const PATIENCE: Duration = Duration::from_mins(5);
/// Epochs that a start publishes before it is killed.
const EPOCHS: u64 = 3;

/// Seconds from each `kill -9` until an epoch is published that was not before, until the job has read everything.
pub async fn seconds(bench: &Bench, variant: Variant) -> Vec<f64> {
    let (mut job, run) = variant.job(bench, "kills", "1s").await;
    let mut seconds = Vec::new();
    let mut process = job.start();
    let mut epoch = process.committed(EPOCHS, PATIENCE).await;
    while let Some(before) = epoch {
        assert_eq!(process.kill_9(), End::Killed);
        let killed = Instant::now();
        process = job.start();
        if process.committed(before + 1, PATIENCE).await.is_some() {
            seconds.push(killed.elapsed().as_secs_f64());
        }
        epoch = process.committed(before + EPOCHS, PATIENCE).await;
    }
    assert_eq!(process.wait(PATIENCE), End::Finished);
    bench.world.assert_rows(&run, &variant.reference(&bench.workload)).await;
    seconds
}
