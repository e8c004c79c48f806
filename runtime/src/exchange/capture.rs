//! The rows in flight at a cut.
//!
//! Each task is cut at a moment of its own, and a *marker* on each of its channels says where: the barrier in band. Rows
//! that a task had sent before its own cut, and the next one had not taken in before its, are in neither's state. They
//! are what lies in front of the marker on the channel when the receiving task is cut, and what comes until the marker
//! does. With them the cuts of all tasks make one state of the job (Chandy and Lamport, "Distributed Snapshots", 1985).
//!
//! Only rows count. What channels say of time is said anew by those who send on them.

use arrow::array::RecordBatch;

use super::align::Overtaking;
use crate::{
    element::Element,
    ids::{Epoch, EventTime},
};

/// Takes in what is offered of every channel, in order, from the receiving task's cut on.
#[derive(Debug)]
pub struct Capture {
    epoch: Epoch,
    /// By channel: its marker has still to come.
    awaited: Vec<bool>,
    caught: Vec<Caught>,
    void: bool,
}

/// Rows in flight, shared with the channel that delivers them.
#[derive(Debug, Clone)]
pub struct Caught {
    pub rows: RecordBatch,
    /// Of rows that were in flight before, in the checkpoint that this attempt began with: see [`super::gate::Delivery`].
    pub as_of: Option<EventTime>,
}

impl Capture {
    /// `restored` are rows that were in flight before, and are again.
    pub fn new(overtaking: &Overtaking, restored: impl IntoIterator<Item = (EventTime, RecordBatch)>) -> Self {
        let again = |(as_of, rows)| Caught { rows, as_of: Some(as_of) };
        Self {
            epoch: overtaking.barrier.epoch,
            awaited: overtaking.awaited.clone(),
            caught: restored.into_iter().map(again).collect(),
            void: false,
        }
    }

    /// The marker of the channel has still to come.
    pub fn awaits(&self, channel: usize) -> bool {
        self.awaited.get(channel).copied().unwrap_or_default()
    }

    pub fn on_element(&mut self, channel: usize, element: &Element) {
        match element {
            Element::Batch(rows) if self.awaits(channel) && rows.num_rows() > 0 => {
                self.caught.push(Caught { rows: rows.clone(), as_of: None });
            }
            // The epoch was given up, or nobody could be further.
            Element::Barrier(barrier) if barrier.epoch > self.epoch => self.void = true,
            Element::Barrier(barrier) if barrier.epoch == self.epoch => self.has_come(channel),
            Element::End => self.has_come(channel),
            Element::Batch(_) | Element::Watermark(_) | Element::Idle | Element::Barrier(_) => {}
        }
    }

    fn has_come(&mut self, channel: usize) {
        if let Some(awaited) = self.awaited.get_mut(channel) {
            *awaited = false;
        }
    }

    /// Nobody waits for the rows any more.
    pub fn is_void(&self) -> bool {
        self.void
    }

    /// Every marker has come.
    pub fn is_complete(&self) -> bool {
        !self.awaited.contains(&true)
    }

    /// What was in flight: each channel's in order.
    pub fn into_caught(self) -> Vec<Caught> {
        self.caught
    }
}
