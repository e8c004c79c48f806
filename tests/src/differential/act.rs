//! What is done to a job while it runs: kills, failures, requests, and other versions of it.

use super::{case::Setting, change::Change, choose::Draw};
use crate::{
    chance::Chance,
    sim::{Micros, Moment},
};

#[derive(Debug, Clone)]
pub struct Act {
    /// In virtual time.
    pub at: Micros,
    pub deed: Deed,
}

#[derive(Debug, Clone)]
pub enum Deed {
    /// The process dies after some more polls of its tasks, and is started again.
    Kill {
        polls: u64,
        back_after: Micros,
    },
    /// The process dies shortly after something has become durable.
    Ambush {
        upon: Moment,
        after: Micros,
        polls: u64,
    },
    /// A subtask fails, and its process goes on.
    Fail {
        draw: u64,
    },
    Rescale {
        parallelism: u32,
    },
    Checkpoint,
    /// Another version takes over.
    Change {
        changes: Vec<Change>,
        by: By,
        draw: u64,
    },
}

/// How one version ends and the next begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The old one is asked to stop, takes a last checkpoint and ends; then the new one begins.
    Stop,
    /// The old one is killed; the new one goes on from its newest checkpoint.
    Kill,
    /// The new one is started beside the old one, and asks it for the job.
    HandOver,
    /// The new one is of another job, which begins with a copy; the old one is given up when the new one reads.
    Copy(Original),
}

/// What another job begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Original {
    /// A savepoint.
    Savepoint {
        /// The old job ends with it; otherwise it runs on.
        ends: bool,
        /// The new job deletes it.
        claims: bool,
    },
    /// The newest checkpoint of a job that runs on.
    OfRunning,
    /// That of one that has stopped.
    OfStopped,
    /// That of one that was killed.
    OfKilled,
}

impl Original {
    fn draw(chance: &mut Chance, setting: &Setting) -> Self {
        // Of these, only a savepoint never has rows in flight.
        if setting.alignment_timeout_ms.is_some() || chance.happens(500) {
            return Self::Savepoint { ends: chance.happens(400), claims: chance.happens(500) };
        }
        chance.one_of(&[Self::OfRunning, Self::OfStopped, Self::OfKilled])
    }
}

pub fn acts(chance: &mut Chance, setting: &Setting) -> Vec<Act> {
    let mut acts = Vec::new();
    let mut add = |chance: &mut Chance, deed| acts.push(Act { at: chance.within(200_000..setting.lasts), deed });
    for _ in 0..chance.one_of(&[0, 1, 1, 1, 2]) {
        let changes = (0..chance.one_of(&[1, 1, 2, 3])).map(|_| Change::draw(chance)).collect();
        // Rows in flight have been read by one version, and are worked off by the next: which of them an aggregate that
        // was added counts is nobody's promise.
        let choices: &[By] = if setting.alignment_timeout_ms.is_some() {
            &[By::Stop, By::HandOver]
        } else {
            &[By::Stop, By::Stop, By::Kill, By::HandOver]
        };
        let copies = chance.happens(400);
        let by = if copies { By::Copy(Original::draw(chance, setting)) } else { *chance.pick(choices) };
        let deed = Deed::Change { changes, by, draw: chance.draw() };
        add(chance, deed);
    }
    for _ in 0..chance.one_of(&[0, 0, 1, 2]) {
        let deed = if chance.happens(500) {
            Deed::Kill { polls: chance.within(0..60), back_after: chance.within(1000..1_500_000) }
        } else {
            let upon = chance.one_of(&[Moment::Owned, Moment::Published, Moment::ManifestWritten, Moment::Committed]);
            Deed::Ambush { upon, after: chance.within(0..20_000), polls: chance.within(0..30) }
        };
        add(chance, deed);
    }
    for _ in 0..chance.one_of(&[0, 0, 0, 1]) {
        let deed = Deed::Fail { draw: chance.draw() };
        add(chance, deed);
    }
    for _ in 0..chance.one_of(&[0, 0, 1]) {
        let deed = Deed::Rescale { parallelism: chance.within(1..5) as u32 };
        add(chance, deed);
    }
    if chance.happens(200) {
        add(chance, Deed::Checkpoint);
    }
    acts.sort_by_key(|act| act.at);
    acts
}
