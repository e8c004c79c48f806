//! The sending side of an exchange.

use arrow::error::ArrowError;
use thiserror::Error;

use crate::{
    element::Element,
    exchange::{
        local::{Disconnected, Sender},
        partition::split,
    },
};

/// Channels from one subtask to all subtasks of the next task.
#[derive(Debug)]
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
    /// Rows go to the subtask of their key; everything else goes to all.
    pub async fn send(&self, element: Element) -> Result<(), EdgeError> {
        match element {
            Element::Batch(batch) => {
                for (subtask, part) in split(&batch, &self.keys, self.senders.len() as u32, self.max_parallelism)? {
                    if let Some(sender) = self.senders.get(subtask.0 as usize) {
                        sender.send(Element::Batch(part)).await?;
                    }
                }
            }
            other => {
                for sender in &self.senders {
                    sender.send(other.clone()).await?;
                }
            }
        }
        Ok(())
    }
}
