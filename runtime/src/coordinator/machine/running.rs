//! What the machine knows of a job that runs: which checkpoint is how far, and what comes next.

use std::collections::BTreeSet;

use super::regions::Restarting;
use crate::{
    checkpoint::record::Trigger,
    coordinator::{event::Effect, tracker::InFlight},
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
    pub(super) in_flight: Option<InFlight>,
    /// All acknowledged; its manifest is being written.
    pub(super) writing: Option<InFlight>,
    /// Being owned: the log may have it, so it can't be given up.
    pub(super) owning: Option<InFlight>,
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
    pub(super) fn new(regions: Regions, sources: usize, next_trigger: u64) -> Self {
        Self {
            regions,
            restarting: None,
            sources,
            exhausted: BTreeSet::new(),
            in_flight: None,
            writing: None,
            owning: None,
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

    /// When the checkpoint has waited long enough for its barriers to align.
    pub(super) fn overtake(&mut self, now: u64) -> Vec<Effect> {
        let Some(in_flight) = &mut self.in_flight else { return Vec::new() };
        let epoch = in_flight.epoch;
        let is_due = in_flight.overtake_at.take_if(|at| *at <= now).is_some();
        if is_due { vec![Effect::Overtake { epoch }] } else { Vec::new() }
    }

    pub(super) fn is_stopping(&self) -> bool {
        let ends = |trigger: Trigger| trigger.is_last() && trigger != Trigger::Rescale;
        let last = |checkpoint: &Option<InFlight>| checkpoint.as_ref().is_some_and(|c| ends(c.trigger));
        self.ending.is_some() || last(&self.in_flight) || last(&self.writing) || last(&self.owning)
    }

    /// Everybody has acknowledged; the checkpoint is being written and owned.
    pub(super) fn is_finishing(&self) -> bool {
        self.writing.is_some() || self.owning.is_some()
    }

    /// A savepoint that was asked for before is not left half done.
    pub(super) fn can_rescale(&self) -> bool {
        self.rescale && self.savepoint.is_none()
    }

    /// Every source has read all there is.
    pub(super) fn is_exhausted(&self) -> bool {
        self.exhausted.len() == self.sources
    }
}
