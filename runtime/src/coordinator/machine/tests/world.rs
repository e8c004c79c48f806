//! A world that carries out what the machine asks for, and holds it to the rules.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tidegate_crds::{FixedDelay, HumanDuration, RestartSpec};

use super::{
    super::{super::event as stop, *},
    ALIGNMENT_MS, FAR, Happening, RESTART_PAUSE_MS, SOURCES, SUBTASKS, failure, regions, spec, task,
};
use crate::{ids::RegionId, worker::protocol::TaskId};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    New,
    Claiming,
    Recovering,
    Running,
    Aborting,
    /// Between two attempts.
    Down,
    Releasing,
    Done,
}

/// What was said and heard of a checkpoint that is under way.
#[derive(Debug)]
struct Checkpoint {
    trigger: Trigger,
    started_at: u64,
    acked: BTreeSet<TaskId>,
    written: bool,
    ordered: bool,
    owned: bool,
    overtaken_at: Option<u64>,
}

/// The last barrier of an attempt.
#[derive(Debug)]
struct LastBarrier {
    trigger: Trigger,
    owned_at: Option<u64>,
}

/// Regions that restart while the others go on.
#[derive(Debug)]
pub(super) struct RegionRestart {
    pub(super) regions: BTreeSet<RegionId>,
    failed_at: u64,
    /// They are being built.
    deployed: bool,
}

/// The savepoint that is in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Saving {
    Asked,
    Begun(Epoch),
    Copying,
}

#[allow(clippy::struct_excessive_bools)] // facts of a world, each true or not whatever the others are
pub(super) struct World {
    pub(super) machine: Machine,
    max_pending: usize,
    at_once: usize,
    pub(super) now: u64,
    pub(super) stage: Stage,
    /// Answers under way that may come in any order.
    answers: Vec<Event>,
    /// What the log's only writer will answer, in order.
    scribe: VecDeque<Event>,
    /// Epochs that the sinks will report, in order.
    publishing: VecDeque<Epoch>,
    strays: Vec<Event>,
    /// The attempt before has left output.
    inherits_output: bool,
    /// Output that was left is being published.
    settling: bool,
    pub(super) attempts: u64,
    /// Newest epoch that the log is known to have, and what the attempt began with.
    logged: Option<Epoch>,
    pub(super) restored: Option<Epoch>,
    pub(super) triggered: Option<Epoch>,
    pub(super) last_trigger: Option<Trigger>,
    under_way: BTreeMap<Epoch, Checkpoint>,
    /// How often one began while another was under way.
    pub(super) overlaps: u64,
    last: Option<LastBarrier>,
    pub(super) exhausted: BTreeSet<usize>,
    pub(super) restarting: Option<RegionRestart>,
    /// Regions that were deployed again, from which epoch.
    pub(super) deployed: Vec<(BTreeSet<RegionId>, Option<Epoch>)>,
    /// Regions that run again and have not heard of the pause.
    untold: BTreeSet<RegionId>,
    unpublished: BTreeSet<Epoch>,
    unrecorded: BTreeSet<Epoch>,
    paused: bool,
    pub(super) saving: Option<Saving>,
    /// Savepoints that are complete.
    pub(super) saved: u64,
    /// The attempt that was asked to go on with another parallelism.
    rescales: Option<u64>,
    /// The attempt before this one, if that has ended with a rescale's checkpoint.
    rescaled_from: Option<u64>,
    stopped_at: Option<u64>,
    /// Since when the sinks are not waited for without limit.
    hurried_at: Option<u64>,
    drains: bool,
    /// Tasks that ran were ended without a last checkpoint.
    cut_short: bool,
    aborted_at: Option<u64>,
    pub(super) released: Option<bool>,
}

impl World {
    /// With one checkpoint at a time.
    pub(super) fn new(max_pending_epochs: u32) -> Self {
        Self::with(spec(max_pending_epochs, 1))
    }

    pub(super) fn with(spec: CheckpointSpec) -> Self {
        let delay = FixedDelay { attempts: 3, delay: HumanDuration::from_secs(1) };
        let restart = RestartSpec { fixed_delay: Some(delay), ..RestartSpec::default() };
        Self {
            max_pending: spec.max_pending_epochs as usize,
            at_once: spec.at_once() as usize,
            machine: Machine::new(spec, &restart),
            now: 10_000,
            stage: Stage::New,
            answers: Vec::new(),
            scribe: VecDeque::new(),
            publishing: VecDeque::new(),
            strays: Vec::new(),
            inherits_output: false,
            settling: false,
            attempts: 0,
            logged: None,
            restored: None,
            triggered: None,
            last_trigger: None,
            under_way: BTreeMap::new(),
            overlaps: 0,
            last: None,
            exhausted: BTreeSet::new(),
            restarting: None,
            deployed: Vec::new(),
            untold: BTreeSet::new(),
            unpublished: BTreeSet::new(),
            unrecorded: BTreeSet::new(),
            paused: false,
            saving: None,
            saved: 0,
            rescales: None,
            rescaled_from: None,
            stopped_at: None,
            hurried_at: None,
            drains: false,
            cut_short: false,
            aborted_at: None,
            released: None,
        }
    }

    pub(super) fn happens(&mut self, happening: &Happening) {
        match happening {
            Happening::Answer(index) => {
                if let Some(event) = self.answer(|count| index.index(count), true) {
                    self.deliver(event);
                }
            }
            Happening::Stray(index) if !self.strays.is_empty() => {
                let stray = index.get(&self.strays).clone();
                let effects = self.machine.step(stray.clone(), self.now, 0.0);
                assert_eq!(effects, [], "{stray:?} counted");
            }
            Happening::Decline(index) => {
                let may_fail = self.under_way.iter().filter(|(_, checkpoint)| !checkpoint.ordered);
                let may_fail: Vec<Epoch> = may_fail.map(|(epoch, _)| *epoch).collect();
                if self.stage == Stage::Running && !may_fail.is_empty() {
                    let epoch = *index.get(&may_fail);
                    self.deliver(Event::Declined { epoch, failure: failure("no room") });
                }
            }
            Happening::Wait(millis) => {
                self.now += millis;
                self.tick();
            }
            Happening::Exhaust(source) if self.stage == Stage::Running && self.runs(*source) => {
                self.exhausted.insert(*source);
                self.deliver(Event::Exhausted { task: task(*source) });
            }
            Happening::Ask => self.deliver(Event::CheckpointAsked),
            Happening::Fail => self.deliver(Event::Failed(failure("broken"))),
            Happening::FailSome(bits) => {
                let regions = (0..SUBTASKS as u32).filter(|region| bits & (1 << region) > 0).map(RegionId);
                // What does not run has nothing to fail, but its worker may be lost.
                self.deliver(Event::RegionsFailed { regions: regions.collect(), failure: failure("broken") });
            }
            Happening::Save if self.machine.phase() == Phase::Running && self.saving.is_none() => {
                self.saving = Some(Saving::Asked);
                self.deliver(Event::SavepointAsked);
            }
            Happening::Rescale if self.machine.phase() == Phase::Running => {
                self.rescales = Some(self.attempts);
                self.deliver(Event::RescaleAsked);
            }
            Happening::Stop(last) => self.stop_after(*last),
            Happening::StopAtOnce => self.stop(false),
            Happening::Stray(_) | Happening::Exhaust(_) | Happening::Save | Happening::Rescale => {}
        }
    }

    fn runs(&self, subtask: usize) -> bool {
        let region = RegionId(subtask as u32);
        self.restarting.as_ref().is_none_or(|restarting| !restarting.regions.contains(&region))
    }

    pub(super) fn stop(&mut self, final_checkpoint: bool) {
        if final_checkpoint {
            return self.stop_after(stop::Last::default());
        }
        self.stopped_at.get_or_insert(self.now);
        self.cut_short |= self.stage == Stage::Running;
        self.deliver(Event::Stop(Stop::AtOnce));
        assert!(self.stage != Stage::Running, "the tasks were to end at once");
    }

    pub(super) fn stop_after(&mut self, last: stop::Last) {
        let running = self.stage == Stage::Running;
        let is_between = match self.stage {
            Stage::Aborting => self.is_rescaled(),
            Stage::Claiming | Stage::Recovering => self.rescaled_from.is_some_and(|from| from + 1 == self.attempts),
            _ => false,
        };
        if last.drain
            && self.stopped_at.is_none()
            && !matches!(self.stage, Stage::Aborting | Stage::Releasing | Stage::Done)
        {
            let is_done_as_asked = running && self.restarting.is_none() || is_between;
            assert_eq!(self.machine.can_drain(), is_done_as_asked, "{:?}", self.stage);
        }
        self.drains |= (running || is_between) && last.drain && self.stopped_at.is_none();
        self.stopped_at.get_or_insert(self.now);
        self.cut_short |= self.restarting.is_some();
        if !last.savepoint {
            self.hurried_at.get_or_insert(self.now);
        } else if running {
            self.saving.get_or_insert(Saving::Asked);
        }
        self.deliver(Event::Stop(Stop::Checkpoint(last)));
    }

    /// A tick has an effect when, and only when, the machine wants it.
    pub(super) fn tick(&mut self) {
        let wanted = self.machine.wake_at().is_some_and(|at| at <= self.now);
        assert_eq!(self.deliver_all(Event::Tick) > 0, wanted, "wake_at is wrong");
    }

    /// One of the answers under way.
    fn answer(&mut self, choose: impl Fn(usize) -> usize, sinks_answer: bool) -> Option<Event> {
        if (sinks_answer || !self.inherits_output) && std::mem::take(&mut self.settling) {
            self.answers.push(Event::Settled);
        }
        let publishing = if sinks_answer { self.publishing.front().copied() } else { None };
        let scribe = self.scribe.front().cloned();
        let copies = self.saving == Some(Saving::Copying);
        let others = usize::from(scribe.is_some()) + usize::from(publishing.is_some()) + usize::from(copies);
        let count = self.answers.len() + others;
        if count == 0 {
            return None;
        }
        let chosen = choose(count);
        if chosen < self.answers.len() {
            return Some(self.answers.remove(chosen));
        }
        if chosen == self.answers.len() && scribe.is_some() {
            return self.scribe.pop_front();
        }
        if copies && chosen + 1 == count {
            self.saving = None;
            self.saved += 1;
            return Some(Event::SavepointEnded);
        }
        self.publishing.pop_front().map(|epoch| Event::Published { epoch })
    }

    fn deliver(&mut self, event: Event) {
        self.deliver_all(event);
    }

    /// Hands an event over, carries out what follows from it, and says how much that was.
    fn deliver_all(&mut self, event: Event) -> usize {
        self.hear(&event);
        let effects = self.machine.step(event, self.now, 0.0);
        assert!(self.stage != Stage::Done || effects.is_empty(), "{effects:?} after the end");
        let count = effects.len();
        effects.into_iter().for_each(|effect| self.obey(effect));
        if self.stage == Stage::Running {
            assert_eq!(self.machine.pending(), self.unpublished.len() as u64);
            assert_eq!(self.machine.under_way(), self.under_way.len() as u64);
            // Those under way when the sources pause still complete, and a last one.
            assert!(self.unpublished.len() <= self.max_pending + self.at_once);
            assert!(self.paused || self.unpublished.len() < self.max_pending, "too many epochs wait, and no pause");
            assert!(!self.paused || !self.unpublished.is_empty(), "paused for nothing");
            assert!(self.untold.is_empty(), "{:?} do not know of the pause", self.untold);
            assert_eq!(self.machine.phase() == Phase::Restarting, self.restarting.is_some());
        }
        count
    }

    fn hear(&mut self, event: &Event) {
        match event {
            Event::Claimed { restored, .. } => {
                self.answers.clear();
                (self.logged, self.restored) = (*restored, *restored);
            }
            Event::Started { .. } => {
                self.stage = Stage::Running;
                self.inherits_output = false;
            }
            Event::Acked { epoch, task } => {
                self.strays.push(event.clone());
                self.under_way.get_mut(epoch).unwrap().acked.insert(*task);
            }
            Event::Written { epoch } => {
                self.strays.push(event.clone());
                self.under_way.get_mut(epoch).unwrap().written = true;
            }
            Event::Owned { epoch } => {
                self.logged = Some(*epoch);
                if let Some(checkpoint) = self.under_way.get_mut(epoch) {
                    checkpoint.owned = true;
                }
            }
            Event::Published { epoch } => self.unpublished = self.unpublished.split_off(&epoch.next()),
            Event::Recorded { epoch } => self.unrecorded = self.unrecorded.split_off(&epoch.next()),
            Event::RegionsStarted => {
                let restarted = self.restarting.take().map(|restarting| restarting.regions);
                self.untold = restarted.filter(|_| self.paused).unwrap_or_default();
            }
            Event::Aborted if self.stage == Stage::Aborting => self.stage = Stage::Down,
            _ => {}
        }
    }

    /// Carries an effect out, if it may be.
    fn obey(&mut self, effect: Effect) {
        let running = self.stage == Stage::Running;
        match effect {
            Effect::Claim => self.claim(),
            Effect::Settle => {
                assert_eq!(self.stage, Stage::Claiming);
                self.stage = Stage::Recovering;
                self.settling = true;
            }
            Effect::Start => {
                assert_eq!(self.stage, Stage::Recovering);
                self.answers.push(Event::Started { regions: regions(), sources: SOURCES });
            }
            Effect::Trigger { barrier, trigger } => {
                assert!(running);
                self.trigger(barrier, trigger);
            }
            Effect::Overtake { epoch } => {
                let now = self.now;
                let checkpoint = self.under_way.get_mut(&epoch).unwrap();
                assert!(checkpoint.acked.len() < SUBTASKS && checkpoint.trigger == Trigger::Interval);
                assert!(now >= checkpoint.started_at + ALIGNMENT_MS, "{checkpoint:?}");
                assert_eq!(checkpoint.overtaken_at.replace(now), None);
            }
            Effect::Write { epoch } => {
                let (oldest, checkpoint) = self.under_way.first_key_value().unwrap();
                assert_eq!(*oldest, epoch, "written before the one before it is decided");
                assert_eq!(checkpoint.acked.len(), SUBTASKS, "written before all have acknowledged");
                self.answers.push(Event::Written { epoch });
            }
            Effect::Own { epoch, trigger } => {
                assert!(Some(epoch) > self.logged, "{epoch} is owned after {:?}", self.logged);
                let checkpoint = self.under_way.get_mut(&epoch).unwrap();
                assert!(checkpoint.written && !checkpoint.ordered, "{checkpoint:?}");
                assert_eq!(checkpoint.trigger, trigger);
                checkpoint.ordered = true;
                self.scribe.push_back(Event::Owned { epoch });
                self.strays.push(Event::Declined { epoch, failure: failure("too late to say") });
            }
            Effect::Completed { epoch, started_at } => {
                let checkpoint = self.over(epoch, started_at);
                assert!(checkpoint.owned, "completed without being owned");
                self.unpublished.insert(epoch);
                self.unrecorded.insert(epoch);
                self.publishing.push_back(epoch);
                if let Some(last) = &mut self.last {
                    last.owned_at = Some(self.now);
                }
            }
            Effect::Discard { epoch, started_at, .. } => {
                let checkpoint = self.over(epoch, started_at);
                assert!(!checkpoint.ordered, "the log may have epoch {epoch}, and it was given up");
            }
            Effect::SavepointBegun { epoch } => {
                assert_eq!((self.saving, self.triggered), (Some(Saving::Asked), Some(epoch)));
                self.saving = Some(Saving::Begun(epoch));
            }
            Effect::Save { epoch } => {
                assert_eq!(self.saving, Some(Saving::Begun(epoch)));
                assert!(!self.unrecorded.contains(&epoch), "copied before it was published");
                self.saving = Some(Saving::Copying);
            }
            Effect::SavepointFailed { .. } => match self.saving.take() {
                Some(Saving::Begun(_)) => assert!(self.under_way.is_empty()),
                Some(Saving::Asked) => assert!(self.last.is_some(), "one might still begin"),
                other => panic!("{other:?} has failed"),
            },
            Effect::Record { epoch } => {
                assert!(running && !self.unpublished.contains(&epoch));
                self.scribe.push_back(Event::Recorded { epoch });
            }
            Effect::Pause => {
                let told_again = !std::mem::take(&mut self.untold).is_empty();
                assert!(told_again || !self.paused && self.unpublished.len() >= self.max_pending);
                self.paused = true;
            }
            Effect::EndRegions { regions, .. } => self.end_regions(regions),
            Effect::StartRegions { regions } => {
                let restarting = self.restarting.as_mut().expect("regions that were ended");
                assert!(restarting.regions == regions && !restarting.deployed);
                assert!(!self.answers.contains(&Event::RegionsEnded), "deployed before their subtasks are gone");
                assert!(self.under_way.is_empty(), "the newest checkpoint is not known yet");
                assert!(self.now >= restarting.failed_at + RESTART_PAUSE_MS, "no pause");
                restarting.deployed = true;
                self.deployed.push((regions, self.logged));
                self.answers.push(Event::RegionsStarted);
            }
            Effect::Resume => {
                assert!(self.paused);
                self.paused = false;
            }
            Effect::Abort { .. } => self.abort(),
            Effect::Release { finished } => self.release(finished),
            Effect::Done(outcome) => {
                assert_eq!(outcome == Outcome::Finished, self.released == Some(true));
                self.stage = Stage::Done;
                self.saving = None;
            }
        }
    }

    fn claim(&mut self) {
        let is_rescaled = self.is_rescaled();
        match self.stage {
            Stage::New => assert_eq!(self.attempts, 0),
            Stage::Down => {
                // What joined others that had failed before waits with them.
                let failed_at = self.restarting.take().map(|restarting| restarting.failed_at);
                let since = self.aborted_at.unwrap().min(failed_at.unwrap_or(u64::MAX));
                let has_waited = self.now >= since + RESTART_PAUSE_MS;
                assert!(has_waited || is_rescaled, "no pause");
            }
            other => panic!("claims while {other:?}"),
        }
        let is_left_to_do = is_rescaled && (self.drains || self.saving == Some(Saving::Asked));
        assert!(self.stopped_at.is_none() || is_left_to_do, "claims after a stop");
        self.rescaled_from = is_rescaled.then_some(self.attempts);
        self.stage = Stage::Claiming;
        self.attempts += 1;
        self.strays.clear();
        (self.triggered, self.last) = (None, None);
        self.under_way.clear();
        self.exhausted.clear();
        self.publishing.clear();
        self.inherits_output |= !self.unpublished.is_empty();
        self.unpublished.clear();
        self.unrecorded.clear();
        self.paused = false;
        let attempt = Attempt(self.attempts);
        self.answers = vec![Event::Claimed { attempt, restored: self.logged }];
        // What was being written when the attempt ended may be in the log.
        let half_written = self.scribe.drain(..).filter_map(|answer| match answer {
            Event::Owned { epoch } => Some(Event::Claimed { attempt, restored: Some(epoch) }),
            _ => None,
        });
        self.answers.extend(half_written);
    }

    /// The attempt's last checkpoint is a rescale's, and owned.
    fn is_rescaled(&self) -> bool {
        self.last.as_ref().is_some_and(|last| last.trigger == Trigger::Rescale && last.owned_at.is_some())
    }

    fn trigger(&mut self, barrier: Barrier, trigger: Trigger) {
        let epoch = barrier.epoch;
        assert!(self.restarting.is_none(), "a checkpoint without some of the subtasks");
        assert!(self.under_way.len() < self.at_once, "too many checkpoints at a time");
        let alone = |trigger: Trigger| trigger.is_last() || trigger == Trigger::Savepoint;
        let is_alone = alone(trigger) || self.under_way.values().any(|checkpoint| alone(checkpoint.trigger));
        assert!(!is_alone || self.under_way.is_empty(), "{trigger:?} beside {:?}", self.under_way);
        self.overlaps += u64::from(!self.under_way.is_empty());
        assert!(self.last.is_none(), "a barrier after the last");
        assert!(Some(epoch) > self.restored && Some(epoch) > self.triggered, "epoch {epoch} again");
        assert_eq!(barrier.last, trigger.is_last());
        match trigger {
            Trigger::Interval | Trigger::Savepoint => assert!(!self.paused, "a checkpoint of paused sources"),
            Trigger::Rescale => assert!(self.rescales == Some(self.attempts) && self.saving.is_none()),
            Trigger::Stop => assert!(self.stopped_at.is_some() && !self.drains),
            Trigger::Drain => assert!(self.drains),
            Trigger::Finish => assert_eq!(self.exhausted.len(), SOURCES),
        }
        self.triggered = Some(epoch);
        self.last_trigger = Some(trigger);
        if barrier.last {
            self.last = Some(LastBarrier { trigger, owned_at: None });
        }
        let checkpoint = Checkpoint {
            trigger,
            started_at: self.now,
            acked: BTreeSet::new(),
            written: false,
            ordered: false,
            owned: false,
            overtaken_at: None,
        };
        self.under_way.insert(epoch, checkpoint);
        self.answers.extend((0..SUBTASKS).map(|index| Event::Acked { epoch, task: task(index) }));
    }

    /// The checkpoint is completed or given up: nothing more that is said of it counts.
    fn over(&mut self, epoch: Epoch, started_at: u64) -> Checkpoint {
        let checkpoint = self.under_way.remove(&epoch).unwrap();
        assert_eq!(checkpoint.started_at, started_at);
        let is_of = |answer: &mut Event| matches!(answer, Event::Acked { epoch: of, .. } | Event::Written { epoch: of } if *of == epoch);
        self.strays.extend(self.answers.extract_if(.., is_of));
        self.strays.extend([
            Event::Written { epoch },
            Event::Owned { epoch },
            Event::Declined { epoch, failure: failure("late") },
        ]);
        checkpoint
    }

    fn end_regions(&mut self, regions: BTreeSet<RegionId>) {
        assert!(self.stage == Stage::Running && self.stopped_at.is_none());
        let is_settled = |checkpoint: &Checkpoint| checkpoint.ordered && !checkpoint.trigger.is_last();
        assert!(self.under_way.values().all(is_settled), "{:?} go on without them", self.under_way);
        self.exhausted.retain(|source| !regions.contains(&RegionId(*source as u32)));
        let begun = RegionRestart { regions: BTreeSet::new(), failed_at: self.now, deployed: false };
        let restarting = self.restarting.get_or_insert(begun);
        assert!(!restarting.deployed, "what is being built is not ended");
        restarting.regions.extend(regions);
        assert!(restarting.regions.len() < SUBTASKS, "nobody goes on");
        if !self.answers.contains(&Event::RegionsEnded) {
            self.answers.push(Event::RegionsEnded);
        }
    }

    fn abort(&mut self) {
        assert!(matches!(self.stage, Stage::Claiming | Stage::Recovering | Stage::Running), "{:?}", self.stage);
        self.stage = Stage::Aborting;
        // What a rescale left no checkpoint for waits for the next attempt.
        let is_rescaled = self.is_rescaled();
        self.saving.take_if(|saving| !is_rescaled || *saving != Saving::Asked);
        self.aborted_at = Some(self.now);
        self.strays.append(&mut self.answers);
        self.publishing.clear();
        self.settling = false;
        self.answers.push(Event::Aborted);
    }

    fn release(&mut self, finished: bool) {
        assert_eq!(self.stage, Stage::Down);
        self.stage = Stage::Releasing;
        self.released = Some(finished);
        self.scribe.push_back(Event::Released);
        let aborted_at = self.aborted_at.unwrap();
        if self.cut_short {
            let maybe_owned = self.under_way.values().any(|checkpoint| checkpoint.ordered);
            assert_eq!(self.machine.pending(), self.unpublished.len() as u64 + u64::from(maybe_owned));
            assert!(!finished);
            return;
        }
        let Some(last) = &self.last else {
            assert!(
                self.stopped_at.is_some() && self.triggered.is_none() && !finished,
                "released without a last epoch"
            );
            return;
        };
        let owned_at = last.owned_at.expect("released before the last epoch was owned");
        let patience_ended = self.hurried_at.is_some_and(|at| aborted_at >= at.max(owned_at) + STOP_GRACE_MS);
        assert!(self.unrecorded.is_empty() || patience_ended && !finished, "{:?} wait", self.unrecorded);
        assert!(!finished || last.trigger == Trigger::Finish);
        assert!(last.trigger != Trigger::Rescale || self.stopped_at.is_some());
    }

    /// Lets so many answers come, those of subtasks first.
    pub(super) fn answer_some(&mut self, count: usize) {
        for _ in 0..count {
            if let Some(event) = self.answer(|_| 0, true) {
                self.deliver(event);
            }
        }
    }

    /// Lets answers come until no more are under way.
    pub(super) fn answer_all(&mut self, sinks_answer: bool) {
        while let Some(event) = self.answer(|_| 0, sinks_answer) {
            self.deliver(event);
        }
    }

    /// As [`World::stops_as`], without a savepoint.
    pub(super) fn stops(&mut self, sinks_answer: bool, final_checkpoint: bool) {
        let last = stop::Last::default();
        self.stops_as(sinks_answer, if final_checkpoint { Stop::Checkpoint(last) } else { Stop::AtOnce });
    }

    /// From here on everything is answered at once, but maybe by the sinks: a stop comes to its end, this one or one that
    /// was asked for before. One that waits for a savepoint does so with the sinks, or else when somebody is in a hurry.
    pub(super) fn stops_as(&mut self, sinks_answer: bool, how: Stop) {
        self.answer_all(sinks_answer);
        if self.stage == Stage::Running && sinks_answer {
            assert!(!self.paused, "everything is published, and the sources stay paused");
        }
        let mut patience_ends = self.now + if how == Stop::AtOnce { 0 } else { STOP_GRACE_MS };
        match how {
            // The one before needs no other.
            _ if self.stopped_at.is_some() && sinks_answer => patience_ends = self.now,
            Stop::Checkpoint(last) => self.stop_after(last),
            Stop::AtOnce => self.stop(false),
        }
        self.answer_all(sinks_answer);
        while self.stage != Stage::Done {
            match self.machine.wake_at().filter(|at| *at < FAR) {
                Some(wake) => {
                    self.now = self.now.max(wake);
                    self.tick();
                }
                None => {
                    assert!(self.hurried_at.is_none() && !sinks_answer, "it waits for nothing");
                    patience_ends = self.now + STOP_GRACE_MS;
                    self.stop(true);
                }
            }
            self.answer_all(sinks_answer);
        }
        assert!(self.now <= patience_ends, "the stop took {} ms too long", self.now - patience_ends);
        assert_eq!(self.machine.wake_at(), None);
        let stop = Event::Stop(Stop::Checkpoint(stop::Last::default()));
        for event in [Event::Tick, stop, Event::Failed(failure("late")), Event::Aborted] {
            self.deliver(event);
        }
    }
}
