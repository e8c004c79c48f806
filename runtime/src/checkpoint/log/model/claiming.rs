//! Reads the log, decides by [`claim`], and creates the record that it decided on.

use std::sync::Arc;

use super::{
    Protocol,
    coordinator::{Coordinator, Look},
    entry::{Entry, Name, Place},
    owning::Owning,
    publisher::Lane,
    rules::Rule,
    world::{Answer, World},
};
use crate::{
    checkpoint::{
        committed::Committed,
        log::{Claim, Claimant, Ending, OwnerAnswer, claim},
        pending::Pending,
        record::{Body, CheckpointRef, Owner},
    },
    ids::{Epoch, Revision, Seq},
};

/// What a claimant knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claiming {
    pub place: Place,
    decision: Decision,
    /// The record, once it was sent and got no answer.
    unanswered: Option<Arc<Entry>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Decision {
    Seal,
    Start {
        restored_from: Option<CheckpointRef>,
        /// What the attempt before knew to be published.
        committed: Committed,
    },
}

impl Claiming {
    /// Who it is, once it has written.
    pub fn name(&self) -> Option<Name> {
        Some(self.unanswered.as_ref()?.author)
    }

    /// Whether this is the record that it wants to begin with: it answers for that from before it is there.
    pub fn announces(&self, record_id: &str) -> bool {
        self.unanswered.as_ref().is_some_and(|entry| entry.record.record_id == record_id)
    }

    /// What it creates.
    pub fn entry(&self, world: &World) -> Arc<Entry> {
        if let Some(entry) = &self.unanswered {
            return entry.clone();
        }
        let me = world.new_name();
        let body = match &self.decision {
            Decision::Seal => Body::Sealed { by: me.to_string() },
            Decision::Start { restored_from, .. } => Body::AttemptStarted {
                attempt: self.place.0,
                revision: Revision(1),
                spec_digest: String::new(),
                lineage: "job".to_owned(),
                parallelism: 1,
                restored_from: restored_from.clone(),
                owner: Owner { address: String::new(), pod: me.to_string(), job_uid: None },
            },
        };
        Arc::new(Entry::new(me, self.place, body, Vec::new()))
    }
}

impl Protocol {
    /// What to create next, by what the log says now; nothing while somebody else runs the job.
    pub fn decide(&self, world: &World, look: Look) -> Option<Claiming> {
        // Nobody goes on from a log that is damaged; that it is not is a property of its own.
        let mut newest = world.newest().ok()?;
        let claimant = Claimant { revision: Revision(1), pod: "new".to_owned() };
        let mut answer = OwnerAnswer::NotAsked;
        let (place, decision) = loop {
            match claim(newest.as_ref(), &claimant, answer) {
                Claim::Ask { record_id, .. } => {
                    let is_heard = world.runs(&record_id) && look == Look::Well;
                    answer = if is_heard { OwnerAnswer::Alive } else { OwnerAnswer::Gone };
                }
                Claim::Seal { .. } if !self.keeps(Rule::Seal) => newest.as_mut()?.ending = Some(Ending::Sealed),
                Claim::Seal { attempt, seal_at } => break ((attempt, seal_at), Decision::Seal),
                Claim::Start { next, restored_from, .. } => {
                    let committed = newest.map(|log| log.committed).unwrap_or_default();
                    break ((next, Seq(0)), Decision::Start { restored_from, committed });
                }
                Claim::Owned { .. } => return None,
                other => unreachable!("both run the same revision, and nobody releases the job: {other:?}"),
            }
        };
        Some(Claiming { place, decision, unanswered: None })
    }

    pub fn look(&self, world: &mut World, coordinator: usize, look: Look) {
        world.faults -= u8::from(look == Look::Mistaken);
        world.coordinators[coordinator] = self.decide(world, look).map_or(Coordinator::Idle, Coordinator::Claiming);
    }

    pub fn claim(&self, world: &mut World, coordinator: usize, answer: Answer) {
        let Coordinator::Claiming(claiming) = &world.coordinators[coordinator] else { return };
        let (mut claiming, entry) = (claiming.clone(), claiming.entry(world));
        world.coordinators[coordinator] = match self.send(world, claiming.place, &entry, answer) {
            None => {
                claiming.unanswered = Some(entry);
                Coordinator::Claiming(claiming)
            }
            Some(is_ours) => match claiming.decision {
                Decision::Start { restored_from, committed } if is_ours => {
                    let settling = self.settling(world, restored_from.as_ref(), &committed);
                    let goes_on_from = restored_from.filter(|_| self.keeps(Rule::Numbers));
                    let epoch = goes_on_from.map_or(Epoch(0), |checkpoint| checkpoint.epoch);
                    Coordinator::Owning(Owning::new(&entry, claiming.place.0, epoch, settling, self.bounds.notes))
                }
                // Whoever took the place: it reads the log again.
                _ => Coordinator::Idle,
            },
        };
        self.deploy(world, coordinator);
    }

    /// What an attempt has to publish before it runs.
    fn settling(&self, world: &World, checkpoint: Option<&CheckpointRef>, committed: &Committed) -> Option<Lane> {
        let pending = Pending::inherited(world.manifest(checkpoint?), committed);
        let settles = !pending.is_empty() && self.keeps(Rule::Settle);
        settles.then(|| {
            let mut lane = Lane::new(self);
            pending.into_epochs().for_each(|(epoch, chunks)| lane.add(self, epoch, &chunks));
            lane
        })
    }

    /// Creates a record: whether it is there now, or `None` when that is not known.
    pub fn send(&self, world: &mut World, place: Place, entry: &Arc<Entry>, answer: Answer) -> Option<bool> {
        if answer == Answer::Heard {
            return Some(world.create(place, entry));
        }
        world.faults -= 1;
        world.send(place, entry.clone());
        (!self.keeps(Rule::ReadBack)).then_some(true)
    }
}
