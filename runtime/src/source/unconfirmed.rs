//! What time may be told while there may be splits that nobody knows of yet.
//!
//! A new split holds records before it is discovered. They are no older than what the others had when it was made, but
//! the watermark would have gone on by the time they are read, and they would be late. So a reader that looks for new
//! splits says when it last knew that it had them all, and the watermark goes no further than what had been read by then.

use std::{collections::VecDeque, time::Duration};

use crate::ids::EventTime;

/// Watermarks of one moment and the next are kept as one.
const STEP: Duration = Duration::from_millis(50);
/// So many are kept; the last stands for all behind it.
const MOST: usize = 64;

/// Watermarks that wait until it is known that no split was overlooked.
#[derive(Debug)]
pub struct Unconfirmed {
    waiting: VecDeque<Waiting>,
    confirmed: EventTime,
}

#[derive(Debug)]
struct Waiting {
    first_at: Duration,
    /// When the newest record was read that it rests on.
    last_at: Duration,
    watermark: EventTime,
}

impl Default for Unconfirmed {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), confirmed: EventTime::MIN }
    }
}

impl Unconfirmed {
    /// The watermark is this, of records read up to `read_at`. Returns how much of it may be told when all splits were
    /// known at `known_at`; all of it, where splits never come.
    pub fn confirm(&mut self, watermark: EventTime, read_at: Duration, known_at: Option<Duration>) -> EventTime {
        let Some(known_at) = known_at else { return watermark };
        let is_full = self.waiting.len() >= MOST;
        match self.waiting.back_mut() {
            Some(last) if is_full || read_at.saturating_sub(last.first_at) < STEP => {
                (last.last_at, last.watermark) = (read_at, last.watermark.max(watermark));
            }
            _ => self.waiting.push_back(Waiting { first_at: read_at, last_at: read_at, watermark }),
        }
        while let Some(first) = self.waiting.front()
            && first.last_at <= known_at
        {
            self.confirmed = self.confirmed.max(first.watermark);
            self.waiting.pop_front();
        }
        self.confirmed
    }

    /// There are new splits: what waits did not know of them.
    pub fn forget(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_watermark_waits_until_all_splits_of_its_time_are_known() {
        let mut unconfirmed = Unconfirmed::default();
        assert_eq!(unconfirmed.confirm(EventTime(10), ms(0), Some(ms(0))), EventTime(10), "what was restored");
        assert_eq!(unconfirmed.confirm(EventTime(20), ms(100), Some(ms(0))), EventTime(10));
        assert_eq!(unconfirmed.confirm(EventTime(30), ms(200), Some(ms(150))), EventTime(20));
        assert_eq!(unconfirmed.confirm(EventTime(30), ms(200), Some(ms(200))), EventTime(30));
        unconfirmed.confirm(EventTime(40), ms(300), Some(ms(200)));
        unconfirmed.forget();
        assert_eq!(unconfirmed.confirm(EventTime(5), ms(300), Some(ms(400))), EventTime(30), "a new split holds it");
        assert_eq!(unconfirmed.confirm(EventTime(50), ms(500), None), EventTime(50), "splits never come");
    }

    #[test]
    fn what_waits_is_bounded_however_long_nobody_can_look() {
        let mut unconfirmed = Unconfirmed::default();
        for moment in 1..1_000_000 {
            let told = unconfirmed.confirm(EventTime(moment), ms(moment as u64), Some(ms(0)));
            assert_eq!(told, EventTime::MIN);
        }
        assert!(unconfirmed.waiting.len() <= MOST);
        let told = unconfirmed.confirm(EventTime(1_000_000), ms(1_000_000), Some(ms(1_000_000)));
        assert_eq!(told, EventTime(1_000_000));
    }
}
