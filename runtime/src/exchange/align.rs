//! Several channels into one stream: aligned barriers, the least watermark.
//!
//! A barrier on one channel says that what follows on it belongs to the next epoch. Until the barrier has come on every
//! channel, what follows it is held, so that the state that is frozen at the barrier has seen every row before it and
//! none after it. With `AtLeastOnce` nothing is held, and rows may count for both epochs after a failure. Then barriers of
//! several epochs may be under way at a time; with what is held, the later ones are behind the first.
//!
//! A barrier that waits too long may *overtake*: it is delivered at once, nothing is held, and what each channel brings
//! before its barrier is in flight at the cut: it is for the [`super::capture`] to have, and delivered as usual.
//!
//! The aligner only decides; whoever owns the channels keeps what it holds, and offers it again, in order, when the
//! barrier has been delivered.

use std::collections::VecDeque;

use crate::{
    element::{Barrier, Element},
    ids::{Epoch, EventTime},
};

/// What to do with the element that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Deliver it.
    Deliver,
    /// Keep it, and everything behind it on its channel, until the barrier has been delivered.
    Hold,
    /// It is used up; nothing to deliver.
    Consumed,
    /// It is used up, and the combined watermark has risen to this.
    Advance(EventTime),
    /// The barrier has come on all channels: deliver it, then offer again what was held.
    Aligned(Barrier),
    /// It is used up, and was the first of an epoch behind one that is given up: offer again what was held.
    Superseded,
    /// All channels have ended.
    End,
}

/// A barrier that does not wait.
#[derive(Debug, PartialEq, Eq)]
pub struct Overtaking {
    pub barrier: Barrier,
    /// By channel: whether the barrier has still to come on it.
    pub awaited: Vec<bool>,
}

#[derive(Debug)]
pub struct Aligner {
    channels: Vec<Channel>,
    exactly_once: bool,
    /// The barrier that is being aligned; the oldest of several.
    current: Option<Barrier>,
    /// Those behind it that have come on some channel, where nothing is held.
    behind: VecDeque<Barrier>,
    /// The newest that has been delivered. On channels that it has overtaken it is still to come.
    delivered: Option<Epoch>,
    watermark: EventTime,
}

#[derive(Debug, Clone)]
struct Channel {
    watermark: EventTime,
    at_barrier: bool,
    /// The newest barrier that it has brought.
    brought: Option<Epoch>,
    idle: bool,
    ended: bool,
}

impl Aligner {
    pub fn new(channels: usize, exactly_once: bool) -> Self {
        let (watermark, brought) = (EventTime::MIN, None);
        let channel = Channel { watermark, at_barrier: false, brought, idle: false, ended: false };
        let (current, behind, delivered) = (None, VecDeque::new(), None);
        Self { channels: vec![channel; channels], exactly_once, current, behind, delivered, watermark }
    }

    /// Whether elements of this channel are being held.
    pub fn holds(&self, channel: usize) -> bool {
        self.exactly_once && self.current.is_some() && self.channels.get(channel).is_some_and(|c| c.at_barrier)
    }

    /// The epoch whose barrier has come on some channels, and not on all.
    pub fn aligning(&self) -> Option<Epoch> {
        self.current.map(|barrier| barrier.epoch)
    }

    pub fn on_element(&mut self, channel: usize, element: &Element) -> Verdict {
        if self.holds(channel) {
            return Verdict::Hold;
        }
        let Some(state) = self.channels.get_mut(channel) else { return Verdict::Consumed };
        match element {
            Element::Batch(_) => {
                state.idle = false;
                Verdict::Deliver
            }
            Element::Watermark(watermark) => {
                state.idle = false;
                state.watermark = state.watermark.max(*watermark);
                self.advance()
            }
            Element::Idle => {
                state.idle = true;
                self.advance()
            }
            Element::Barrier(barrier) if self.exactly_once => self.on_barrier(channel, *barrier),
            Element::Barrier(barrier) => self.on_passed_barrier(channel, *barrier),
            Element::End => {
                state.ended = true;
                state.watermark = EventTime::MAX;
                if self.channels.iter().all(|channel| channel.ended) { Verdict::End } else { Verdict::Consumed }
            }
        }
    }

    /// The barrier of an epoch is to wait no more: deliver it, then offer again what was held. `None` where it is over,
    /// given up, or of a kind that always waits.
    pub fn overtake(&mut self, epoch: Epoch) -> Option<Overtaking> {
        let aligning = self.current.filter(|current| current.epoch >= epoch);
        let waits = aligning.is_some_and(|barrier| barrier.epoch > epoch || barrier.last || barrier.open);
        if waits || self.delivered >= Some(epoch) || !self.exactly_once {
            return None;
        }
        let has_come = |channel: &Channel| channel.ended || aligning.is_some() && channel.at_barrier;
        let awaited = self.channels.iter().map(|channel| !has_come(channel)).collect();
        self.deliver(epoch);
        Some(Overtaking { barrier: Barrier { epoch, last: false, open: false }, awaited })
    }

    fn deliver(&mut self, epoch: Epoch) {
        self.channels.iter_mut().for_each(|channel| channel.at_barrier = false);
        self.current = None;
        self.delivered = Some(epoch);
    }

    fn on_barrier(&mut self, channel: usize, barrier: Barrier) -> Verdict {
        if self.delivered >= Some(barrier.epoch) {
            return Verdict::Consumed;
        }
        let mut verdict = Verdict::Consumed;
        match self.current {
            // A later barrier means that the coordinator gave the earlier one up.
            Some(current) if barrier.epoch > current.epoch => {
                self.channels.iter_mut().for_each(|channel| channel.at_barrier = false);
                self.current = Some(barrier);
                verdict = Verdict::Superseded;
            }
            Some(current) if barrier.epoch < current.epoch => return Verdict::Consumed,
            Some(_) => {}
            None => self.current = Some(barrier),
        }
        if let Some(state) = self.channels.get_mut(channel) {
            state.at_barrier = true;
        }
        if self.channels.iter().all(|channel| channel.at_barrier || channel.ended) {
            self.deliver(barrier.epoch);
            Verdict::Aligned(barrier)
        } else {
            verdict
        }
    }

    /// Where nothing is held, each channel goes on to the barriers of later epochs, in order. A barrier is delivered when the
    /// last channel has brought it, or one of a later epoch: then it was given up there, and comes no more.
    fn on_passed_barrier(&mut self, channel: usize, barrier: Barrier) -> Verdict {
        if self.delivered >= Some(barrier.epoch) {
            return Verdict::Consumed;
        }
        if let Some(state) = self.channels.get_mut(channel) {
            state.brought = state.brought.max(Some(barrier.epoch));
        }
        let mut waiting: VecDeque<Barrier> = self.current.take().into_iter().chain(self.behind.drain(..)).collect();
        if let Err(place) = waiting.binary_search_by_key(&barrier.epoch, |waits| waits.epoch) {
            waiting.insert(place, barrier);
        }
        let least =
            self.channels.iter().filter(|channel| !channel.ended).map(|channel| channel.brought).min().flatten();
        let aligned = waiting.iter().rposition(|waits| Some(waits.epoch) <= least).and_then(|last| {
            let newest = waiting.drain(..=last).next_back()?;
            self.delivered = Some(newest.epoch);
            Some(newest)
        });
        self.current = waiting.pop_front();
        self.behind = waiting;
        aligned.map_or(Verdict::Consumed, Verdict::Aligned)
    }

    fn advance(&mut self) -> Verdict {
        let active = self.channels.iter().filter(|channel| !channel.idle);
        let least = active.map(|channel| channel.watermark).min();
        // When all are idle, time stands still, at the most that any has told: it must not matter which was idle first.
        match least.or_else(|| self.channels.iter().map(|channel| channel.watermark).max()) {
            Some(least) if least > self.watermark => {
                self.watermark = least;
                Verdict::Advance(least)
            }
            _ => Verdict::Consumed,
        }
    }
}

#[cfg(test)]
mod tests;
