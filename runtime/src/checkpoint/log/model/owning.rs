//! One who has the job, or believes so: settles what it inherited, cuts epochs, owns them, and notes what is published.

use std::{collections::VecDeque, sync::Arc};

use super::{
    Bounds, Notes, Protocol,
    coordinator::Coordinator,
    entry::{Entry, Name, Place},
    publisher::Lane,
    rules::Rule,
    worker::Worker,
    world::{Answer, World},
};
use crate::{
    checkpoint::{
        committed::Committed,
        log::is_ours,
        manifest::{ChunkRef, FileRef, folder},
        pending::Pending,
        record::{Body, CheckpointRef, Trigger},
        store::ObjectPath,
    },
    ids::{Attempt, Epoch, Seq},
    sink::ChunkId,
};

/// What a coordinator knows of an attempt that it believes to be its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owning {
    pub me: Name,
    /// Id of the record that it began with.
    pub started: String,
    pub attempt: Attempt,
    next: Seq,
    /// Newest epoch that is owned or inherited.
    epoch: Epoch,
    /// What was inherited is published first, and then noted.
    pub settling: Option<Lane>,
    pending: Pending,
    /// Newest epoch that was cut.
    newest: Epoch,
    /// The next checkpoint, when its manifest is written.
    cut: Option<Arc<Cut>>,
    /// Those behind it that are cut, with their shares.
    behind: VecDeque<(Epoch, Vec<ChunkRef>)>,
    /// Chunks that were cut, and that who makes shares does not know to be owned.
    chunks: Vec<ChunkRef>,
    /// A record that got no answer: nothing else is appended before its outcome is known.
    unanswered: Option<Arc<Entry>>,
    /// Newest epoch that is published and not noted in the log.
    unnoted: Option<Epoch>,
    notes: Notes,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Cut {
    checkpoint: CheckpointRef,
    /// All that the manifest names.
    chunks: Vec<ChunkRef>,
}

/// What an owner appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Append {
    /// `CheckpointCompleted`.
    Own,
    /// `EpochCommitted`.
    Note,
    /// Once more what got no answer.
    Again,
}

impl Owning {
    /// What an owner knows when it has created its attempt's first record, `started`.
    pub fn new(started: &Entry, attempt: Attempt, epoch: Epoch, settling: Option<Lane>, notes: Notes) -> Self {
        Self {
            me: started.author,
            started: started.record.record_id.clone(),
            attempt,
            next: Seq(1),
            epoch,
            settling,
            pending: Pending::default(),
            newest: epoch,
            cut: None,
            behind: VecDeque::new(),
            chunks: Vec::new(),
            unanswered: None,
            unnoted: None,
            notes,
        }
    }

    /// The newest epoch that is owned or inherited.
    pub fn inherited(&self) -> Epoch {
        self.epoch
    }

    pub fn place(&self) -> Place {
        (self.attempt, self.next)
    }

    /// Whether its place is taken by somebody else, which it may not know.
    pub fn is_sealed(&self, world: &World) -> bool {
        let found = world.log.get(&self.place());
        found.is_some_and(|found| self.unanswered.as_ref().is_none_or(|sent| !is_ours(&sent.record, &found.record)))
    }

    /// Whether all that was inherited is published.
    pub fn is_settled(&self) -> bool {
        self.settling.as_ref().is_none_or(Lane::is_idle)
    }

    pub fn can_cut(&self, bounds: &Bounds) -> bool {
        let under_way = usize::from(self.cut.is_some()) + self.behind.len();
        self.settling.is_none() && under_way < usize::from(bounds.at_once) && self.newest.0 < bounds.epochs
    }

    /// Whether the next checkpoint can still come to nothing. The last one of the job can't: what it has would be lost.
    pub fn can_give_up(&self, bounds: &Bounds) -> bool {
        let is_last = |cut: &Arc<Cut>| cut.checkpoint.epoch.0 == bounds.epochs;
        self.unanswered.is_none() && self.cut.as_ref().is_some_and(|cut| !is_last(cut))
    }

    pub fn appends(&self) -> Vec<Append> {
        if self.unanswered.is_some() {
            return vec![Append::Again];
        }
        let own = self.cut.is_some().then_some(Append::Own);
        own.into_iter().chain(self.unnoted.map(|_| Append::Note)).collect()
    }

    pub fn misses_worker(&self, world: &World) -> bool {
        let worker = &world.workers[Worker::index(self.attempt)];
        self.settling.is_none() && worker.as_ref().is_none_or(|worker| worker.attempt != self.started)
    }

    /// The record to append.
    pub fn entry(&self, append: Append) -> Arc<Entry> {
        let (body, chunks) = match (append, self.cut.as_deref(), &self.unanswered) {
            (Append::Again, _, Some(unanswered)) => return unanswered.clone(),
            (Append::Own, Some(Cut { checkpoint, chunks }), _) => {
                let completed =
                    Body::CheckpointCompleted { checkpoint: checkpoint.clone(), trigger: Trigger::Interval };
                (completed, chunks.clone())
            }
            _ => {
                let mut committed = Committed::default();
                let epoch = self.unnoted.unwrap_or_default();
                match self.notes {
                    Notes::OfAll => committed.publish(epoch),
                    Notes::OfSinks => committed.publish_to("out", epoch),
                }
                (Body::committed(&committed), Vec::new())
            }
        };
        Arc::new(Entry::new(self.me, self.place(), body, chunks).behind(self.epoch))
    }

    /// Everything up to `epoch` is published.
    pub fn published(&mut self, epoch: Epoch) {
        match self.notes {
            Notes::OfAll => self.pending.published(epoch),
            Notes::OfSinks => self.pending.published_to("out", epoch),
        }
        self.unnoted = Some(epoch);
    }

    /// All that was inherited is published.
    pub fn settled(&mut self) {
        self.unnoted = Some(self.epoch);
    }
}

impl Protocol {
    /// The rows of the next epoch are fixed, and its shares name them beside all that was cut before.
    pub fn cut(&self, world: &mut World, coordinator: usize) {
        let Some(owning) = world.coordinators[coordinator].owning_mut() else { return };
        let epoch = owning.newest.next();
        let folder = folder(owning.attempt, epoch);
        let own: Vec<ChunkRef> = (0..self.bounds.chunks)
            .map(|index| ChunkRef {
                id: ChunkId { lineage: "job".to_owned(), sink: "out".to_owned(), slot: 0, epoch, index },
                rows: 1,
                file: FileRef {
                    path: ObjectPath(format!("{folder}{index}")),
                    offset: None,
                    bytes: 1,
                    xxh3: owning.me.to_string(),
                },
            })
            .collect();
        owning.newest = epoch;
        owning.chunks.extend(own.iter().cloned());
        let mut shares = if self.keeps(Rule::CarryUndecided) { owning.chunks.clone() } else { own };
        if !self.keeps(Rule::KeepNumbers) {
            shares.retain(|chunk| chunk.id.epoch > owning.epoch);
            for (index, chunk) in (0..).zip(&mut shares) {
                (chunk.id.epoch, chunk.id.index) = (epoch, index);
            }
        }
        if self.keeps(Rule::CompleteInOrder) {
            owning.behind.push_back((epoch, shares));
        } else {
            let before = owning.cut.take().map(|cut| (cut.checkpoint.epoch, cut.chunks.clone()));
            owning.behind.extend(before);
            owning.behind.push_front((epoch, shares));
        }
        self.write(owning);
    }

    /// The manifest of the next checkpoint names what its shares add to what waits now; unless one before it is undecided.
    fn write(&self, owning: &mut Owning) {
        if owning.cut.is_some() {
            return;
        }
        let Some((epoch, shares)) = owning.behind.pop_front() else { return };
        let waiting = if self.keeps(Rule::CarryPending) { owning.pending.clone() } else { Pending::default() };
        let manifest = ObjectPath(format!("{}manifest.json", folder(owning.attempt, epoch)));
        let checkpoint = CheckpointRef { epoch, manifest, sha256: owning.me.to_string() };
        owning.cut = Some(Arc::new(Cut { checkpoint, chunks: waiting.and(shares) }));
    }

    /// The next checkpoint comes to nothing: what it had belongs to those behind it.
    pub fn give_up(&self, world: &mut World, coordinator: usize) {
        world.give_ups -= 1;
        let Some(owning) = world.coordinators[coordinator].owning_mut() else { return };
        owning.cut = None;
        self.write(owning);
    }

    pub fn append(&self, world: &mut World, coordinator: usize, append: Append, answer: Answer) {
        let Some(owning) = world.coordinators[coordinator].owning() else { return };
        let (place, entry) = (owning.place(), owning.entry(append));
        if append == Append::Own && !self.keeps(Rule::OwnFirst) {
            self.hand_out(world, coordinator, &entry);
        }
        match self.send(world, place, &entry, answer) {
            Some(true) => self.appended(world, coordinator, &entry),
            // Sealed: somebody else has the job.
            Some(false) => world.coordinators[coordinator] = Coordinator::Idle,
            None => {
                if let Some(owning) = world.coordinators[coordinator].owning_mut() {
                    owning.unanswered = Some(entry);
                }
            }
        }
    }

    fn appended(&self, world: &mut World, coordinator: usize, entry: &Arc<Entry>) {
        let Some(owning) = world.coordinators[coordinator].owning_mut() else { return };
        owning.unanswered = None;
        owning.next = owning.next.next();
        match &entry.record.body {
            Body::CheckpointCompleted { checkpoint, .. } => {
                let epoch = checkpoint.epoch;
                owning.cut = None;
                owning.epoch = epoch;
                owning.chunks.retain(|chunk| chunk.id.epoch > epoch);
                owning.pending.owned(epoch, entry.own_chunks().cloned().collect());
                if !self.keeps(Rule::NotePublished) {
                    owning.unnoted = Some(epoch);
                }
                self.write(owning);
                if self.keeps(Rule::OwnFirst) {
                    self.hand_out(world, coordinator, entry);
                }
            }
            Body::EpochCommitted { epoch, sinks } => {
                let noted = sinks.get("out").unwrap_or(epoch);
                owning.unnoted.take_if(|unnoted| unnoted == noted);
                if owning.settling.take().is_some() {
                    self.deploy(world, coordinator);
                }
            }
            other => unreachable!("an owner appends no {other:?}"),
        }
    }
}
