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
        let Some(left) = self.left.checked_sub(1) else { return false };
        self.left = left;
        env::sleep(jittered(self.pause, env::random())).await;
        self.pause = LONGEST.min(self.pause * 2);
        true
    }
}

/// Between half of `pause` and all of it.
fn jittered(pause: Duration, chance: u64) -> Duration {
    let half = pause / 2;
    half + half.mul_f64(chance as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_a_limit_and_tries_come_to_an_end() {
        let mut backoff = Backoff::new(9, Duration::from_millis(100));
        for longest in [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000] {
            let before = tokio::time::Instant::now();
            assert!(backoff.again().await);
            let waited = before.elapsed();
            let longest = Duration::from_millis(longest);
            // The timer counts whole milliseconds.
            assert!(waited >= longest / 2 && waited <= longest + Duration::from_millis(1), "{waited:?} of {longest:?}");
        }
        assert!(!backoff.again().await);
    }

    #[test]
    fn chance_takes_up_to_half_off() {
        let pause = Duration::from_secs(1);
        assert_eq!(jittered(pause, 0), pause / 2);
        assert_eq!(jittered(pause, u64::MAX), pause);
    }
}
