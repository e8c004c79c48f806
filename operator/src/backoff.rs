//! Pauses after failures: longer with each in a row, and never for all jobs at the same time.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock;

const FIRST: f64 = 1.0;
const LONGEST: f64 = 60.0;

/// Counts the failures in a row of each job.
#[derive(Debug, Default)]
pub struct Failures {
    failures: Mutex<BTreeMap<String, u32>>,
}

impl Failures {
    /// The pause after one more failure.
    pub fn failed(&self, job: &str) -> Duration {
        let mut failures = self.lock();
        let count = failures.entry(job.to_owned()).or_default();
        let pause = (FIRST * 2_f64.powi((*count).min(16) as i32)).min(LONGEST);
        *count += 1;
        Duration::from_secs_f64(pause * (0.75 + 0.5 * clock::jitter()))
    }

    pub fn succeeded(&self, job: &str) {
        self.lock().remove(job);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u32>> {
        // Each change leaves the counts whole.
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_begin_anew_after_a_success() {
        let backoff = Failures::default();
        let pauses: Vec<f64> = (0..8).map(|_| backoff.failed("a").as_secs_f64()).collect();
        assert!(pauses[0] < 1.3 && pauses[7] > 40.0 && pauses[7] < 76.0, "{pauses:?}");
        backoff.succeeded("a");
        assert!(backoff.failed("a").as_secs_f64() < 1.3);
    }
}
