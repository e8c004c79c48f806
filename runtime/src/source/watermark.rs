//! Event time of a source: from the newest event of each split to one watermark.
//!
//! A split's watermark is its newest event time less the allowed delay, less one millisecond (an event of the very same
//! instant may still come). The source's is the least over its splits, but for those that are idle or at their end. The
//! newest event time is part of the checkpoint, so a restored source goes on with the watermark it had.
//!
//! A split is idle when nothing of it is left to read, for as long as the job says: because the system said so
//! ([`Remaining`]), or because the reader was asked in vain for that long ([`Silence`]). A split that ends somewhere is
//! never idle before it is there, and after a time in which nobody asked none is, until it has been asked anew.
//!
//! Where new splits may come, the watermark waits until it is known that none was overlooked ([`Unconfirmed`]).

use std::{collections::HashMap, time::Duration};

use arrow::{array::TimestampMillisecondArray, error::ArrowError};

use super::{End, Remaining, Run, SplitState, silence::Silence, unconfirmed::Unconfirmed};
use crate::ids::EventTime;

#[derive(Debug)]
pub struct Watermarks {
    delay_ms: i64,
    silence: Option<Silence>,
    splits: Vec<Split>,
    unconfirmed: Unconfirmed,
    /// When records were last read.
    read_at: Duration,
    last: EventTime,
    idle: bool,
    /// Since when the reader has been asked without a long break.
    asked_since: Duration,
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
    /// When it last had a record, or was not known to be idle, in the time of [`Silence`].
    silent_from: Duration,
    end: End,
}

impl Watermarks {
    /// `now` is in the time of [`crate::env::monotonic`], here and below.
    pub fn new(delay: Duration, idle_timeout: Option<Duration>, now: Duration) -> Self {
        Self {
            delay_ms: i64::try_from(delay.as_millis()).unwrap_or(i64::MAX),
            silence: idle_timeout.map(|timeout| Silence::new(timeout, now)),
            splits: Vec::new(),
            unconfirmed: Unconfirmed::default(),
            read_at: Duration::ZERO,
            last: EventTime::MIN,
            idle: false,
            asked_since: now,
        }
    }

    /// The reader's splits are these now; `known` has the newest event times of a checkpoint.
    pub fn assign(&mut self, positions: &[SplitState], known: &[SplitState], now: Duration) {
        let silent_from = self.counted();
        let old: HashMap<String, Split> = self.splits.drain(..).map(|split| (split.name.clone(), split)).collect();
        let known: HashMap<&str, &SplitState> = known.iter().map(|split| (split.split.as_str(), split)).collect();
        self.unconfirmed.forget();
        self.splits = positions
            .iter()
            .map(|position| {
                if let Some(before) = old.get(&position.split) {
                    return Split { end: position.end(), ..before.clone() };
                }
                let restored = known.get(position.split.as_str());
                Split {
                    name: position.split.clone(),
                    newest: restored.and_then(|split| split.newest),
                    active_at: now,
                    silent_from,
                    end: position.end(),
                }
            })
            .collect();
    }

    fn counted(&self) -> Duration {
        self.silence.as_ref().map(Silence::counted).unwrap_or_default()
    }

    /// How long the reader may be asked before the next look at what is idle; `None` where nothing ever is.
    pub fn look(&self) -> Option<Duration> {
        self.silence.as_ref().map(Silence::look)
    }

    /// The reader is asked from now on.
    pub fn ask(&mut self, now: Duration) {
        if self.silence.as_mut().is_some_and(|silence| silence.ask(now)) {
            self.wake(now);
        }
    }

    /// The reader has answered, or has had no answer yet.
    pub fn wait(&mut self, now: Duration) {
        if self.silence.as_mut().is_some_and(|silence| silence.wait(now)) {
            self.wake(now);
        }
    }

    /// The reader is no longer asked, to do something else first.
    pub fn leave(&mut self) {
        self.silence.iter_mut().for_each(Silence::pause);
    }

    /// The reader will not be asked for a while: of what comes meanwhile nobody knows, so no split is idle.
    pub fn pause(&mut self, now: Duration) {
        self.leave();
        self.wake(now);
    }

    /// What is known of idle splits is too old.
    fn wake(&mut self, now: Duration) {
        let silent_from = self.counted();
        self.splits.iter_mut().for_each(|split| split.silent_from = silent_from);
        self.asked_since = now;
    }

    /// Takes in the event times of a batch. `runs` name the split of each row.
    pub fn observe(
        &mut self,
        times: &TimestampMillisecondArray,
        runs: &[Run],
        now: Duration,
    ) -> Result<(), ArrowError> {
        self.read_at = now;
        let silent_from = self.counted();
        for run in runs {
            let slice = times.slice(run.records.start, run.records.len());
            let Some(split) = self.splits.get_mut(run.split) else { continue };
            (split.active_at, split.silent_from) = (now, silent_from);
            if let Some(newest) = arrow::compute::max(&slice) {
                split.newest = split.newest.max(Some(EventTime(newest)));
            }
        }
        Ok(())
    }

    /// Notes which bounded splits have ended: `end` tells it of each, by its index.
    pub fn update_ends(&mut self, end: impl Fn(usize) -> End) {
        for (index, split) in self.splits.iter_mut().enumerate() {
            split.end = end(index);
        }
    }

    /// Name of a split, by its index.
    pub fn name(&self, split: usize) -> &str {
        self.splits.get(split).map_or("", |split| &split.name)
    }

    /// What there is to say of time, if anything has changed. `remaining` is what the system last said of a split,
    /// `known_at` is when all splits were known; see [`super::SourceReader`].
    pub fn advance(
        &mut self,
        remaining: impl Fn(usize) -> Option<Remaining>,
        known_at: Option<Duration>,
    ) -> Option<Progress> {
        let is_active = |(index, split): &(usize, &Split)| match split.end {
            End::Reached => false,
            End::Ahead => true,
            End::Open => !self.is_idle(split, || remaining(*index)),
        };
        let mut active = self.splits.iter().enumerate().filter(is_active).map(|(_, split)| split).peekable();
        if active.peek().is_none() {
            // Without splits, or with all of them silent or at their end, this source must not hold others back. It tells
            // the most that any of them had first: it must not matter which was silent first.
            if self.idle {
                return None;
            }
            let most = self.splits.iter().filter_map(|split| split.newest).max();
            if let Some(most) = most.map(|newest| self.behind(newest)).filter(|most| *most > self.last) {
                let told = self.unconfirmed.confirm(most, self.read_at, known_at);
                let is_news = told > self.last;
                self.last = self.last.max(told);
                return is_news.then_some(Progress::Watermark(told));
            }
            self.idle = true;
            return Some(Progress::Idle);
        }
        let mut least = EventTime::MAX;
        for split in active {
            // A split without events yet may bring any time.
            least = least.min(split.newest.map_or(EventTime::MIN, |newest| self.behind(newest)));
        }
        let least = self.unconfirmed.confirm(least, self.read_at, known_at);
        let woken = std::mem::replace(&mut self.idle, false);
        if least > self.last || woken {
            self.last = self.last.max(least);
            return Some(Progress::Watermark(self.last));
        }
        None
    }

    fn is_idle(&self, split: &Split, remaining: impl FnOnce() -> Option<Remaining>) -> bool {
        let Some(silence) = &self.silence else { return false };
        let timeout = silence.timeout();
        let was_silent = || silence.counted().saturating_sub(split.silent_from) >= timeout;
        match remaining() {
            Some(Remaining { records: true, .. }) => false,
            // It had nothing then, and nothing since its last record, whether or not the reader was asked.
            Some(Remaining { records: false, asked_at }) => {
                let is_known = asked_at >= self.asked_since && asked_at >= split.active_at.saturating_add(timeout);
                is_known || was_silent()
            }
            None => was_silent(),
        }
    }

    fn behind(&self, newest: EventTime) -> EventTime {
        EventTime(newest.0.saturating_sub(self.delay_ms).saturating_sub(1))
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
mod tests;
