//! Several channels into one stream: aligned barriers, the least watermark.
//!
//! A barrier on one channel says that what follows on it belongs to the next epoch. Until the barrier has come on every
//! channel, what follows it is held, so that the state that is frozen at the barrier has seen every row before it and
//! none after it. With `AtLeastOnce` nothing is held, and rows may count for both epochs after a failure.
//!
//! The aligner only decides; whoever owns the channels keeps what it holds, and offers it again, in order, when the
//! barrier has been delivered.

use crate::{
    element::{Barrier, Element},
    ids::EventTime,
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
    /// All channels have ended.
    End,
}

#[derive(Debug)]
pub struct Aligner {
    channels: Vec<Channel>,
    exactly_once: bool,
    /// The barrier that is being aligned.
    current: Option<Barrier>,
    watermark: EventTime,
}

#[derive(Debug, Clone)]
struct Channel {
    watermark: EventTime,
    at_barrier: bool,
    idle: bool,
    ended: bool,
}

impl Aligner {
    pub fn new(channels: usize, exactly_once: bool) -> Self {
        let channel = Channel { watermark: EventTime::MIN, at_barrier: false, idle: false, ended: false };
        Self { channels: vec![channel; channels], exactly_once, current: None, watermark: EventTime::MIN }
    }

    /// Whether elements of this channel are being held.
    pub fn holds(&self, channel: usize) -> bool {
        self.exactly_once && self.current.is_some() && self.channels.get(channel).is_some_and(|c| c.at_barrier)
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
            Element::Barrier(barrier) => self.on_barrier(channel, *barrier),
            Element::End => {
                state.ended = true;
                state.watermark = EventTime::MAX;
                if self.channels.iter().all(|channel| channel.ended) { Verdict::End } else { Verdict::Consumed }
            }
        }
    }

    fn on_barrier(&mut self, channel: usize, barrier: Barrier) -> Verdict {
        match self.current {
            // A later barrier means that the coordinator gave the earlier one up.
            Some(current) if barrier.epoch > current.epoch => {
                self.channels.iter_mut().for_each(|channel| channel.at_barrier = false);
                self.current = Some(barrier);
            }
            Some(current) if barrier.epoch < current.epoch => return Verdict::Consumed,
            Some(_) => {}
            None => self.current = Some(barrier),
        }
        if let Some(state) = self.channels.get_mut(channel) {
            state.at_barrier = true;
        }
        if self.channels.iter().all(|channel| channel.at_barrier || channel.ended) {
            self.channels.iter_mut().for_each(|channel| channel.at_barrier = false);
            self.current = None;
            Verdict::Aligned(barrier)
        } else {
            Verdict::Consumed
        }
    }

    fn advance(&mut self) -> Verdict {
        // When all are idle, time stands still.
        let active = self.channels.iter().filter(|channel| !channel.idle);
        match active.map(|channel| channel.watermark).min() {
            Some(least) if least > self.watermark => {
                self.watermark = least;
                Verdict::Advance(least)
            }
            _ => Verdict::Consumed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::ids::Epoch;

    fn barrier(epoch: u64) -> Element {
        Element::Barrier(Barrier { epoch: Epoch(epoch), last: false, open: false })
    }

    #[test]
    fn a_barrier_is_delivered_when_every_channel_has_brought_it() {
        let mut aligner = Aligner::new(2, true);
        assert_eq!(aligner.on_element(0, &barrier(1)), Verdict::Consumed);
        assert_eq!(aligner.on_element(0, &Element::Watermark(EventTime(9))), Verdict::Hold);
        assert_eq!(aligner.on_element(1, &Element::Watermark(EventTime(5))), Verdict::Consumed);
        assert_eq!(
            aligner.on_element(1, &barrier(1)),
            Verdict::Aligned(Barrier { epoch: Epoch(1), last: false, open: false })
        );
        assert_eq!(aligner.on_element(0, &Element::Watermark(EventTime(9))), Verdict::Advance(EventTime(5)));
    }

    #[test]
    fn the_watermark_is_the_least_of_all_channels_and_never_falls() {
        let mut aligner = Aligner::new(2, true);
        assert_eq!(aligner.on_element(0, &Element::Watermark(EventTime(9))), Verdict::Consumed);
        assert_eq!(aligner.on_element(1, &Element::Watermark(EventTime(3))), Verdict::Advance(EventTime(3)));
        assert_eq!(aligner.on_element(1, &Element::Watermark(EventTime(2))), Verdict::Consumed);
        assert_eq!(aligner.on_element(1, &Element::End), Verdict::Consumed);
        assert_eq!(aligner.on_element(0, &Element::Watermark(EventTime(11))), Verdict::Advance(EventTime(11)));
        assert_eq!(aligner.on_element(0, &Element::End), Verdict::End);
    }

    #[test]
    fn an_idle_channel_does_not_hold_the_watermark_back() {
        let mut aligner = Aligner::new(2, true);
        assert_eq!(aligner.on_element(0, &Element::Watermark(EventTime(9))), Verdict::Consumed);
        assert_eq!(aligner.on_element(1, &Element::Idle), Verdict::Advance(EventTime(9)));
        assert_eq!(aligner.on_element(1, &Element::Watermark(EventTime(4))), Verdict::Consumed);
        assert_eq!(aligner.on_element(0, &Element::Watermark(EventTime(20))), Verdict::Consumed, "channel 1 is back");
    }

    #[test]
    fn at_least_once_holds_nothing() {
        let mut aligner = Aligner::new(2, false);
        assert_eq!(aligner.on_element(0, &barrier(1)), Verdict::Consumed);
        assert_eq!(aligner.on_element(0, &Element::Watermark(EventTime(9))), Verdict::Consumed);
        assert!(matches!(aligner.on_element(1, &barrier(1)), Verdict::Aligned(_)));
    }

    #[test]
    fn a_given_up_barrier_is_overtaken_by_the_next() {
        let mut aligner = Aligner::new(2, true);
        assert_eq!(aligner.on_element(0, &barrier(1)), Verdict::Consumed);
        assert_eq!(aligner.on_element(1, &barrier(2)), Verdict::Consumed);
        assert!(!aligner.holds(0), "channel 0 goes on until it brings the newer barrier");
        assert!(matches!(aligner.on_element(0, &barrier(2)), Verdict::Aligned(Barrier { epoch: Epoch(2), .. })));
    }

    proptest! {
        /// Whatever the interleaving: between two delivered barriers lie exactly the rows that their channels had
        /// between theirs, each channel's in order.
        #[test]
        fn no_row_crosses_a_barrier(
            epochs in prop::collection::vec(prop::collection::vec(0_usize..4, 1..4), 1..6),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
        ) {
            let width = epochs.iter().map(Vec::len).min().unwrap_or(1);
            // Channel c sends `epochs[e][c]` watermarks as stand-ins for rows, then barrier e + 1.
            let mut inputs: Vec<VecDeque<(usize, Element)>> = (0..width)
                .map(|channel| {
                    let mut queue = VecDeque::new();
                    for (epoch, counts) in epochs.iter().enumerate() {
                        queue.extend((0..counts[channel]).map(|_| (epoch, Element::Watermark(EventTime(0)))));
                        queue.push_back((epoch, barrier(epoch as u64 + 1)));
                    }
                    queue
                })
                .collect();
            let mut aligner = Aligner::new(width, true);
            let mut epoch_now = 0;
            let mut order = order.into_iter();
            while inputs.iter().any(|queue| !queue.is_empty()) {
                let ready: Vec<usize> = (0..width).filter(|c| !inputs[*c].is_empty() && !aligner.holds(*c)).collect();
                prop_assert!(!ready.is_empty(), "a barrier that never aligns");
                let channel = order.next().map_or(ready[0], |index| *index.get(&ready));
                let (epoch, element) = inputs[channel].pop_front().unwrap();
                match aligner.on_element(channel, &element) {
                    Verdict::Aligned(barrier) => {
                        epoch_now += 1;
                        prop_assert_eq!(barrier.epoch, Epoch(epoch_now as u64));
                    }
                    Verdict::Hold => prop_assert!(false, "held although holds() said no"),
                    _ => prop_assert_eq!(epoch, epoch_now),
                }
            }
            prop_assert_eq!(epoch_now, epochs.len());
        }
    }
}
