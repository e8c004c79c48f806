//! What stays in the worker of a checkpoint's shares, until it has completed or is given up.

use std::{collections::BTreeMap, sync::Arc};

use super::at_hand::{Copied, Named, PartsAt};
use crate::{checkpoint::manifest::ChunkRef, ids::Epoch, sink::Chunk, state::ChunkRows};

/// Of one subtask.
#[derive(Debug, Default)]
pub struct Held {
    /// Its parts of state, uploaded for it or before.
    pub parts: PartsAt,
    /// Files of tables on the local disk.
    pub files: Vec<Copied>,
    pub chunks: Vec<HeldChunk>,
}

/// A chunk in the write-ahead log, with its rows while they are still at hand.
#[derive(Debug)]
pub struct HeldChunk {
    pub reference: ChunkRef,
    pub chunk: Option<Chunk>,
    pub rows: Arc<ChunkRows>,
}

/// Of all subtasks of a worker.
#[derive(Debug, Default)]
pub struct Shares {
    by_epoch: BTreeMap<Epoch, Vec<Held>>,
}

impl Shares {
    pub fn add(&mut self, epoch: Epoch, held: Held) {
        self.by_epoch.entry(epoch).or_default().push(held);
    }

    pub fn give_up(&mut self, epoch: Epoch) {
        self.by_epoch.remove(&epoch);
    }

    /// What checkpoints name that were neither told to be complete nor given up.
    pub fn left(&mut self) -> Named {
        let mut left = Named::default();
        for held in std::mem::take(&mut self.by_epoch).into_values().flatten() {
            left.add(Named { parts: held.parts, files: held.files });
        }
        left
    }

    /// The shares of a checkpoint that has completed. Those of earlier ones go: they came after their checkpoint was given
    /// up, and this one has what they had. Those of later ones stay, since theirs are undecided.
    pub fn complete(&mut self, epoch: Epoch) -> Vec<Held> {
        let later = self.by_epoch.split_off(&epoch.next());
        std::mem::replace(&mut self.by_epoch, later).remove(&epoch).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_that_comes_after_its_checkpoint_was_given_up_goes_with_the_next_that_completes() {
        let mut shares = Shares::default();
        shares.add(Epoch(1), Held::default());
        shares.give_up(Epoch(1));
        shares.add(Epoch(1), Held::default());
        for epoch in [2, 2, 3] {
            shares.add(Epoch(epoch), Held::default());
        }
        assert_eq!(shares.complete(Epoch(2)).len(), 2);
        assert_eq!(shares.by_epoch.keys().collect::<Vec<_>>(), [&Epoch(3)]);
        assert_eq!(shares.complete(Epoch(3)).len(), 1);
        assert!(shares.by_epoch.is_empty());
    }
}
