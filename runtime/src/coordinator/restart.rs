//! How long to wait after a failure before the job is tried again, if at all.

use std::collections::VecDeque;

use tidegate_crds::{ExponentialDelay, FailureRate, FixedDelay, RestartSpec};

/// A restart strategy with what it remembers. Times are milliseconds of the machine's clock.
#[derive(Debug, Clone, PartialEq)]
pub enum Restart {
    Never,
    Fixed { spec: FixedDelay, used: u32 },
    Exponential { spec: ExponentialDelay, next_ms: Option<u64>, last_failure: Option<u64> },
    Rate { spec: FailureRate, failures: VecDeque<u64> },
}

impl Restart {
    pub fn new(spec: &RestartSpec) -> Self {
        match spec {
            RestartSpec { none: Some(_), .. } => Self::Never,
            RestartSpec { fixed_delay: Some(spec), .. } => Self::Fixed { spec: spec.clone(), used: 0 },
            RestartSpec { failure_rate: Some(spec), .. } => {
                Self::Rate { spec: spec.clone(), failures: VecDeque::new() }
            }
            RestartSpec { exponential_delay, .. } => Self::Exponential {
                spec: exponential_delay.clone().unwrap_or_default(),
                next_ms: None,
                last_failure: None,
            },
        }
    }

    /// The pause before the next try, in milliseconds; `None`: the job has failed. `jitter` is from -1 to 1.
    pub fn on_failure(&mut self, now: u64, jitter: f64) -> Option<u64> {
        match self {
            Self::Never => None,
            Self::Fixed { spec, used } => {
                *used += 1;
                (*used <= spec.attempts).then(|| spec.delay.millis())
            }
            Self::Exponential { spec, next_ms, last_failure } => {
                let calm = last_failure.is_none_or(|last| now.saturating_sub(last) >= spec.reset_after.millis());
                let pause = next_ms.filter(|_| !calm).unwrap_or(spec.initial.millis());
                *next_ms = Some(((pause as f64 * spec.multiplier) as u64).min(spec.max.millis()));
                *last_failure = Some(now);
                Some((pause as f64 * (1.0 + spec.jitter * jitter)) as u64)
            }
            Self::Rate { spec, failures } => {
                failures.push_back(now);
                while failures.front().is_some_and(|first| now.saturating_sub(*first) >= spec.interval.millis()) {
                    failures.pop_front();
                }
                (failures.len() as u32 <= spec.max_failures).then(|| spec.delay.millis())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_crds::{HumanDuration, NoRestart};

    use super::*;

    #[test]
    fn each_strategy_gives_its_pauses() {
        let exponential = RestartSpec {
            exponential_delay: Some(ExponentialDelay { jitter: 0.0, ..Default::default() }),
            ..Default::default()
        };
        let second = HumanDuration::from_secs(1);
        let fixed = RestartSpec { fixed_delay: Some(FixedDelay { attempts: 2, delay: second }), ..Default::default() };
        let rate = RestartSpec {
            failure_rate: Some(FailureRate { max_failures: 1, interval: HumanDuration::from_secs(60), delay: second }),
            ..Default::default()
        };
        let never = RestartSpec { none: Some(NoRestart {}), ..Default::default() };
        // Seconds at which the job fails, and the pauses in milliseconds.
        let cases: [(&str, RestartSpec, &[u64], &[Option<u64>]); 5] = [
            (
                "grows and is capped",
                exponential.clone(),
                &[0, 1, 2, 3, 4, 5, 6, 7],
                &[
                    Some(1000),
                    Some(2000),
                    Some(4000),
                    Some(8000),
                    Some(16_000),
                    Some(32_000),
                    Some(60_000),
                    Some(60_000),
                ],
            ),
            ("is forgotten after a healthy while", exponential, &[0, 1, 700], &[Some(1000), Some(2000), Some(1000)]),
            ("gives up after its attempts", fixed, &[0, 1, 2], &[Some(1000), Some(1000), None]),
            ("gives up when failures are too many in a time", rate, &[0, 70, 80], &[Some(1000), Some(1000), None]),
            ("never", never, &[0], &[None]),
        ];
        for (what, spec, failures, expected) in cases {
            let mut restart = Restart::new(&spec);
            let pauses: Vec<_> = failures.iter().map(|at| restart.on_failure(at * 1000, 0.0)).collect();
            assert_eq!(pauses, expected, "{what}");
        }
    }
}
