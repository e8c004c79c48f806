//! The processes that publish for an attempt, one at a time for each; two attempts may have theirs at once.

use super::{
    Act, Protocol,
    entry::Entry,
    publisher::Lane,
    world::{At, World},
};
use crate::ids::Attempt;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Worker {
    /// Id of the record that its attempt began with.
    pub attempt: String,
    pub lane: Lane,
}

impl Worker {
    /// The one that publishes for an attempt.
    pub fn index(attempt: Attempt) -> usize {
        usize::from(attempt.0.is_multiple_of(2))
    }
}

impl Protocol {
    pub fn worker_acts(world: &World, index: usize, acts: &mut Vec<Act>) {
        let Some(worker) = &world.workers[index] else { return };
        Self::publish_acts(world, At::Worker(index), &worker.lane, acts);
        if world.faults > 0 {
            acts.push(Act::Kill { worker: index, sending: false });
            acts.extend(worker.lane.commit().map(|_| Act::Kill { worker: index, sending: true }));
        }
    }

    /// An epoch is owned: its chunks go to the attempt's worker, which puts them behind what it has.
    pub fn hand_out(&self, world: &mut World, coordinator: usize, entry: &Entry) {
        let Some(owning) = world.coordinators[coordinator].owning() else { return };
        let worker = &mut world.workers[Worker::index(owning.attempt)];
        let Some(worker) = worker.as_mut().filter(|worker| worker.attempt == owning.started) else { return };
        if let Some(checkpoint) = entry.checkpoint() {
            worker.lane.add(self, checkpoint.epoch, entry.own_chunks());
        }
    }

    /// Gives an attempt that has settled its worker. What that one did before it drops; what it has sent may still
    /// arrive.
    pub fn deploy(&self, world: &mut World, coordinator: usize) {
        let Some(owning) = world.coordinators[coordinator].owning().filter(|owning| owning.settling.is_none()) else {
            return;
        };
        let worker = Worker { attempt: owning.started.clone(), lane: Lane::new(self) };
        let before = world.workers[Worker::index(owning.attempt)].replace(worker);
        world.late_commits.extend(before.iter().filter_map(|before| before.lane.commit().cloned()));
    }

    /// `sending`: a commit is on its way.
    pub fn kill(world: &mut World, worker: usize, sending: bool) {
        world.faults -= 1;
        let killed = world.workers[worker].take().filter(|_| sending);
        world.late_commits.extend(killed.iter().filter_map(|killed| killed.lane.commit().cloned()));
    }
}
