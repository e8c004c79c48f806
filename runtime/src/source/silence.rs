//! How long a reader was asked in vain: the clock that idleness is measured by.
//!
//! A split is idle when it was asked for a while and brought nothing. Time in which it was not asked says nothing of it:
//! while the job is paused, waits for the tasks behind it, or is stopped as a whole process, records may gather in every
//! split, and whichever is read first must not count the others as idle. So this clock stands still unless the reader is
//! being asked, and goes on in small steps: a step that took longer than it should is one in which this process was not
//! running. Flink measures by a clock of this kind, too (`RelativeClock`, FLINK-35886).

use std::time::Duration;

/// Between two looks at a reader that does not answer, at most.
const LONGEST_LOOK: Duration = Duration::from_millis(50);
/// Looks in the time after which a split is idle, at least.
const LOOKS: u32 = 8;

/// Counts the time in which a reader was asked and had no answer.
#[derive(Debug)]
pub struct Silence {
    timeout: Duration,
    counted: Duration,
    /// Up to when time was counted, or passed over.
    last: Duration,
    is_asking: bool,
}

impl Silence {
    /// `now` is in the time of [`crate::env::monotonic`], here and below.
    pub fn new(timeout: Duration, now: Duration) -> Self {
        Self { timeout, counted: Duration::ZERO, last: now, is_asking: false }
    }

    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Time counted so far.
    pub fn counted(&self) -> Duration {
        self.counted
    }

    /// How long to wait for an answer before the next look.
    pub fn look(&self) -> Duration {
        (self.timeout / LOOKS).min(LONGEST_LOOK)
    }

    /// The reader is asked from now on. Whether it was not for so long that what was known of its splits is too old.
    #[must_use]
    pub fn ask(&mut self, now: Duration) -> bool {
        if self.is_asking {
            return self.wait(now);
        }
        self.is_asking = true;
        let unasked = now.saturating_sub(std::mem::replace(&mut self.last, now));
        unasked >= self.timeout
    }

    /// The reader, where it is asked, had no answer up to now. Returns as [`Silence::ask`] does.
    #[must_use]
    pub fn wait(&mut self, now: Duration) -> bool {
        if !self.is_asking {
            return false;
        }
        let passed = now.saturating_sub(std::mem::replace(&mut self.last, now));
        // A timer that is late by as much as it was set to is not the process's fault yet.
        let waited = passed.min(self.look() * 2);
        self.counted += waited;
        passed.saturating_sub(waited) >= self.timeout
    }

    /// The reader is no longer asked.
    pub fn pause(&mut self) {
        self.is_asking = false;
    }
}
