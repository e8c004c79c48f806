//! One who publishes, chunk by chunk, by the three steps of `sink/kafka`.

use std::{collections::VecDeque, sync::Arc};

use super::{
    Act, Protocol,
    rules::Rule,
    world::{Answer, At, World},
};
use crate::{
    checkpoint::manifest::ChunkRef,
    ids::{Epoch, Seq},
    sink::kafka::{Finding, Mark},
};

/// Chunks that wait for one publisher, and how far it is with the first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lane {
    chunks: VecDeque<Waiting>,
    step: Step,
    /// Somebody else has taken the transactional id since.
    is_fenced: bool,
}

/// A chunk, and the epoch that owns it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Waiting {
    owner: Epoch,
    chunk: Arc<ChunkRef>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    /// `init_transactions`: takes the transactional id.
    Init,
    ReadMarker,
    Commit,
    /// Its commit was refused.
    Refused,
    /// Only with a rule less: sends the rows again without a look.
    SendAgain,
}

impl Lane {
    pub fn new(protocol: &Protocol) -> Self {
        Self { chunks: VecDeque::new(), step: protocol.first_step(), is_fenced: false }
    }

    /// Puts the chunks of an epoch behind what it has; with a rule less, before it.
    pub fn add<'a>(&mut self, protocol: &Protocol, owner: Epoch, chunks: impl IntoIterator<Item = &'a ChunkRef>) {
        for chunk in chunks {
            let waiting = Waiting { owner, chunk: Arc::new(chunk.clone()) };
            if protocol.keeps(Rule::InOrder) {
                self.chunks.push_back(waiting);
            } else {
                self.chunks.push_front(waiting);
            }
        }
    }

    pub fn is_idle(&self) -> bool {
        self.chunks.is_empty()
    }

    /// What a commit that is sent now would publish, if the broker takes it.
    pub fn commit(&self) -> Option<&Arc<ChunkRef>> {
        let first = self.chunks.front().filter(|_| self.step == Step::Commit && !self.is_fenced);
        first.map(|waiting| &waiting.chunk)
    }

    /// Somebody takes the transactional id.
    pub fn fence(&mut self) {
        self.is_fenced |= self.holds_id();
    }

    pub fn is_refused(&self) -> bool {
        self.step == Step::Refused
    }

    /// Whether it holds the transactional id and goes on.
    fn holds_id(&self) -> bool {
        !self.is_fenced && matches!(self.step, Step::ReadMarker | Step::Commit)
    }
}

impl Protocol {
    pub fn publish_acts(world: &World, at: At, lane: &Lane, acts: &mut Vec<Act>) {
        let may_go = match lane.step {
            _ if lane.is_idle() => false,
            Step::Refused => world.faults > 0 || !world.lanes().any(Lane::holds_id),
            _ => true,
        };
        if may_go {
            acts.push(Act::Publish { at, answer: Answer::Heard });
        }
        if lane.commit().is_some() && world.faults > 0 {
            acts.push(Act::Publish { at, answer: Answer::Silence });
        }
    }

    fn first_step(&self) -> Step {
        if self.keeps(Rule::ReadAfterInit) { Step::Init } else { Step::ReadMarker }
    }

    pub fn publish(&self, world: &mut World, at: At, answer: Answer) {
        let is_hasty = world.lanes().any(Lane::holds_id);
        let marks = world.topic.iter().map(|chunk| Mark::of(&chunk.id, &chunk.file.xxh3));
        let newest = marks.max_by_key(|mark| mark.at);
        let Some((attempt, inherited)) = world.publishes_for(at) else { return };
        let is_over = world.log.contains_key(&(attempt.next(), Seq(0)));
        let Some(lane) = world.lane(at) else { return };
        let Some(Waiting { owner, chunk }) = lane.chunks.front().cloned() else { return };
        let owned = inherited.map_or(owner, |inherited| inherited.max(owner));
        let finding = Mark::find(newest.as_ref(), &chunk.id, &chunk.file.xxh3, owned);
        match lane.step {
            Step::Init => self.take_id(world, at),
            Step::Refused => {
                world.faults -= u8::from(is_hasty);
                self.take_id(world, at);
            }
            Step::ReadMarker if finding != Finding::Absent => {
                world.is_told_behind |= !is_over && finding != Finding::Published;
                self.published(world, at);
            }
            Step::ReadMarker if self.keeps(Rule::ReadAfterInit) => lane.step = Step::Commit,
            Step::ReadMarker => lane.step = Step::Init,
            Step::Commit if answer == Answer::Silence => {
                lane.step = if self.keeps(Rule::LookAgain) { self.first_step() } else { Step::SendAgain };
                world.faults -= 1;
                world.late_commits.push(chunk);
            }
            Step::Commit if lane.is_fenced => lane.step = Step::Refused,
            Step::Commit => {
                world.topic.push(chunk);
                self.published(world, at);
            }
            Step::SendAgain => {
                self.take_id(world, at);
                if let Some(lane) = world.lane(at) {
                    lane.step = Step::Commit;
                }
            }
        }
    }

    /// `init_transactions`: from now on the commit of whoever had the id is refused.
    fn take_id(&self, world: &mut World, at: At) {
        if self.keeps(Rule::Fence) {
            world.fence();
        }
        let Some(lane) = world.lane(at) else { return };
        lane.is_fenced = false;
        let reads = self.keeps(Rule::Marker) && self.keeps(Rule::ReadAfterInit);
        lane.step = if reads { Step::ReadMarker } else { Step::Commit };
    }

    /// The first chunk of a lane is there; of the last one of an epoch its coordinator hears.
    fn published(&self, world: &mut World, at: At) {
        let Some(lane) = world.lane(at) else { return };
        (lane.step, lane.is_fenced) = (self.first_step(), false);
        let Some(Waiting { owner: epoch, .. }) = lane.chunks.pop_front() else { return };
        let (is_idle, is_last) = (lane.is_idle(), lane.chunks.iter().all(|waits| waits.owner != epoch));
        match at {
            At::Coordinator(index) if is_idle => {
                if let Some(owning) = world.coordinators[index].owning_mut() {
                    owning.settled();
                }
            }
            At::Worker(index) if is_last => {
                if let Some(owning) = world.owner_of(index) {
                    owning.published(epoch);
                }
            }
            _ => {}
        }
    }
}
