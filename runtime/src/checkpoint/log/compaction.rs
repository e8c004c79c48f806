//! Every state that a small log can reach of which the beginning is deleted, visited by stateright.
//!
//! [`super::model`] takes a look at the log as one step, and deletes nothing. Here is why it may: coordinators read with
//! [`super::reading::read`], and each of its requests is a step; between any two others append, seal, begin, die, and
//! delete whatever may go, in any order. What was sent without an answer arrives at any later time or never, also in the
//! place of what was deleted. Hints are as old as they like. What is published is left out: who takes an epoch for owned
//! is believed to have published it.
//!
//! A ghost keeps the first record of each name, as if nothing were ever deleted. What the rules of RFC 0001 say of a log
//! must hold of that one; and for each of the [`rules`] of RFC 0014 there is a run without it, which must find the damage.
//! Segments and blocks of two, where the runtime has 1,024: what matters is what lies in one, in two, and behind that.

mod coordinator;
mod properties;
mod rules;
mod tests;
mod world;

use stateright::{Model, Property};

use self::{
    coordinator::Coordinator,
    rules::Rule,
    world::{Entry, World},
};
use super::segments::{Place, Spans};
use crate::ids::Seq;

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
    /// How many reads of the log take their steps one by one. Who reads writes nothing, so two at a time show nothing new.
    slow: u8,
    /// Whether a slow read may begin at a hint, the oldest or the newest; else it has none.
    any_hint: bool,
    /// How many records owners write that are no checkpoints.
    notes: u8,
    spans: Spans,
}

/// What can happen next.
#[derive(Debug, Clone, PartialEq)]
enum Act {
    /// A coordinator reads the log, all at one moment. `mistaken`: it takes a healthy owner for gone.
    ReadAll { coordinator: usize, mistaken: bool },
    /// It begins to read, slowly.
    Read { coordinator: usize, hint: Option<Place> },
    /// It hears one answer, and decides if that was the last.
    Hear { coordinator: usize, mistaken: bool },
    /// It creates the record that it decided on, or the next one of its attempt. `silent`: and hears nothing.
    Create { coordinator: usize, silent: bool },
    /// It writes a record that is no checkpoint.
    Note { coordinator: usize },
    /// It looks whether what it has created counts.
    Look { coordinator: usize },
    /// It deletes a record that may go.
    Delete { coordinator: usize, place: Place },
    /// It dies, and is there again, knowing nothing. `sending`: with its create on its way.
    Crash { coordinator: usize, sending: bool },
    /// A create arrives that its sender got no answer to.
    Late { index: usize },
}

impl Protocol {
    fn keeps(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    /// All that may be deleted by one whose attempt is `newest`.
    fn deletable<'a>(
        &'a self,
        world: &'a World,
        newest: Place,
        checkpoint: Option<Seq>,
    ) -> impl Iterator<Item = Place> + 'a {
        let (spans, (attempt, last)) = (self.bounds.spans, newest);
        let below = if self.keeps(Rule::KeepCheckpoint) { checkpoint } else { checkpoint.map(|_| last) };
        let below = if self.keeps(Rule::SecondHead) {
            spans.deletable_below(last, below)
        } else {
            Seq(below.map_or(0, |below| below.0.min(last.0 / spans.segment * spans.segment)))
        };
        let attempts_below = if self.keeps(Rule::SecondBlock) {
            spans.deletable_attempts_below(attempt).0
        } else {
            attempt.0 / spans.block * spans.block
        };
        let is_kept_head = move |seq: Seq| seq == Seq(0) || spans.is_head(seq) && self.keeps(Rule::KeepHeads);
        let is_kept_block =
            move |(attempt, seq): Place| seq == Seq(0) && spans.heads_block(attempt) && self.keeps(Rule::KeepBlocks);
        world.store.keys().copied().filter(move |place| {
            let is_own = place.0 == attempt && place.1 < below && !is_kept_head(place.1);
            is_own || place.0.0 < attempts_below && !is_kept_block(*place)
        })
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
        acts.extend((0..world.late.len()).map(|index| Act::Late { index }));
    }

    fn next_state(&self, world: &World, act: Act) -> Option<World> {
        let mut world = world.clone();
        match act {
            Act::ReadAll { coordinator, mistaken } => self.read_all(&mut world, coordinator, mistaken),
            Act::Read { coordinator, hint } => {
                world.slow -= 1;
                world.coordinators[coordinator] = Coordinator::reading(hint);
            }
            Act::Hear { coordinator, mistaken } => self.hear(&mut world, coordinator, mistaken),
            Act::Create { coordinator, silent } => self.create(&mut world, coordinator, silent),
            Act::Note { coordinator } => Self::note(&mut world, coordinator),
            Act::Look { coordinator } => self.look(&mut world, coordinator),
            Act::Delete { place, .. } => drop(world.store.remove(&place)),
            Act::Crash { coordinator, sending } => {
                world.faults -= 1;
                if sending {
                    world.send_late(coordinator);
                }
                world.coordinators[coordinator] = Coordinator::Idle;
            }
            Act::Late { index } => {
                let (place, entry) = world.late.remove(index);
                world.create(place, &entry);
            }
        }
        world.forget();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
