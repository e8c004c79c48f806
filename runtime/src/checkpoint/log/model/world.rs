//! What there is: a store, a broker, requests on their way, two coordinators and two workers.

use std::{
    collections::{BTreeMap, btree_map},
    sync::Arc,
};

use super::{
    Bounds,
    coordinator::Coordinator,
    entry::{Entry, Name, Place},
    owning::Owning,
    publisher::Lane,
    worker::Worker,
};
use crate::{
    checkpoint::{
        log::{self, AttemptLog},
        manifest::ChunkRef,
        record::CheckpointRef,
    },
    ids::{Attempt, Epoch},
};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub log: BTreeMap<Place, Arc<Entry>>,
    /// Creates without an answer that may still arrive, by place and author.
    pub late: BTreeMap<(Place, Name), Arc<Entry>>,
    /// What a `read_committed` reader of the topic sees; a marker came with each.
    pub topic: Vec<Arc<ChunkRef>>,
    /// Commits without an answer that may still arrive.
    pub late_commits: Vec<Arc<ChunkRef>>,
    pub coordinators: [Coordinator; 2],
    /// Attempts have them by turns.
    pub workers: [Option<Worker>; 2],
    /// Somebody was told that the markers are ahead of the log, and no later attempt had begun.
    pub is_told_behind: bool,
    /// How many faults may still happen.
    pub faults: u8,
    /// How many checkpoints may still come to nothing.
    pub give_ups: u8,
}

/// What its sender hears of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Heard,
    Silence,
}

/// Where something is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// What was owned before is published by the coordinator, before its attempt runs.
    Coordinator(usize),
    Worker(usize),
}

impl World {
    pub fn new(bounds: &Bounds) -> Self {
        Self {
            log: BTreeMap::new(),
            late: BTreeMap::new(),
            topic: Vec::new(),
            late_commits: Vec::new(),
            coordinators: [Coordinator::Idle, Coordinator::Idle],
            workers: [None, None],
            is_told_behind: false,
            faults: bounds.faults,
            give_ups: bounds.give_ups,
        }
    }

    /// A conditional create, and a look at what is there when the place is taken. True if it is this record.
    pub fn create(&mut self, place: Place, entry: &Arc<Entry>) -> bool {
        match self.log.entry(place) {
            btree_map::Entry::Vacant(free) => {
                free.insert(entry.clone());
                true
            }
            btree_map::Entry::Occupied(found) => log::is_ours(&entry.record, &found.get().record),
        }
    }

    /// A create is sent, and its sender hears nothing.
    pub fn send(&mut self, place: Place, entry: Arc<Entry>) {
        self.late.insert((place, entry.author), entry);
    }

    pub fn arrive(&mut self, late: &(Place, Name)) {
        if let Some(entry) = self.late.remove(late) {
            self.create(late.0, &entry);
        }
    }

    pub fn arrive_commit(&mut self, index: usize) {
        let chunk = self.late_commits.remove(index);
        self.topic.push(chunk);
    }

    /// What a coordinator finds when it reads the log, or what is wrong with it.
    pub fn newest(&self) -> Result<Option<AttemptLog>, String> {
        let Some((&(attempt, last), _)) = self.log.last_key_value() else { return Ok(None) };
        let (mut records, mut next) = (Vec::new(), Some(last));
        while let Some(seq) = next {
            let found = self.log.get(&(attempt, seq)).ok_or_else(|| format!("{attempt}/{seq} is missing"))?;
            next = log::read_next(seq, &found.record);
            records.push(&found.record);
        }
        log::summarize(attempt, last.next(), records.into_iter().rev()).map(Some)
    }

    /// The chunks that a checkpoint's manifest names.
    pub fn manifest(&self, checkpoint: &CheckpointRef) -> &[ChunkRef] {
        let entry = self.log.values().find(|entry| entry.checkpoint() == Some(checkpoint));
        entry.map_or(&[], |entry| &entry.chunks)
    }

    /// Whether a coordinator would answer that it runs the attempt that began with this record.
    pub fn runs(&self, record_id: &str) -> bool {
        self.coordinators.iter().any(|coordinator| coordinator.runs(record_id))
    }

    pub fn lanes(&self) -> impl Iterator<Item = &Lane> {
        let settling = self.coordinators.iter().filter_map(|coordinator| coordinator.owning()?.settling.as_ref());
        settling.chain(self.workers.iter().flatten().map(|worker| &worker.lane))
    }

    pub fn lane(&mut self, at: At) -> Option<&mut Lane> {
        match at {
            At::Coordinator(index) => self.coordinators[index].owning_mut()?.settling.as_mut(),
            At::Worker(index) => self.workers[index].as_mut().map(|worker| &mut worker.lane),
        }
    }

    /// The attempt that is published for, and the newest epoch that it inherited, where that is what is published.
    pub fn publishes_for(&self, at: At) -> Option<(Attempt, Option<Epoch>)> {
        match at {
            At::Coordinator(index) => {
                let owning = self.coordinators[index].owning()?;
                Some((owning.attempt, Some(owning.inherited())))
            }
            At::Worker(index) => {
                let started = &self.workers[index].as_ref()?.attempt;
                let found = self.log.iter().find(|(_, entry)| entry.record.record_id == *started);
                found.map(|((attempt, _), _)| (*attempt, None))
            }
        }
    }

    /// `init_transactions`: the commit of whoever had the id is refused from now on.
    pub fn fence(&mut self) {
        self.late_commits.clear();
        for at in [At::Coordinator(0), At::Coordinator(1), At::Worker(0), At::Worker(1)] {
            if let Some(lane) = self.lane(at) {
                lane.fence();
            }
        }
    }

    pub fn is_free(&self, place: Place) -> bool {
        !self.log.contains_key(&place)
    }

    /// Who writes next.
    pub fn new_name(&self) -> Name {
        let have_written = self.log.values().chain(self.late.values()).map(|entry| entry.author);
        let write = self.coordinators.iter().filter_map(Coordinator::name);
        have_written.chain(write).max().map_or(Name(1), |newest| Name(newest.0 + 1))
    }

    /// What a sender may hear.
    pub fn answers(&self, place: Place) -> &'static [Answer] {
        // Where the place is taken, it may as well hear it.
        if self.faults > 0 && self.is_free(place) { &[Answer::Heard, Answer::Silence] } else { &[Answer::Heard] }
    }

    /// The coordinator that a worker reports to, unless it is gone.
    pub fn owner_of(&mut self, worker: usize) -> Option<&mut Owning> {
        let attempt = &self.workers[worker].as_ref()?.attempt;
        self.coordinators.iter_mut().filter_map(Coordinator::owning_mut).find(|owning| owning.started == *attempt)
    }

    /// Makes states equal that differ in nothing that can still matter: which coordinator is which, a create whose place
    /// is taken, and a worker that has nothing to publish and nobody to hear from.
    pub fn forget(&mut self) {
        self.coordinators.sort_by_key(Coordinator::name);
        self.late.retain(|(place, _), _| !self.log.contains_key(place));
        self.late_commits.sort_by(|a, b| (&a.id, &a.file).cmp(&(&b.id, &b.file)));
        for worker in &mut self.workers {
            let is_alone = |worker: &Worker| !self.coordinators.iter().any(|owner| owner.runs(&worker.attempt));
            worker.take_if(|worker| worker.lane.is_idle() && is_alone(worker));
        }
    }
}
