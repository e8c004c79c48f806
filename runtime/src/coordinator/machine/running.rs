//! What the machine knows of a job that runs: which checkpoints are how far, and what comes next.
//!
//! Several may be under way, each with its own acknowledgements and its own time. They complete in the order of their epochs:
//! one that everybody has acknowledged waits until the one before is owned or given up, since what it has to publish depends
//! on which. A last checkpoint, and one that becomes a savepoint, is under way alone.

use std::collections::{BTreeSet, VecDeque};

use super::regions::Restarting;
use crate::{
    checkpoint::record::Trigger,
    coordinator::{
        event::{Effect, Last},
        tracker::InFlight,
    },
    ids::Epoch,
    worker::{protocol::TaskId, regions::Regions},
};

#[derive(Debug)]
pub(super) struct Running {
    pub(super) regions: Regions,
    /// Some of them restart.
    pub(super) restarting: Option<Restarting>,
    pub(super) sources: usize,
    pub(super) exhausted: BTreeSet<TaskId>,
    /// Not acknowledged by everybody, or waiting for one that is not; the oldest first.
    pub(super) in_flight: VecDeque<InFlight>,
    /// All acknowledged; its manifest is being written.
    pub(super) writing: Option<InFlight>,
    /// Being owned: the log may have it, so it can't be given up.
    pub(super) owning: Option<InFlight>,
    /// How many checkpoints may be under way at a time.
    at_once: usize,
    pub(super) next_trigger: u64,
    /// A checkpoint was asked for, and has not begun.
    pub(super) asked: bool,
    pub(super) savepoint: Option<Savepoint>,
    /// The next checkpoint is the last one with this parallelism.
    pub(super) rescale: bool,
    pub(super) failures_in_row: u32,
    pub(super) pending: BTreeSet<Epoch>,
    pub(super) paused: bool,
    /// The last checkpoint is owned; sinks catch up until then.
    pub(super) ending: Option<Ending>,
}

/// How far a savepoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Savepoint {
    /// Its checkpoint has not begun.
    Asked,
    /// Its checkpoint is under way, or waits to be published.
    Begun(Epoch),
    /// Its checkpoint is being copied.
    Copying,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    pub(super) epoch: Epoch,
    pub(super) finished: bool,
    /// All output is published, and the log says so.
    pub(super) recorded: bool,
    pub(super) give_up_at: u64,
}

impl Running {
    pub(super) fn new(regions: Regions, sources: usize, next_trigger: u64, at_once: u32) -> Self {
        Self {
            regions,
            restarting: None,
            sources,
            exhausted: BTreeSet::new(),
            in_flight: VecDeque::new(),
            writing: None,
            owning: None,
            at_once: at_once as usize,
            next_trigger,
            asked: false,
            savepoint: None,
            rescale: false,
            failures_in_row: 0,
            pending: BTreeSet::new(),
            paused: false,
            ending: None,
        }
    }

    pub(super) fn acknowledge(&mut self, epoch: Epoch, task: TaskId) {
        if let Some(checkpoint) = self.in_flight.iter_mut().find(|checkpoint| checkpoint.epoch == epoch) {
            checkpoint.ack(task);
        }
    }

    /// Has the oldest checkpoint written, if everybody has acknowledged it and none before it is still to be owned.
    pub(super) fn advance(&mut self) -> Vec<Effect> {
        if !self.is_finishing() && self.in_flight.front().is_some_and(InFlight::is_acknowledged) {
            self.writing = self.in_flight.pop_front();
            return self.writing.iter().map(|writing| Effect::Write { epoch: writing.epoch }).collect();
        }
        Vec::new()
    }

    /// Takes a checkpoint out that is to be given up; none where the log may have it.
    pub(super) fn give_up(&mut self, epoch: Epoch) -> Option<InFlight> {
        let index = self.in_flight.iter().position(|checkpoint| checkpoint.epoch == epoch);
        let in_flight = index.and_then(|index| self.in_flight.remove(index));
        in_flight.or_else(|| self.writing.take_if(|writing| writing.epoch == epoch))
    }

    /// Those that somebody is missing for. Where nobody is, a checkpoint just waits for its turn.
    fn unacknowledged(&self) -> impl Iterator<Item = &InFlight> {
        self.in_flight.iter().filter(|checkpoint| !checkpoint.is_acknowledged())
    }

    /// The oldest checkpoint that takes longer than `timeout`.
    pub(super) fn overdue(&self, now: u64, timeout: u64) -> Option<Epoch> {
        let overdue = |checkpoint: &&InFlight| now.saturating_sub(checkpoint.started_at) >= timeout;
        self.unacknowledged().find(overdue).map(|checkpoint| checkpoint.epoch)
    }

    /// When a checkpoint has waited long enough for its barriers to align.
    pub(super) fn overtake(&mut self, now: u64) -> Vec<Effect> {
        let waiting = self.in_flight.iter_mut().filter(|checkpoint| !checkpoint.is_acknowledged());
        let mut due = waiting.filter_map(|checkpoint| {
            checkpoint.overtake_at.take_if(|at| *at <= now).map(|_| Effect::Overtake { epoch: checkpoint.epoch })
        });
        due.next().into_iter().collect()
    }

    /// How many checkpoints are under way.
    pub(super) fn under_way(&self) -> usize {
        self.triggers().count()
    }

    fn triggers(&self) -> impl Iterator<Item = Trigger> {
        let finishing = self.writing.iter().chain(&self.owning);
        self.in_flight.iter().chain(finishing).map(|checkpoint| checkpoint.trigger)
    }

    /// Which checkpoint begins next, and when; none before another event.
    pub(super) fn next(&self, stop: Option<Last>) -> Option<(Trigger, u64)> {
        let alone = match stop {
            Some(Last { drain: true, .. }) => Some(Trigger::Drain),
            Some(_) => Some(Trigger::Stop),
            None if self.is_exhausted() => Some(Trigger::Finish),
            None if self.savepoint == Some(Savepoint::Asked) && !self.paused => Some(Trigger::Savepoint),
            None if self.can_rescale() => Some(Trigger::Rescale),
            None => None,
        };
        if let Some(trigger) = alone {
            return (self.under_way() == 0).then_some((trigger, 0));
        }
        let is_alone = |trigger: Trigger| trigger.is_last() || trigger == Trigger::Savepoint;
        if self.paused || self.under_way() >= self.at_once || self.triggers().any(is_alone) {
            return None;
        }
        Some((Trigger::Interval, if self.asked { 0 } else { self.next_trigger }))
    }

    /// When time asks for something.
    pub(super) fn wake_at(&self, timeout: u64, stop: Option<Last>) -> Option<u64> {
        let late = self.unacknowledged().map(|checkpoint| {
            let given_up_at = checkpoint.started_at.saturating_add(timeout);
            checkpoint.overtake_at.map_or(given_up_at, |at| at.min(given_up_at))
        });
        late.chain(self.next(stop).map(|(_, at)| at)).min()
    }

    pub(super) fn is_stopping(&self) -> bool {
        let ends = |trigger: Trigger| trigger.is_last() && trigger != Trigger::Rescale;
        self.ending.is_some() || self.triggers().any(ends)
    }

    /// Everybody has acknowledged the oldest checkpoint; it is being written and owned.
    pub(super) fn is_finishing(&self) -> bool {
        self.writing.is_some() || self.owning.is_some()
    }

    /// A savepoint that was asked for before is not left half done.
    pub(super) fn can_rescale(&self) -> bool {
        self.rescale && self.savepoint.is_none()
    }

    /// No checkpoint begins any more that a savepoint could be made of.
    pub(super) fn drop_savepoint(&mut self) -> Option<Effect> {
        self.savepoint.take_if(|savepoint| *savepoint == Savepoint::Asked)?;
        let cause = "it was asked for when the last checkpoint of the job had begun".to_owned();
        Some(Effect::SavepointFailed { cause })
    }

    /// Every source has read all there is.
    pub(super) fn is_exhausted(&self) -> bool {
        self.exhausted.len() == self.sources
    }
}
