//! What is under way to one receiver: a queue that all its channels share, and how much each of them may have in it.
//!
//! A sender waits while its channel is full, and a receiver while the queue is empty; nobody else waits here. A cut takes
//! what is in the queue, and then hears everything that comes in ([`Capture`]), so it is complete as soon as the last
//! marker is in the queue, whatever the receiver is busy with.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrow::array::RecordBatch;
use tokio::sync::{Notify, oneshot};

use super::{
    align::Overtaking,
    capture::{Capture, Caught},
};
use crate::{element::Element, ids::EventTime, memory::footprint};

/// Bytes that may be under way on one channel before its sender waits.
const CHANNEL_BYTES: usize = 1 << 20;
/// The least that an element counts.
const UNIT: usize = 1024;
/// The share of it that a channel from another worker takes here: most waits at its other end.
const FROM_AFAR: usize = 8;
/// How much more than otherwise a channel takes in until its marker comes: what its sender may still have, in a queue on
/// another worker and on the way from there.
const WHILE_CAPTURING: usize = 4;

pub struct Inbox {
    limit: usize,
    state: Mutex<State>,
    /// Something has come, or nothing can come any more. The receiver alone waits for it.
    arrived: Notify,
}

struct State {
    queue: VecDeque<Item>,
    channels: Vec<Channel>,
    /// Those that are left.
    senders: usize,
    /// The receiver is gone.
    closed: bool,
    capture: Option<(Capture, oneshot::Sender<Vec<Caught>>)>,
}

struct Channel {
    used: usize,
    limit: usize,
    /// There may be room. The sender alone waits for it.
    room: Arc<Notify>,
}

/// Something under way. It counts for its channel until it is [`Inbox::free`]d.
pub struct Item {
    pub channel: usize,
    pub element: Element,
    bytes: usize,
}

pub enum Taken {
    Item(Item),
    /// Nothing is there now.
    Nothing,
    /// Nothing is there, and every sender is gone.
    Gone,
}

/// The receiving subtask is gone: the job is being torn down.
#[derive(Debug, thiserror::Error)]
#[error("the receiving task has ended")]
pub struct Disconnected;

/// Rows that a barrier has overtaken, to be had when every channel has brought its marker.
#[derive(Debug)]
pub struct InFlight(oneshot::Receiver<Vec<Caught>>);

impl InFlight {
    /// `None`: the epoch was given up, or the task has ended.
    pub async fn caught(self) -> Option<Vec<Caught>> {
        self.0.await.ok()
    }
}

impl Inbox {
    pub fn new(channels: usize) -> Arc<Self> {
        let limit = limit();
        let channel = || Channel { used: 0, limit, room: Arc::default() };
        let state = State {
            queue: VecDeque::new(),
            channels: (0..channels).map(|_| channel()).collect(),
            senders: channels,
            closed: false,
            capture: None,
        };
        Arc::new(Self { limit, state: Mutex::new(state), arrived: Notify::new() })
    }

    /// The channel comes from another worker.
    pub fn comes_from_afar(&self, channel: usize) {
        if let Some(channel) = self.lock().channels.get_mut(channel) {
            channel.limit = self.limit / FROM_AFAR;
        }
    }

    /// Waits until an element of so many bytes has room on its channel; an empty one has room for anything. Cancel safe.
    pub async fn room(&self, channel: usize, bytes: usize) -> Result<(), Disconnected> {
        loop {
            let room = {
                let state = self.lock();
                let Some(found) = state.channels.get(channel).filter(|_| !state.closed) else {
                    return Err(Disconnected);
                };
                let captured = state.capture.as_ref().is_some_and(|(capture, _)| capture.awaits(channel));
                let limit = if captured { WHILE_CAPTURING * self.limit } else { found.limit };
                if found.used == 0 || found.used + bytes <= limit {
                    return Ok(());
                }
                found.room.clone()
            };
            room.notified().await;
        }
    }

    /// Puts an element, which counts so many bytes, into the queue, whether or not there is room.
    pub fn push(&self, channel: usize, element: Element, bytes: usize) -> Result<(), Disconnected> {
        let mut state = self.lock();
        if state.closed {
            return Err(Disconnected);
        }
        if let Some((capture, _)) = &mut state.capture {
            capture.on_element(channel, &element);
        }
        state.look_at_capture();
        if let Some(channel) = state.channels.get_mut(channel) {
            channel.used += bytes;
        }
        state.queue.push_back(Item { channel, element, bytes });
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// The next of the queue, in the order in which they came.
    pub fn take(&self) -> Taken {
        let mut state = self.lock();
        match state.queue.pop_front() {
            Some(item) => Taken::Item(item),
            None if state.senders == 0 => Taken::Gone,
            None => Taken::Nothing,
        }
    }

    /// Waits until it is worth to [`Inbox::take`] again. Cancel safe.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// What was taken does not count any more.
    pub fn free(&self, item: &Item) {
        let mut state = self.lock();
        if let Some(channel) = state.channels.get_mut(item.channel) {
            channel.used = channel.used.saturating_sub(item.bytes);
            channel.room.notify_one();
        }
    }

    /// Cuts here: what `waiting`, taken before, and the queue have in front of the markers is in flight, and what comes
    /// until the last marker. An earlier cut that still waits is given up.
    pub fn capture<'a>(
        &self,
        overtaking: &Overtaking,
        restored: impl IntoIterator<Item = (EventTime, RecordBatch)>,
        waiting: impl Iterator<Item = &'a Item>,
    ) -> InFlight {
        let (complete, caught) = oneshot::channel();
        let mut capture = Capture::new(overtaking, restored);
        waiting.for_each(|item| capture.on_element(item.channel, &item.element));
        let mut state = self.lock();
        state.queue.iter().for_each(|item| capture.on_element(item.channel, &item.element));
        state.capture = Some((capture, complete));
        state.look_at_capture();
        // There is room where a marker is awaited.
        state.channels.iter().for_each(|channel| channel.room.notify_one());
        InFlight(caught)
    }

    /// A sender is gone.
    pub fn left(&self) {
        let mut state = self.lock();
        state.senders = state.senders.saturating_sub(1);
        let is_last = state.senders == 0;
        drop(state);
        if is_last {
            self.arrived.notify_one();
        }
    }

    /// The receiver is gone.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.capture = None;
        let dropped = std::mem::take(&mut state.queue);
        state.channels.iter().for_each(|channel| channel.room.notify_one());
        drop(state);
        drop(dropped);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Hands the rows over if no marker is missing, and forgets a cut that nobody waits for.
    fn look_at_capture(&mut self) {
        let is_over = |(capture, _): &mut (Capture, _)| capture.is_complete() || capture.is_void();
        if let Some((capture, complete)) = self.capture.take_if(is_over)
            && !capture.is_void()
        {
            // Nobody waits any more where the worker is being torn down.
            let _gone = complete.send(capture.into_caught());
        }
    }
}

/// What an element counts for its channel.
pub fn cost(element: &Element) -> usize {
    match element {
        Element::Batch(batch) => footprint(batch).max(UNIT),
        Element::Watermark(_) | Element::Idle | Element::Barrier(_) | Element::End => UNIT,
    }
}

fn limit() -> usize {
    #[cfg(any(test, feature = "test-util"))]
    if let Some(bytes) = crate::simulation::ask(|doors| doors.channel_bytes()) {
        return bytes;
    }
    CHANNEL_BYTES
}
