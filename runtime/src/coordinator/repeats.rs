//! Failures that come again: a record or a bug that no restart gets past.
//!
//! Restart strategies count failures whatever their cause, and the default one never gives up, which is right for systems
//! that are away. A failure of the job itself is another matter: the same one at the same place is told as such, and after
//! so many in a row the job has failed.

use tidegate_crds::{
    RestartSpec,
    api::{Failure, FailureReason},
};

/// A failure so long after the last one is a new one.
const FORGOTTEN_AFTER_MS: u64 = 600_000;
/// Two may be chance.
const FEWEST: u32 = 3;
/// The end of a strategy that has none; with its pauses, after some minutes.
const MOST: u32 = 10;

/// Counts how often the last failure has come in a row. Its message says where it happened: the same one, the same place.
#[derive(Debug)]
pub struct Repeats {
    /// So many in a row are the end.
    most: u32,
    last: Option<Failure>,
    at: u64,
    times: u32,
}

impl Repeats {
    pub fn new(spec: &RestartSpec) -> Self {
        let most = if spec.fixed_delay.is_some() { u32::MAX } else { MOST };
        Self { most: spec.same_failures.unwrap_or(most), last: None, at: 0, times: 0 }
    }

    /// How many times in a row the last failure has come.
    pub fn times(&self) -> u32 {
        self.times
    }

    /// No restart will get past the last failure, and it was tried often enough.
    pub fn are_too_many(&self) -> bool {
        self.times >= self.most && self.last.as_ref().is_some_and(|failure| is_of_the_job(failure.reason))
    }

    /// When it ends, if ever.
    fn tried_until(&self) -> String {
        match self.most {
            u32::MAX => String::new(),
            most => format!(" (it is tried {most} times at most, `spec.restart.sameFailures`)"),
        }
    }

    /// Takes in a failure at `now` milliseconds; gives it with what is known of its repeats.
    pub fn note(&mut self, failure: Failure, now: u64) -> Failure {
        let again = self.last.as_ref() == Some(&failure) && now.saturating_sub(self.at) < FORGOTTEN_AFTER_MS;
        self.times = if again { self.times + 1 } else { 1 };
        self.at = now;
        let message = match self.times {
            times if times >= FEWEST && is_of_the_job(failure.reason) => format!(
                "failed {times} times in a row at the same place, so no restart will get past it{}; the record, the job or \
                 what it reads has to change: {}",
                self.tried_until(),
                failure.message
            ),
            _ => failure.message.clone(),
        };
        let told = Failure { reason: failure.reason, message };
        self.last = Some(failure);
        told
    }
}

/// Not of a system that can't be reached, or a worker that is gone.
fn is_of_the_job(reason: FailureReason) -> bool {
    reason == FailureReason::TaskFailed || !reason.may_pass()
}

#[cfg(test)]
mod tests {
    use tidegate_crds::{FixedDelay, HumanDuration};

    use super::*;

    #[test]
    fn a_failure_that_comes_again_at_the_same_place_is_told_as_such() {
        let failure =
            |place: &str| Failure { reason: FailureReason::TaskFailed, message: format!("bad record at {place}") };
        let mut repeats = Repeats::new(&RestartSpec::default());
        let mut note = |place, now| repeats.note(failure(place), now).message;
        assert_eq!(note("7", 0), "bad record at 7");
        assert_eq!(note("7", 1000), "bad record at 7");
        assert!(note("7", 3000).starts_with("failed 3 times in a row at the same place"));
        assert!(note("7", 7000).ends_with("has to change: bad record at 7"));
        assert_eq!(note("8", 8000), "bad record at 8", "another place");
        assert_eq!(note("7", 9000), "bad record at 7", "not in a row");
        assert_eq!(note("7", 9000 + FORGOTTEN_AFTER_MS), "bad record at 7", "a long time ago");
    }

    #[test]
    fn a_system_that_stays_away_is_no_place() {
        let mut repeats = Repeats::new(&RestartSpec { same_failures: Some(2), ..RestartSpec::default() });
        for reason in [FailureReason::SourceUnreachable, FailureReason::LocalDiskFailed] {
            let away = Failure { reason, message: "no broker, or no space".into() };
            for now in 0..9 {
                assert_eq!(repeats.note(away.clone(), now), away);
                assert!(!repeats.are_too_many());
            }
            assert_eq!(repeats.times(), 9);
        }
    }

    #[test]
    fn each_strategy_has_an_end_for_what_comes_again_and_again() {
        let fixed = FixedDelay { attempts: 100, delay: HumanDuration::from_secs(1) };
        let given = |same_failures| RestartSpec { same_failures, ..RestartSpec::default() };
        for (spec, end) in [
            (given(None), Some(10)),
            (given(Some(4)), Some(4)),
            (RestartSpec { fixed_delay: Some(fixed.clone()), ..given(None) }, None),
            (RestartSpec { fixed_delay: Some(fixed), ..given(Some(1)) }, Some(1)),
        ] {
            let mut repeats = Repeats::new(&spec);
            let failure = Failure { reason: FailureReason::TaskFailed, message: "bad record".into() };
            let ends = (1..50).find(|time| {
                repeats.note(failure.clone(), *time);
                repeats.are_too_many()
            });
            assert_eq!(ends, end, "{spec:?}");
        }
    }
}
