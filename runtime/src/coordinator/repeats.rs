//! Failures that come again: a record or a bug that no restart gets past.

use tidegate_crds::api::{Failure, FailureReason};

/// A failure so long after the last one is a new one.
const FORGOTTEN_AFTER_MS: u64 = 600_000;
/// Two may be chance.
const FEWEST: u32 = 3;

/// Counts how often the last failure has come in a row. Its message says where it happened: the same one, the same place.
#[derive(Debug, Default)]
pub struct Repeats {
    last: Option<Failure>,
    at: u64,
    times: u32,
}

impl Repeats {
    /// Takes in a failure at `now` milliseconds; gives it with what is known of its repeats.
    pub fn note(&mut self, failure: Failure, now: u64) -> Failure {
        let again = self.last.as_ref() == Some(&failure) && now.saturating_sub(self.at) < FORGOTTEN_AFTER_MS;
        self.times = if again { self.times + 1 } else { 1 };
        self.at = now;
        let message = match self.times {
            times if times >= FEWEST && is_of_the_job(failure.reason) => format!(
                "failed {times} times in a row at the same place, so no restart will get past it; the record, the job or \
                 what it reads has to change: {}",
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
    use super::*;

    #[test]
    fn a_failure_that_comes_again_at_the_same_place_is_told_as_such() {
        let failure =
            |place: &str| Failure { reason: FailureReason::TaskFailed, message: format!("bad record at {place}") };
        let mut repeats = Repeats::default();
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
        let mut repeats = Repeats::default();
        let away = Failure { reason: FailureReason::SourceUnreachable, message: "no broker".into() };
        for now in 0..9 {
            assert_eq!(repeats.note(away.clone(), now), away);
        }
    }
}
