//! How long a job that was killed takes until it has put out something new.

use std::time::{Duration, Instant};

use tidegate_tests::{
    job::{End, Process},
    world::status,
};

use super::{Bench, variant::Variant};

const PATIENCE: Duration = Duration::from_mins(5);
/// Epochs that a start publishes before it is killed.
const EPOCHS: u64 = 3;

/// Seconds from each `kill -9` until an epoch is published that was not before, until the job has read everything.
pub async fn seconds(bench: &Bench, variant: Variant) -> Vec<f64> {
    let (mut job, run) = variant.job(bench, "kills", "1s").await;
    let mut seconds = Vec::new();
    let mut process = job.start();
    let mut epoch = committed(&mut process, EPOCHS).await;
    while let Some(before) = epoch {
        assert_eq!(process.kill_9(), End::Killed);
        let killed = Instant::now();
        process = job.start();
        if committed(&mut process, before + 1).await.is_some() {
            seconds.push(killed.elapsed().as_secs_f64());
        }
        epoch = committed(&mut process, before + EPOCHS).await;
    }
    assert_eq!(process.wait(PATIENCE), End::Finished);
    bench.world.assert_rows(&run, &variant.reference(&bench.workload)).await;
    seconds
}

/// Waits until `epoch` is published; the newest one that is, or nothing when the job has finished before.
async fn committed(process: &mut Process, epoch: u64) -> Option<u64> {
    let address = process.api(PATIENCE);
    let deadline = Instant::now() + PATIENCE;
    while process.ended().is_none() {
        if let Some(committed) = status(&address).await.and_then(|status| status["committedEpoch"].as_u64())
            && committed >= epoch
        {
            return Some(committed);
        }
        assert!(Instant::now() < deadline, "no epoch {epoch}:\n{}", process.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    None
}
