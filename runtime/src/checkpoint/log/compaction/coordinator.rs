//! One who wants the job, or has it, or believes so.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Act, Entry, Protocol,
    rules::Rule,
    world::{World, key},
};
use crate::{
    checkpoint::{
        log::{
            AttemptLog, Claim, Claimant, OwnerAnswer, claim,
            reading::{Ask, Facts, Found, Unread, read},
            segments::{Place, Spans},
        },
        record::{Body, CheckpointRef, Owner, Record, Trigger},
        store::ObjectPath,
    },
    ids::{Attempt, Epoch, Revision, Seq},
};

/// Where a coordinator is between two steps; whatever it knows may have changed by the next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Coordinator {
    /// Knows nothing.
    Idle,
    Reading {
        facts: Facts,
        hint: Option<Place>,
    },
    /// Has decided.
    Claiming {
        place: Place,
        body: Body,
        unanswered: Option<Arc<Entry>>,
    },
    Owning(Owning),
}

/// What an owner knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owning {
    pub author: u64,
    pub started: String,
    pub attempt: Attempt,
    next: Seq,
    checkpoint: Option<Seq>,
    epoch: Epoch,
    /// It has begun, and not yet looked whether that counts.
    begins: bool,
    /// Got no answer, or was not looked at.
    unanswered: Option<Arc<Entry>>,
    /// It is there, as its author knows, and not yet looked at.
    is_there: bool,
}

fn entry(author: u64, (attempt, seq): Place, body: Body) -> Arc<Entry> {
    let record_id = format!("{author}/{attempt}.{seq}");
    Arc::new(Entry { author, record: Record { record_id, path: None, at_ms: 0, body } })
}

impl Coordinator {
    pub fn reading(hint: Option<Place>) -> Self {
        Self::Reading { facts: Facts::default(), hint }
    }

    /// What it does, and who it is once it has written.
    pub fn order(&self) -> (u8, u64) {
        match self {
            Self::Idle => (0, 0),
            Self::Reading { .. } => (1, 0),
            Self::Claiming { unanswered, .. } => (2, unanswered.as_ref().map_or(0, |sent| sent.author)),
            Self::Owning(owning) => (3, owning.author),
        }
    }

    /// Whether the attempt that it takes for its own is, by the ghost.
    pub fn has_begun(&self, ghost: &BTreeMap<Place, Arc<Entry>>) -> bool {
        match self {
            Self::Owning(owning) if !owning.begins => {
                let first = ghost.get(&(owning.attempt, Seq(0)));
                first.is_some_and(|entry| entry.record.record_id == owning.started)
            }
            _ => true,
        }
    }

    fn runs(&self, record_id: &str) -> bool {
        match self {
            Self::Owning(owning) => owning.started == record_id,
            Self::Claiming { unanswered: Some(sent), .. } => sent.record.record_id == record_id,
            _ => false,
        }
    }

    /// What it creates next; as `newcomer` if it never wrote.
    pub fn sends(&self, newcomer: u64) -> Option<(Place, Arc<Entry>)> {
        match self {
            Self::Claiming { place, unanswered: Some(sent), .. } => Some((*place, sent.clone())),
            Self::Claiming { place, body, unanswered: None } => Some((*place, entry(newcomer, *place, body.clone()))),
            Self::Owning(owning) if !owning.begins && !owning.is_there => Some((owning.place(), owning.sends())),
            _ => None,
        }
    }
}

impl Owning {
    fn place(&self) -> Place {
        (self.attempt, self.next)
    }

    /// The next checkpoint, or once more what got no answer.
    fn sends(&self) -> Arc<Entry> {
        self.unanswered.clone().unwrap_or_else(|| {
            let (epoch, sha256) = (self.epoch.next(), self.author.to_string());
            let checkpoint = CheckpointRef { epoch, manifest: ObjectPath(String::new()), sha256 };
            entry(self.author, self.place(), Body::CheckpointCompleted { checkpoint, trigger: Trigger::Interval })
        })
    }
}

impl Protocol {
    pub fn coordinator_acts(&self, world: &World, coordinator: usize, acts: &mut Vec<Act>) {
        let mut can_send = false;
        match &world.coordinators[coordinator] {
            Coordinator::Idle => {
                acts.extend(self.is_left(world, false).then_some(Act::ReadAll { coordinator, mistaken: false }));
                let may_err = world.faults > 0 && self.is_left(world, true);
                acts.extend(may_err.then_some(Act::ReadAll { coordinator, mistaken: true }));
                if world.slow > 0 {
                    let newest = world.ghost.last_key_value().map(|(place, _)| *place);
                    let hints = [None, Some((Attempt(1), Seq(1))), newest];
                    let hints = if self.bounds.any_hint { &hints[..] } else { &hints[..1] };
                    acts.extend(hints.iter().map(|&hint| Act::Read { coordinator, hint }));
                }
                return;
            }
            Coordinator::Reading { .. } => {
                acts.push(Act::Hear { coordinator, mistaken: false });
                if world.faults > 0 {
                    acts.push(Act::Hear { coordinator, mistaken: true });
                }
                // To die now comes to the same as to begin anew.
                return;
            }
            Coordinator::Claiming { .. } => can_send = true,
            Coordinator::Owning(owning) => {
                if owning.begins || owning.is_there {
                    acts.push(Act::Look { coordinator });
                } else if owning.epoch.0 < self.bounds.epochs {
                    can_send = true;
                }
                if !owning.begins {
                    let newest = (owning.attempt, Seq(owning.next.0 - 1));
                    let deletable = self.deletable(world, newest, owning.checkpoint);
                    acts.extend(deletable.map(|place| Act::Delete { coordinator, place }));
                }
            }
        }
        if can_send {
            acts.push(Act::Create { coordinator, silent: false });
        }
        let may_note = |owning: &Owning| world.notes > 0 && !owning.begins && owning.unanswered.is_none();
        if matches!(&world.coordinators[coordinator], Coordinator::Owning(owning) if may_note(owning)) {
            acts.push(Act::Note { coordinator });
        }
        if world.faults > 0 {
            acts.push(Act::Crash { coordinator, sending: false });
            if can_send {
                acts.push(Act::Create { coordinator, silent: true });
                acts.push(Act::Crash { coordinator, sending: true });
            }
        }
    }

    /// Reads the whole log at one moment, and decides.
    pub fn read_all(&self, world: &mut World, coordinator: usize, mistaken: bool) {
        let Ok(newest) = self.newest(world) else { return };
        let (decided, is_mistake) = decide(world, newest.as_ref(), mistaken);
        world.faults -= u8::from(is_mistake);
        world.coordinators[coordinator] = decided;
    }

    /// Whether who reads the log now has something to do.
    fn is_left(&self, world: &World, mistaken: bool) -> bool {
        let decided = self.newest(world).map(|newest| decide(world, newest.as_ref(), mistaken));
        decided.is_ok_and(|(decided, is_mistake)| decided != Coordinator::Idle && is_mistake == mistaken)
    }

    fn newest(&self, world: &World) -> Result<Option<AttemptLog>, Unread> {
        read_from(&world.store, self.bounds.spans)
    }

    fn answer(&self, world: &World, facts: &mut Facts, ask: Ask) {
        let is_blind = matches!(ask, Ask::Look(_)) && !self.keeps(Rule::LookAfterRead);
        let found = world.store.get(&ask.place()).filter(|_| !is_blind);
        facts.heard(ask, found.map_or(Found::Nothing, |entry| Found::Record(entry.record.clone())));
    }

    pub fn hear(&self, world: &mut World, coordinator: usize, mistaken: bool) {
        let Coordinator::Reading { facts, hint } = &world.coordinators[coordinator] else { return };
        let (mut facts, hint) = (facts.clone(), *hint);
        let spans = self.bounds.spans;
        if let Err(Unread::Ask(ask)) = read(&facts, spans, hint) {
            self.answer(world, &mut facts, ask);
        }
        world.coordinators[coordinator] = match read(&facts, spans, hint) {
            Err(Unread::Ask(_)) if mistaken => return,
            Err(Unread::Ask(_)) => Coordinator::Reading { facts, hint },
            // It has to begin anew; or nobody can go on from such a log, which is a property of its own.
            Err(_) => Coordinator::Idle,
            Ok(newest) => {
                let (decided, is_mistake) = decide(world, newest.as_ref(), mistaken);
                world.faults -= u8::from(is_mistake);
                decided
            }
        };
    }

    pub fn create(&self, world: &mut World, coordinator: usize, silent: bool) {
        let Some((place, sent)) = world.coordinators[coordinator].sends(world.authors + 1) else { return };
        world.authors = world.authors.max(sent.author);
        if silent {
            world.faults -= 1;
            world.late.push((place, sent.clone()));
            match &mut world.coordinators[coordinator] {
                Coordinator::Claiming { unanswered, .. } | Coordinator::Owning(Owning { unanswered, .. }) => {
                    *unanswered = Some(sent);
                }
                _ => {}
            }
            return;
        }
        let is_ours = world.create(place, &sent);
        let now = match (&world.coordinators[coordinator], &sent.record.body) {
            (Coordinator::Owning(owning), _) if is_ours => {
                Coordinator::Owning(Owning { unanswered: Some(sent), is_there: true, ..owning.clone() })
            }
            (Coordinator::Claiming { .. }, Body::AttemptStarted { restored_from, .. }) if is_ours => {
                Coordinator::Owning(Owning {
                    author: sent.author,
                    started: sent.record.record_id.clone(),
                    attempt: place.0,
                    next: Seq(1),
                    checkpoint: None,
                    epoch: restored_from.as_ref().map_or(Epoch(0), |checkpoint| checkpoint.epoch),
                    begins: true,
                    unanswered: None,
                    is_there: false,
                })
            }
            // Sealed, or somebody took the place, or it has sealed: who wants the job reads again.
            _ => Coordinator::Idle,
        };
        world.coordinators[coordinator] = now;
        self.skip_look(world, coordinator);
    }

    /// An owner notes something behind its newest checkpoint, which decides nothing.
    pub fn note(world: &mut World, coordinator: usize) {
        world.notes -= 1;
        let Coordinator::Owning(owning) = &world.coordinators[coordinator] else { return };
        let (place, epoch) = (owning.place(), owning.epoch);
        let is_there =
            world.create(place, &entry(owning.author, place, Body::EpochCommitted { epoch, sinks: BTreeMap::new() }));
        match &mut world.coordinators[coordinator] {
            Coordinator::Owning(owning) if is_there => owning.next = owning.next.next(),
            sealed => *sealed = Coordinator::Idle,
        }
    }

    /// With a rule less, what is there counts.
    fn skip_look(&self, world: &mut World, coordinator: usize) {
        let Coordinator::Owning(owning) = &world.coordinators[coordinator] else { return };
        let rule = if owning.begins { Rule::LookAfterBegin } else { Rule::LookAfterAppend };
        if (owning.begins || owning.is_there) && !self.keeps(rule) {
            counts(world, coordinator);
        }
    }

    pub fn look(&self, world: &mut World, coordinator: usize) {
        let Coordinator::Owning(owning) = &world.coordinators[coordinator] else { return };
        if world.store.contains_key(&self.bounds.spans.witness_of_attempt(owning.attempt)) {
            world.coordinators[coordinator] = Coordinator::Idle;
        } else {
            counts(world, coordinator);
        }
    }
}

/// What somebody reads who is told all at one moment.
pub fn read_from(store: &BTreeMap<Place, Arc<Entry>>, spans: Spans) -> Result<Option<AttemptLog>, Unread> {
    let mut facts = Facts::default();
    loop {
        match read(&facts, spans, None) {
            Err(Unread::Ask(ask)) => {
                let found = store.get(&ask.place());
                facts.heard(ask, found.map_or(Found::Nothing, |entry| Found::Record(entry.record.clone())));
            }
            read => return read,
        }
    }
}

/// What an owner has created counts.
fn counts(world: &mut World, coordinator: usize) {
    let Coordinator::Owning(owning) = &mut world.coordinators[coordinator] else { return };
    owning.begins = false;
    owning.is_there = false;
    if let Some(Body::CheckpointCompleted { checkpoint, .. }) =
        owning.unanswered.take().as_ref().map(|sent| &sent.record.body)
    {
        owning.epoch = checkpoint.epoch;
        owning.checkpoint = Some(owning.next);
        owning.next = owning.next.next();
        world.owned.insert(key(checkpoint));
    }
}

/// What to do next, and whether that is a mistake.
fn decide(world: &World, newest: Option<&AttemptLog>, mistaken: bool) -> (Coordinator, bool) {
    let claimant = Claimant { revision: Revision(1), pod: "new".to_owned() };
    let (mut answer, mut is_mistake) = (OwnerAnswer::NotAsked, false);
    loop {
        let (place, body) = match claim(newest, &claimant, answer) {
            Claim::Ask { record_id, .. } => {
                let is_there = world.coordinators.iter().any(|coordinator| coordinator.runs(&record_id));
                is_mistake = is_there && mistaken;
                answer = if is_there && !mistaken { OwnerAnswer::Alive } else { OwnerAnswer::Gone };
                continue;
            }
            Claim::Seal { attempt, seal_at } => ((attempt, seal_at), Body::Sealed { by: String::new() }),
            Claim::Start { next, restored_from, .. } => {
                let started = Body::AttemptStarted {
                    attempt: next,
                    revision: Revision(1),
                    spec_digest: String::new(),
                    lineage: "job".to_owned(),
                    parallelism: 1,
                    restored_from,
                    owner: Owner { address: String::new(), pod: String::new(), job_uid: None },
                };
                ((next, Seq(0)), started)
            }
            _ => return (Coordinator::Idle, false),
        };
        return (Coordinator::Claiming { place, body, unanswered: None }, is_mistake);
    }
}
