//! The receiving end of all channels into one subtask: their elements as one stream, with barriers between the epochs.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use arrow::array::RecordBatch;

use super::{
    align::{Aligner, Verdict},
    inbox::{InFlight, Inbox, Item, Taken},
    urge::Urge,
};
use crate::{
    element::{Barrier, Element},
    env,
    ids::{Epoch, EventTime},
};

/// What a gate delivers.
#[derive(Debug)]
pub enum Delivery {
    Element(Element),
    /// Rows that were in flight in the checkpoint that the attempt began with. They come before everything else, and count
    /// as of the time that was known where they were on their way to: others may have been further.
    Restored {
        rows: RecordBatch,
        as_of: EventTime,
    },
    Barrier {
        barrier: Barrier,
        /// Since it came on the first channel.
        alignment: Duration,
        /// What it has overtaken; `None` when it came on every channel.
        in_flight: Option<InFlight>,
    },
    End,
}

pub struct Gate {
    inbox: Arc<Inbox>,
    urge: Arc<Urge>,
    aligner: Aligner,
    restored: VecDeque<(EventTime, RecordBatch)>,
    held: VecDeque<Item>,
    /// Held before, to be offered again before anything new.
    again: VecDeque<Item>,
    /// The barrier that has come first, on some channel, and when.
    aligning: Option<(Epoch, Duration)>,
}

impl Gate {
    pub(super) fn new(inbox: Arc<Inbox>, channels: usize, exactly_once: bool) -> Self {
        Self {
            inbox,
            urge: Arc::default(),
            aligner: Aligner::new(channels, exactly_once),
            restored: VecDeque::new(),
            held: VecDeque::new(),
            again: VecDeque::new(),
            aligning: None,
        }
    }

    /// What makes its task hurry.
    pub fn urge(&self) -> Arc<Urge> {
        self.urge.clone()
    }

    /// Rows that were in flight, to be delivered first.
    pub fn restore(&mut self, rows: Vec<(EventTime, RecordBatch)>) {
        self.restored.extend(rows);
    }

    /// Waits for the next delivery. Cancel safe. `None`: every sender is gone without an end.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            if let Some(barrier) = self.overtake() {
                return Some(barrier);
            }
            if let Some((as_of, rows)) = self.restored.pop_front() {
                return Some(Delivery::Restored { rows, as_of });
            }
            match self.again.pop_front().map_or_else(|| self.inbox.take(), Taken::Item) {
                Taken::Item(item) => {
                    if let Some(delivery) = self.offer(item) {
                        return Some(delivery);
                    }
                }
                Taken::Gone => return None,
                Taken::Nothing => tokio::select! {
                    biased;
                    () = self.urge.called() => {}
                    () = self.inbox.arrived() => {}
                },
            }
        }
    }

    fn offer(&mut self, item: Item) -> Option<Delivery> {
        let verdict = self.aligner.on_element(item.channel, &item.element);
        if verdict == Verdict::Hold {
            self.held.push_back(item);
            return None;
        }
        self.inbox.free(&item);
        if let Some(epoch) = self.aligner.aligning()
            && self.aligning.is_none_or(|(known, _)| known < epoch)
        {
            self.aligning = Some((epoch, env::monotonic()));
        }
        match verdict {
            Verdict::Deliver => Some(Delivery::Element(item.element)),
            Verdict::Advance(watermark) => Some(Delivery::Element(Element::Watermark(watermark))),
            Verdict::Aligned(barrier) => {
                self.urge.met(barrier.epoch);
                self.offer_again();
                Some(Delivery::Barrier { barrier, alignment: self.aligned(barrier.epoch), in_flight: None })
            }
            Verdict::Superseded => {
                self.offer_again();
                None
            }
            Verdict::Consumed | Verdict::Hold => None,
            Verdict::End => Some(Delivery::End),
        }
    }

    /// The barrier that is to wait no more.
    fn overtake(&mut self) -> Option<Delivery> {
        let epoch = self.urge.due()?;
        self.urge.met(epoch);
        let overtaking = self.aligner.overtake(epoch)?;
        // Of one channel, what is held came before what is to be offered again.
        let waiting = self.held.iter().chain(&self.again);
        let in_flight = self.inbox.capture(&overtaking, self.restored.iter().cloned(), waiting);
        self.offer_again();
        let (barrier, alignment) = (overtaking.barrier, self.aligned(epoch));
        Some(Delivery::Barrier { barrier, alignment, in_flight: Some(in_flight) })
    }

    /// What was held comes before what is already waiting to be offered again.
    fn offer_again(&mut self) {
        while let Some(item) = self.held.pop_back() {
            self.again.push_front(item);
        }
    }

    /// How long the channels have waited for each other.
    fn aligned(&mut self, epoch: Epoch) -> Duration {
        let begun = self.aligning.take().filter(|(aligning, _)| *aligning == epoch);
        begun.map_or(Duration::ZERO, |(_, since)| env::monotonic().saturating_sub(since))
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

#[cfg(test)]
mod tests;
