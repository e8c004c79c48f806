//! Restarting some regions while the others go on.
//!
//! ```text
//! Ending -> Gone -> Building -> (all run)
//! ```
//!
//! A region that failed goes back to the newest checkpoint; the others do not, and the next checkpoint has them where they
//! are by then. So nothing may be half done in between: a checkpoint that is under way is given up, since the failed region
//! can have no part in it, and one that the log may have is waited for, since it would be the newest. Until the regions run
//! again no checkpoint begins.
//!
//! Everything restarts, under a new attempt, when that is simpler and costs little more: all regions have failed, the job
//! takes its last checkpoint or a savepoint's, or something fails while the regions are being built. What fails before that
//! joins them: one hiccup of a system fails many tasks, and is one failure.

use std::collections::BTreeSet;

use tidegate_crds::api::Failure;

use super::{
    AfterAbort, FIRST_AFTER_RESTORE_MS, Machine, State,
    running::{Running, Savepoint},
};
use crate::{
    coordinator::{event::Effect, tracker::InFlight},
    ids::RegionId,
};

#[derive(Debug)]
pub(super) struct Restarting {
    regions: BTreeSet<RegionId>,
    /// Not before then, in milliseconds.
    at: u64,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Their subtasks are being ended.
    Ending,
    /// Their subtasks are gone.
    Gone,
    /// They are deployed again, and do not run yet.
    Building,
}

impl Machine {
    pub(super) fn fail_regions(
        &mut self,
        regions: BTreeSet<RegionId>,
        failure: Failure,
        now: u64,
        jitter: f64,
    ) -> Vec<Effect> {
        let State::Running(running) = &mut self.state else { return Vec::new() };
        if running.restarting.as_ref().is_some_and(|restarting| restarting.step != Step::Building) {
            return self.join(regions, failure);
        }
        if self.stop.is_some() || !running.can_restart_alone(&regions) {
            return self.fail(failure, now, jitter);
        }
        let failure = self.note(failure, now);
        let Some(at) = self.next_try(now, jitter) else { return self.give_up(failure) };
        self.region_restarts += 1;
        match &mut self.state {
            State::Running(running) => running.restart(regions, at, failure),
            _ => Vec::new(),
        }
    }

    /// More regions go back with those that wait to.
    fn join(&mut self, regions: BTreeSet<RegionId>, failure: Failure) -> Vec<Effect> {
        let State::Running(running) = &mut self.state else { return Vec::new() };
        let Some(restarting) = &mut running.restarting else { return Vec::new() };
        restarting.regions.extend(&regions);
        if restarting.regions.len() >= running.regions.count() {
            let at = restarting.at;
            return self.abort_for(Some(failure), AfterAbort::Restart { at });
        }
        restarting.step = Step::Ending;
        running.forget_exhausted(&regions);
        vec![Effect::EndRegions { regions, failure }]
    }

    /// When [`super::Event::Tick`] is wanted next, while regions restart.
    pub(super) fn wakes_regions_at(&self) -> Option<u64> {
        let State::Running(Running { restarting: Some(restarting), owning: None, .. }) = &self.state else {
            return None;
        };
        (restarting.step == Step::Gone).then_some(restarting.at)
    }
}

impl Running {
    fn can_restart_alone(&self, regions: &BTreeSet<RegionId>) -> bool {
        let under_way = || self.in_flight.iter().chain(&self.writing);
        let is_last = |checkpoint: &InFlight| checkpoint.trigger.is_last();
        let is_saved = |checkpoint: &InFlight| self.savepoint == Some(Savepoint::Begun(checkpoint.epoch));
        regions.len() < self.regions.count()
            && self.restarting.is_none()
            && self.ending.is_none()
            && !under_way().chain(&self.owning).any(is_last)
            && !under_way().any(is_saved)
    }

    fn restart(&mut self, regions: BTreeSet<RegionId>, at: u64, failure: Failure) -> Vec<Effect> {
        let cause = format!("some tasks restart: {}", failure.message);
        let given_up = self.writing.take().into_iter().chain(self.in_flight.drain(..));
        let discard = |InFlight { epoch, started_at, .. }| Effect::Discard { epoch, cause: cause.clone(), started_at };
        let mut effects: Vec<Effect> = given_up.map(discard).collect();
        self.forget_exhausted(&regions);
        self.restarting = Some(Restarting { regions: regions.clone(), at, step: Step::Ending });
        effects.push(Effect::EndRegions { regions, failure });
        effects
    }

    /// They will say so again.
    fn forget_exhausted(&mut self, regions: &BTreeSet<RegionId>) {
        let goes_on = |region: Option<RegionId>| region.is_none_or(|region| !regions.contains(&region));
        self.exhausted.retain(|task| goes_on(self.regions.region(*task)));
    }

    pub(super) fn regions_ended(&mut self, now: u64) -> Vec<Effect> {
        if let Some(restarting) = self.restarting.as_mut().filter(|restarting| restarting.step == Step::Ending) {
            restarting.step = Step::Gone;
        }
        self.start_regions(now)
    }

    /// Deploys what is to restart when there is nothing left to wait for.
    pub(super) fn start_regions(&mut self, now: u64) -> Vec<Effect> {
        let is_due = |restarting: &&mut Restarting| restarting.step == Step::Gone && restarting.at <= now;
        let Some(restarting) = self.restarting.as_mut().filter(is_due) else { return Vec::new() };
        if self.owning.is_some() {
            return Vec::new();
        }
        restarting.step = Step::Building;
        vec![Effect::StartRegions { regions: restarting.regions.clone() }]
    }

    pub(super) fn regions_started(&mut self, now: u64, interval: u64) -> Vec<Effect> {
        if self.restarting.take_if(|restarting| restarting.step == Step::Building).is_none() {
            return Vec::new();
        }
        self.next_trigger = now + interval.min(FIRST_AFTER_RESTORE_MS);
        // Their sources have not heard.
        if self.paused { vec![Effect::Pause] } else { Vec::new() }
    }
}
