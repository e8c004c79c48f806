//! Pauses between the tries of a request.

use std::time::Duration;

use crate::env;

/// So many more tries, with pauses that double up to a limit. Chance takes up to half off each pause, so that those who
/// failed together do not come back together.
#[derive(Debug)]
pub(super) struct Backoff {
    left: u32,
    pause: Duration,
}

/// No pause is longer.
const LONGEST: Duration = Duration::from_secs(5);

impl Backoff {
    /// After a first try, `left` more.
    pub(super) fn new(left: u32, first: Duration) -> Self {
        Self { left, pause: first }
    }

    /// Waits until it is time for another try; `false`, at once, if there is none left.
    pub(super) async fn again(&mut self) -> bool {
        let Some(pause) = self.next(env::random()) else { return false };
        env::sleep(pause).await;
        true
    }

    /// The pause before the next try: between half of what it may be and all of it.
    fn next(&mut self, chance: u64) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let half = self.pause / 2;
        self.pause = LONGEST.min(self.pause * 2);
        Some(half + half.mul_f64(chance as f64 / u64::MAX as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_tries_come_to_an_end() {
        for (chance, share) in [(0, 0.5), (u64::MAX / 2, 0.75), (u64::MAX, 1.0)] {
            let mut backoff = Backoff::new(9, Duration::from_millis(100));
            for longest in [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000] {
                let expected = Duration::from_millis(longest).mul_f64(share);
                assert_eq!(backoff.next(chance).unwrap().as_micros(), expected.as_micros());
            }
            assert_eq!(backoff.next(chance), None);
        }
    }
}
