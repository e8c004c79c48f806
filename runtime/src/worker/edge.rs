//! The sending side of an exchange.

use arrow::error::ArrowError;
use thiserror::Error;

use crate::{
    element::{Barrier, Element},
    exchange::{
        local::{Disconnected, Sender},
        partition::split,
        urge::Urge,
    },
};

/// Channels from one subtask to all subtasks of the next task.
pub struct Edge {
    pub keys: Vec<usize>,
    pub max_parallelism: u32,
    /// By receiving subtask.
    pub senders: Vec<Sender>,
}

#[derive(Debug, Error)]
pub enum EdgeError {
    #[error(transparent)]
    Disconnected(#[from] Disconnected),
    #[error("failed to partition rows by key")]
    Partition(#[from] ArrowError),
}

impl Edge {
    /// Rows go to the subtask of their key; everything else goes to all. Waits for room, unless the task is urged.
    pub async fn send(&self, element: Element, urge: &Urge) -> Result<(), EdgeError> {
        match element {
            Element::Batch(batch) => {
                for (subtask, part) in split(&batch, &self.keys, self.senders.len() as u32, self.max_parallelism)? {
                    if let Some(sender) = self.senders.get(subtask.0 as usize) {
                        sender.send_unless_urged(Element::Batch(part), urge).await?;
                    }
                }
            }
            other => {
                for sender in &self.senders {
                    sender.send_unless_urged(other.clone(), urge).await?;
                }
            }
        }
        Ok(())
    }

    /// Ends an epoch for all. A full channel does not hold it up.
    pub fn cut(&self, barrier: Barrier) -> Result<(), EdgeError> {
        self.push(&Element::Barrier(barrier))
    }

    /// Nothing follows.
    pub fn end(&self) -> Result<(), EdgeError> {
        self.push(&Element::End)
    }

    fn push(&self, element: &Element) -> Result<(), EdgeError> {
        self.senders.iter().try_for_each(|sender| sender.push(element.clone()))?;
        Ok(())
    }
}
