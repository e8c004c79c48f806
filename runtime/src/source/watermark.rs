//! Event time of a source: from the newest event of each split to one watermark.
//!
//! A split's watermark is its newest event time less the allowed delay, less one millisecond (an event of the very same
//! instant may still come). The source's is the least over its splits, but for those that are idle or at their end. The
//! newest event time is part of the checkpoint, so a restored source goes on with the watermark it had.

use std::time::Duration;

use arrow::{array::TimestampMillisecondArray, error::ArrowError};

use super::{Run, SplitState};
use crate::ids::EventTime;

#[derive(Debug)]
pub struct Watermarks {
    delay_ms: i64,
    idle_timeout: Option<Duration>,
    splits: Vec<Split>,
    last: EventTime,
    idle: bool,
}

/// What a source says of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Watermark(EventTime),
    /// No split brings anything for now.
    Idle,
}

#[derive(Debug, Clone)]
struct Split {
    name: String,
    newest: Option<EventTime>,
    /// When it last had a record, in the monotonic time of [`crate::env`].
    active_at: Duration,
    ended: bool,
}

impl Watermarks {
    pub fn new(delay: Duration, idle_timeout: Option<Duration>) -> Self {
        Self { delay_ms: delay.as_millis() as i64, idle_timeout, splits: Vec::new(), last: EventTime::MIN, idle: false }
    }

    /// The reader's splits are these now; `known` has the newest event times of a checkpoint.
    pub fn assign(&mut self, positions: &[SplitState], known: &[SplitState], now: Duration) {
        let old = std::mem::take(&mut self.splits);
        self.splits = positions
            .iter()
            .map(|position| {
                let before = old.iter().find(|split| split.name == position.split);
                let restored = known.iter().find(|split| split.split == position.split);
                Split {
                    name: position.split.clone(),
                    newest: before.map_or_else(|| restored.and_then(|split| split.newest), |split| split.newest),
                    active_at: before.map_or(now, |split| split.active_at),
                    ended: position.end.is_some_and(|end| position.next >= end),
                }
            })
            .collect();
    }

    /// Takes in the event times of a batch. `runs` name the split of each row.
    pub fn observe(
        &mut self,
        times: &TimestampMillisecondArray,
        runs: &[Run],
        now: Duration,
    ) -> Result<(), ArrowError> {
        for run in runs {
            let slice = times.slice(run.records.start, run.records.len());
            let Some(split) = self.splits.get_mut(run.split) else { continue };
            split.active_at = now;
            if let Some(newest) = arrow::compute::max(&slice) {
                split.newest = split.newest.max(Some(EventTime(newest)));
            }
        }
        Ok(())
    }

    /// Notes which bounded splits have ended.
    pub fn update_ends(&mut self, positions: &[SplitState]) {
        for (split, position) in self.splits.iter_mut().zip(positions) {
            split.ended = position.end.is_some_and(|end| position.next >= end);
        }
    }

    /// What there is to say of time, if anything has changed.
    pub fn advance(&mut self, now: Duration) -> Option<Progress> {
        let idle =
            |split: &Split| self.idle_timeout.is_some_and(|timeout| now.saturating_sub(split.active_at) >= timeout);
        let mut active = self.splits.iter().filter(|split| !split.ended && !idle(split)).peekable();
        if active.peek().is_none() {
            // Without splits, or with all of them silent or at their end, this source must not hold others back.
            return (!std::mem::replace(&mut self.idle, true)).then_some(Progress::Idle);
        }
        let mut least = EventTime::MAX;
        for split in active {
            // A split without events yet may bring any time.
            least = least.min(split.newest.map_or(EventTime::MIN, |newest| EventTime(newest.0 - self.delay_ms - 1)));
        }
        let woken = std::mem::replace(&mut self.idle, false);
        if least > self.last || woken {
            self.last = self.last.max(least);
            return Some(Progress::Watermark(self.last));
        }
        None
    }

    /// Whether a split is idle, or may become so without anything being read.
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.idle_timeout
    }

    /// The reader's positions, with the newest event time of each split.
    pub fn complete(&self, mut positions: Vec<SplitState>) -> Vec<SplitState> {
        for (position, split) in positions.iter_mut().zip(&self.splits) {
            position.newest = split.newest;
        }
        positions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(name: &str) -> SplitState {
        SplitState { split: name.into(), next: 0, end: None, newest: None }
    }

    fn observe(watermarks: &mut Watermarks, split: usize, times: &[i64], now: u64) {
        let runs = [Run { split, records: 0..times.len() }];
        watermarks.observe(&times.to_vec().into(), &runs, Duration::from_secs(now)).unwrap();
    }

    #[test]
    fn the_slowest_split_holds_the_watermark_until_it_is_idle() {
        let mut watermarks = Watermarks::new(Duration::from_millis(100), Some(Duration::from_secs(10)));
        watermarks.assign(&[split("a"), split("b")], &[], Duration::ZERO);
        observe(&mut watermarks, 0, &[5_000, 4_000], 1);
        assert_eq!(watermarks.advance(Duration::from_secs(1)), None, "b may bring anything");
        observe(&mut watermarks, 1, &[3_000], 2);
        assert_eq!(watermarks.advance(Duration::from_secs(2)), Some(Progress::Watermark(EventTime(2_899))));
        assert_eq!(watermarks.advance(Duration::from_secs(2)), None, "it has not risen");
        observe(&mut watermarks, 0, &[6_000], 12);
        assert_eq!(
            watermarks.advance(Duration::from_secs(12)),
            Some(Progress::Watermark(EventTime(5_899))),
            "b is idle"
        );
        assert_eq!(watermarks.advance(Duration::from_mins(1)), Some(Progress::Idle), "all idle: time stands still");
        assert_eq!(watermarks.advance(Duration::from_secs(61)), None, "said once");
    }

    #[test]
    fn a_restored_source_goes_on_with_its_watermark() {
        let mut watermarks = Watermarks::new(Duration::ZERO, None);
        let known = [SplitState { newest: Some(EventTime(700)), ..split("a") }];
        watermarks.assign(&[split("a")], &known, Duration::ZERO);
        assert_eq!(watermarks.advance(Duration::ZERO), Some(Progress::Watermark(EventTime(699))));
        assert_eq!(watermarks.complete(vec![split("a")])[0].newest, Some(EventTime(700)));
    }

    #[test]
    fn an_ended_split_holds_nothing_back() {
        let mut watermarks = Watermarks::new(Duration::ZERO, None);
        watermarks.assign(&[split("a"), split("b")], &[], Duration::ZERO);
        observe(&mut watermarks, 0, &[900], 0);
        watermarks.update_ends(&[split("a"), SplitState { end: Some(0), ..split("b") }]);
        assert_eq!(watermarks.advance(Duration::ZERO), Some(Progress::Watermark(EventTime(899))));
    }
}
