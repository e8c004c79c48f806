//! Channels inside a process: batches move by pointer, and a sender waits when too many bytes are under way.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::align::{Aligner, Verdict};
use crate::{
    element::{Barrier, Element},
    env,
    ids::Epoch,
};

/// Bytes that may be under way on one channel before its sender waits.
const CHANNEL_BYTES: usize = 4 << 20;
/// Credit is counted in units of so many bytes.
const UNIT: usize = 1024;

struct Item {
    channel: usize,
    element: Element,
    /// Gives its credit back to the channel when the element has been taken.
    credit: OwnedSemaphorePermit,
}

/// The sending end of a channel.
#[derive(Debug, Clone)]
pub struct Sender {
    channel: usize,
    queue: mpsc::UnboundedSender<Item>,
    credit: Arc<Semaphore>,
}

/// The receiving subtask is gone: the job is being torn down.
#[derive(Debug, thiserror::Error)]
#[error("the receiving task has ended")]
pub struct Disconnected;

impl Sender {
    /// Sends, waiting while the channel is full.
    pub async fn send(&self, element: Element) -> Result<(), Disconnected> {
        let credit = self.credit.clone().acquire_many_owned(cost(&element)).await.map_err(|_| Disconnected)?;
        self.queue.send(Item { channel: self.channel, element, credit }).map_err(|_| Disconnected)
    }
}

fn cost(element: &Element) -> u32 {
    let bytes = match element {
        Element::Batch(batch) => batch.get_array_memory_size(),
        Element::Watermark(_) | Element::Idle | Element::Barrier(_) | Element::End => UNIT,
    };
    bytes.div_ceil(UNIT).clamp(1, CHANNEL_BYTES / UNIT) as u32
}

/// What a gate delivers: the channels' elements as one aligned stream.
#[derive(Debug)]
pub enum Delivery {
    Element(Element),
    /// With the time since it came on the first channel.
    Barrier(Barrier, Duration),
    End,
}

/// The receiving end of all channels into one subtask.
pub struct Gate {
    queue: mpsc::UnboundedReceiver<Item>,
    aligner: Aligner,
    held: VecDeque<Item>,
    /// Held before, to be offered again before anything new.
    again: VecDeque<Item>,
    /// The barrier that has come first, on some channel, and when.
    aligning: Option<(Epoch, Duration)>,
}

/// Channels from `senders` subtasks into one.
pub fn channels(senders: usize, exactly_once: bool) -> (Vec<Sender>, Gate) {
    let (queue, receiver) = mpsc::unbounded_channel();
    let ends = (0..senders)
        .map(|channel| Sender { channel, queue: queue.clone(), credit: Arc::new(Semaphore::new(CHANNEL_BYTES / UNIT)) })
        .collect();
    let aligner = Aligner::new(senders, exactly_once);
    (ends, Gate { queue: receiver, aligner, held: VecDeque::new(), again: VecDeque::new(), aligning: None })
}

/// A channel that leaves this process: what is sent on it is taken from the outbox, and carried on.
pub fn outbox() -> (Sender, Outbox) {
    let (queue, receiver) = mpsc::unbounded_channel();
    (Sender { channel: 0, queue, credit: Arc::new(Semaphore::new(CHANNEL_BYTES / UNIT)) }, Outbox(receiver))
}

/// The taking end of a channel that leaves this process.
pub struct Outbox(mpsc::UnboundedReceiver<Item>);

impl Outbox {
    /// Waits for the next element. `None`: the sender is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Element> {
        self.0.recv().await.map(|item| item.element)
    }
}

impl Gate {
    /// Waits for the next delivery. Cancel safe. `None`: every sender is gone without an end.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            let item = match self.again.pop_front() {
                Some(item) => item,
                None => self.queue.recv().await?,
            };
            let verdict = self.aligner.on_element(item.channel, &item.element);
            if let Element::Barrier(barrier) = item.element
                && verdict != Verdict::Hold
                && self.aligning.is_none_or(|(epoch, _)| epoch < barrier.epoch)
            {
                self.aligning = Some((barrier.epoch, env::monotonic()));
            }
            match verdict {
                Verdict::Deliver => {
                    drop(item.credit);
                    return Some(Delivery::Element(item.element));
                }
                Verdict::Hold => self.held.push_back(item),
                Verdict::Consumed => {}
                Verdict::Advance(watermark) => return Some(Delivery::Element(Element::Watermark(watermark))),
                Verdict::Aligned(barrier) => {
                    // What was held comes before what is already waiting to be offered again.
                    while let Some(item) = self.held.pop_back() {
                        self.again.push_front(item);
                    }
                    let since = self.aligning.take().map(|(_, since)| since);
                    let took = since.map_or(Duration::ZERO, |since| env::monotonic().saturating_sub(since));
                    return Some(Delivery::Barrier(barrier, took));
                }
                Verdict::End => return Some(Delivery::End),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::EventTime;

    #[tokio::test]
    async fn what_follows_a_barrier_is_delivered_after_it() {
        let (senders, mut gate) = channels(2, true);
        let barrier = Element::Barrier(Barrier { epoch: Epoch(1), last: false, open: false });
        senders[0].send(barrier.clone()).await.unwrap();
        senders[0].send(Element::Watermark(EventTime(7))).await.unwrap();
        senders[1].send(Element::Watermark(EventTime(7))).await.unwrap();
        let pause = Duration::from_millis(30);
        let late = async {
            env::sleep(pause).await;
            senders[1].send(barrier).await.unwrap();
        };
        let (delivered, ()) = tokio::join!(gate.next(), late);
        assert!(matches!(delivered, Some(Delivery::Barrier(_, took)) if took >= pause), "{delivered:?}");
        assert!(matches!(gate.next().await, Some(Delivery::Element(Element::Watermark(EventTime(7))))));
    }

    #[tokio::test]
    async fn a_full_channel_makes_its_sender_wait() {
        let (senders, mut gate) = channels(1, true);
        for _ in 0..CHANNEL_BYTES / UNIT {
            senders[0].send(Element::Watermark(EventTime(0))).await.unwrap();
        }
        let mut blocked = Box::pin(senders[0].send(Element::End));
        assert!(futures::poll!(&mut blocked).is_pending());
        assert!(gate.next().await.is_some());
        // All equal watermarks but the first were consumed on the way to the end.
        let (sent, next) = tokio::join!(blocked, gate.next());
        assert!(sent.is_ok());
        assert!(matches!(next, Some(Delivery::End)));
    }
}
