//! What there is: a store, what was ever in it, requests on their way, and two coordinators.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    sync::Arc,
};

use super::{Bounds, Place, coordinator::Coordinator};
use crate::checkpoint::{
    log::is_ours,
    record::{CheckpointRef, Record},
};

/// A record, and who writes it: one go at the job, from a look at the log until nothing of that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    pub author: u64,
    pub record: Record,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub store: BTreeMap<Place, Arc<Entry>>,
    /// The first record of each name, as if nothing were ever deleted.
    pub ghost: BTreeMap<Place, Arc<Entry>>,
    /// Creates without an answer that may still arrive.
    pub late: Vec<(Place, Arc<Entry>)>,
    /// What somebody took for owned.
    pub owned: BTreeSet<CheckpointRefKey>,
    pub coordinators: [Coordinator; 2],
    /// How many have written.
    pub authors: u64,
    /// How many faults may still happen.
    pub faults: u8,
    /// How many may still read slowly.
    pub slow: u8,
    /// How many notes may still be written.
    pub notes: u8,
}

/// Epoch and author of a checkpoint.
pub type CheckpointRefKey = (u64, String);

pub fn key(checkpoint: &CheckpointRef) -> CheckpointRefKey {
    (checkpoint.epoch.0, checkpoint.sha256.clone())
}

impl World {
    pub fn new(bounds: &Bounds) -> Self {
        Self {
            store: BTreeMap::new(),
            ghost: BTreeMap::new(),
            late: Vec::new(),
            owned: BTreeSet::new(),
            coordinators: [Coordinator::Idle, Coordinator::Idle],
            authors: 0,
            faults: bounds.faults,
            slow: bounds.slow,
            notes: bounds.notes,
        }
    }

    /// A conditional create, and a look at what is there when the place is taken. True if it is this record.
    pub fn create(&mut self, place: Place, entry: &Arc<Entry>) -> bool {
        match self.store.entry(place) {
            btree_map::Entry::Vacant(free) => {
                free.insert(entry.clone());
                self.ghost.entry(place).or_insert_with(|| entry.clone());
                true
            }
            btree_map::Entry::Occupied(found) => is_ours(&entry.record, &found.get().record),
        }
    }

    /// What a coordinator would create arrives later or never.
    pub fn send_late(&mut self, coordinator: usize) {
        let sent = self.coordinators[coordinator].sends(self.authors + 1);
        self.late.extend(sent);
        self.authors = self.late.iter().map(|(_, entry)| entry.author).max().unwrap_or_default().max(self.authors);
    }

    /// Makes states equal that differ in nothing that can still matter: which coordinator is which, and how often
    /// something was sent.
    pub fn forget(&mut self) {
        self.late.sort_by(|a, b| (a.0, &a.1.record.record_id).cmp(&(b.0, &b.1.record.record_id)));
        self.late.dedup();
        self.coordinators.sort_by_key(Coordinator::order);
    }
}
