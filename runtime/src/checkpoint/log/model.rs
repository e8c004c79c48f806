//! Every state that a small world of the protocol can reach, visited by stateright.
//!
//! Two coordinators want one job, and two workers publish for them into one Kafka topic. What they decide they decide by
//! the functions that the runtime decides by: [`super::claim`], [`super::summarize`], [`super::read_next`],
//! [`super::is_ours`], [`Pending`](crate::checkpoint::pending::Pending) and the marks of the Kafka sink. The model adds
//! what lies between: a store, a broker, and everything that can come between two steps. In each state the [`properties`]
//! are checked; and for each of the [`rules`] there is a run without it, which must find the damage that it prevents.
//!
//! # What a step is
//!
//! One request that others can see the effect of, with what its sender does when it hears the answer. Finer steps would
//! show nothing new:
//!
//! - *A look at the log* is several requests. Records never change and a log only grows, so together they see the log as
//!   it was when its end was listed. That the owner is asked in between is no step of its own: who is gone stays gone,
//!   and to take a healthy owner for gone is a fault that may happen at any look.
//! - *Rows and marker of a transaction* are seen by nobody before the commit.
//! - *A message* to a coordinator or worker that arrives late, or not at all, does what one does that is slow, or killed.
//! - *A `init_transactions` without an answer* does what one does whose sender is slow from then on.
//!
//! Whoever knows something may act on it at any later time: a process that was stopped for an hour needs no step.
//!
//! # Faults
//!
//! - a coordinator or a worker dies, with nothing on its way, or with what it would send next (a coordinator that gives up
//!   after creates without an answer does what one does that dies);
//! - a create or a commit gets no answer, and is tried again;
//! - a healthy owner is taken for gone, and goes on in the belief that it owns the job;
//! - a publisher whose commit was refused takes its id back before the other is through. (Two that do so in turns might
//!   go on for ever; that ends by pauses, which the model does not have.)
//!
//! What was sent without an answer arrives at any later time or never, also after its sender died. A run has only so many
//! faults: so the world is finite, and comes to a rest where nobody fails any more and everything must be published.

mod claiming;
mod coordinator;
mod entry;
mod owning;
mod properties;
mod publisher;
mod rules;
mod tests;
mod worker;
mod world;

use stateright::{Model, Property};

use self::{
    coordinator::{Coordinator, Look, Sending},
    entry::{Name, Place},
    owning::Append,
    rules::Rule,
    world::{Answer, At, World},
};

/// The protocol; with one rule less where a test wants to see what that one is for.
struct Protocol {
    without: Option<Rule>,
    bounds: Bounds,
}

/// What makes the world small.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// How many faults may happen, of whatever kind.
    faults: u8,
    /// How many epochs the job has.
    epochs: u64,
    /// How many chunks, one transaction each, an epoch has.
    chunks: u32,
    /// How many checkpoints may be under way at a time.
    at_once: u8,
    /// How many may come to nothing, though nobody fails.
    give_ups: u8,
    notes: Notes,
}

/// How it is noted that an epoch is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Notes {
    OfAll,
    /// As of one sink among several, of which another is down.
    OfSinks,
}

/// What can happen next. Coordinators go by their index, in the order in which they first wrote; so they may change it.
#[derive(Debug, Clone, PartialEq)]
enum Act {
    /// A coordinator reads the log and decides.
    Look { coordinator: usize, look: Look },
    /// It creates the record that it decided on.
    Claim { coordinator: usize, answer: Answer },
    /// An owner cuts the next epoch, and writes its manifest if the one before is decided.
    Cut { coordinator: usize },
    /// It gives the oldest undecided checkpoint up.
    GiveUp { coordinator: usize },
    /// It appends to its attempt.
    Append { coordinator: usize, append: Append, answer: Answer },
    /// It finds that its worker is gone.
    MissWorker { coordinator: usize },
    /// It finds that its attempt has ended.
    FindSealed { coordinator: usize },
    /// It dies, and is there again, knowing nothing.
    Crash { coordinator: usize, sending: Sending },
    /// The next step of publishing.
    Publish { at: At, answer: Answer },
    /// A worker dies, with a commit on its way or without.
    Kill { worker: usize, sending: bool },
    /// A create arrives that its sender got no answer to.
    Late { place: Place, author: Name },
    /// A commit arrives that its sender got no answer to.
    LateCommit { index: usize },
}

impl Protocol {
    fn keeps(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.bounds)]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        for coordinator in 0..world.coordinators.len() {
            self.coordinator_acts(world, coordinator, acts);
        }
        for worker in 0..world.workers.len() {
            Self::worker_acts(world, worker, acts);
        }
        acts.extend(world.late.keys().map(|&(place, author)| Act::Late { place, author }));
        acts.extend((0..world.late_commits.len()).map(|index| Act::LateCommit { index }));
    }

    fn next_state(&self, world: &World, act: Act) -> Option<World> {
        let mut world = world.clone();
        match act {
            Act::Look { coordinator, look } => self.look(&mut world, coordinator, look),
            Act::Claim { coordinator, answer } => self.claim(&mut world, coordinator, answer),
            Act::Cut { coordinator } => self.cut(&mut world, coordinator),
            Act::GiveUp { coordinator } => self.give_up(&mut world, coordinator),
            Act::Append { coordinator, append, answer } => self.append(&mut world, coordinator, append, answer),
            Act::MissWorker { coordinator } | Act::FindSealed { coordinator } => {
                world.coordinators[coordinator] = Coordinator::Idle;
            }
            Act::Crash { coordinator, sending } => Self::crash(&mut world, coordinator, sending),
            Act::Publish { at, answer } => self.publish(&mut world, at, answer),
            Act::Kill { worker, sending } => Self::kill(&mut world, worker, sending),
            Act::Late { place, author } => world.arrive(&(place, author)),
            Act::LateCommit { index } => world.arrive_commit(index),
        }
        world.forget();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
