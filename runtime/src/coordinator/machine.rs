//! The life of a job, as a pure machine: an event and the time in, effects out.
//!
//! ```text
//! Claiming -> Recovering -> Running -> Stopping -> done
//!     ^                        |          |
//!     +------- Restarting <----+----------+   after a failure, by the restart strategy
//!     +------------------------+              after the checkpoint of a rescale, at once
//! ```
//!
//! A rescale's checkpoint is the last of its attempt. What comes meanwhile and needs another, a savepoint or a stop that
//! drains, is done by the next attempt.
//!
//! When only some regions have failed, they restart within the attempt, and the others go on ([`regions`]).
//!
//! Each start is an attempt of its own: after a failure the job is claimed anew, which also fences whatever the failed
//! attempt has still under way. Late answers of an older attempt are told by its number and ignored.

use tidegate_crds::{
    CheckpointSpec, RestartSpec,
    api::{Failure, FailureReason, Phase},
};

use self::running::{Ending, Running, Savepoint};
use super::{
    event::{Effect, Event, Last, Outcome, Stop},
    repeats::Repeats,
    restart::Restart,
    tracker::InFlight,
};
use crate::{
    checkpoint::record::Trigger,
    element::Barrier,
    ids::{Attempt, Epoch},
};

mod regions;
mod running;

/// A job that goes on from a checkpoint takes the next one so soon, whatever the interval: its readers have waited enough.
const FIRST_AFTER_RESTORE_MS: u64 = 250;
/// How long a stop waits for sinks before it leaves the rest to the next start.
pub const STOP_GRACE_MS: u64 = 20_000;

#[derive(Debug)]
pub struct Machine {
    spec: CheckpointSpec,
    restart: Restart,
    repeats: Repeats,
    state: State,
    /// The job is to end after a last checkpoint.
    stop: Option<Last>,
    /// The attempt before has ended with a rescale's checkpoint, and the next one does not run yet.
    rescaling: Option<Rescaling>,
    /// Somebody does not want to wait for the sinks for ever.
    is_hurried: bool,
    attempt: Option<Attempt>,
    restored: bool,
    next_epoch: Epoch,
    /// Epochs that waited to be published when the tasks ended.
    left_pending: u64,
    pub restarts: u64,
    /// Those of them in which some regions went on.
    pub region_restarts: u64,
    /// First cause of the last failure.
    pub failure: Option<Failure>,
}

#[derive(Debug)]
struct Rescaling {
    /// A savepoint was asked for during the checkpoint: the next attempt takes it.
    savepoint_waits: bool,
}

#[derive(Debug)]
enum State {
    New,
    Claiming,
    Recovering {
        /// When it is to stop, and nobody waits for the sinks for ever.
        give_up_at: u64,
    },
    Running(Running),
    /// Waits until the tasks are gone.
    Aborting {
        then: AfterAbort,
    },
    Restarting {
        at: u64,
    },
    Releasing {
        outcome: Outcome,
    },
    Done {
        outcome: Outcome,
    },
}

#[derive(Debug)]
enum AfterAbort {
    Restart {
        at: u64,
    },
    /// The same job with another parallelism.
    Rescale,
    Release {
        finished: bool,
    },
    Done(Outcome),
}

impl Machine {
    pub fn new(spec: CheckpointSpec, restart: &RestartSpec) -> Self {
        Self {
            spec,
            restart: Restart::new(restart),
            repeats: Repeats::new(restart),
            state: State::New,
            stop: None,
            rescaling: None,
            is_hurried: false,
            attempt: None,
            restored: false,
            next_epoch: Epoch(1),
            left_pending: 0,
            restarts: 0,
            region_restarts: 0,
            failure: None,
        }
    }

    pub fn phase(&self) -> Phase {
        match &self.state {
            State::New | State::Claiming => Phase::Claiming,
            State::Recovering { .. } => Phase::Recovering,
            State::Running(running) if running.is_stopping() || self.stop.is_some() => Phase::Stopping,
            State::Running(Running { restarting: Some(_), .. }) => Phase::Restarting,
            State::Running(_) => Phase::Running,
            State::Restarting { .. } | State::Aborting { then: AfterAbort::Restart { .. } | AfterAbort::Rescale } => {
                Phase::Restarting
            }
            State::Aborting { .. } | State::Releasing { .. } => Phase::Stopping,
            State::Done { outcome: Outcome::Finished } => Phase::Finished,
            State::Done { outcome: Outcome::Stopped } => Phase::Stopped,
            State::Done { outcome: Outcome::Failed(_) } => Phase::Failed,
        }
    }

    /// The attempt whose answers count.
    pub fn attempt(&self) -> Option<Attempt> {
        self.attempt
    }

    /// Takes in an event at `now` milliseconds; `jitter` is random, from -1 to 1.
    pub fn step(&mut self, event: Event, now: u64, jitter: f64) -> Vec<Effect> {
        match (&mut self.state, event) {
            (State::New, Event::Tick) => self.claim(),
            (State::Claiming, Event::Claimed { attempt, restored }) => {
                self.attempt = Some(attempt);
                self.restored = restored.is_some();
                self.next_epoch = restored.map_or(Epoch(1), Epoch::next);
                let give_up_at = if self.is_hurried { now + STOP_GRACE_MS } else { u64::MAX };
                self.state = State::Recovering { give_up_at };
                vec![Effect::Settle]
            }
            (State::Recovering { .. }, Event::Settled) => vec![Effect::Start],
            (State::Recovering { .. }, Event::Started { regions, sources }) => {
                let interval = self.spec.interval.millis();
                let next_trigger = now + if self.restored { interval.min(FIRST_AFTER_RESTORE_MS) } else { interval };
                let mut running = Running::new(regions, sources, next_trigger, self.spec.at_once());
                running.savepoint = self.keeps_savepoint().then_some(Savepoint::Asked);
                self.rescaling = None;
                self.state = State::Running(running);
                Vec::new()
            }
            (State::Recovering { give_up_at }, Event::Tick) if *give_up_at <= now => {
                self.abort(AfterAbort::Release { finished: false })
            }
            (State::Claiming, Event::NothingLeft) => self.abort(AfterAbort::Done(Outcome::Finished)),
            (State::Claiming | State::Recovering { .. } | State::Running(_), Event::Refused(failure)) => {
                self.abort_for(Some(failure.clone()), AfterAbort::Done(Outcome::Failed(failure)))
            }
            (State::Running(_), Event::RegionsFailed { regions, failure }) => {
                self.fail_regions(regions, failure, now, jitter)
            }
            (
                State::Claiming | State::Recovering { .. } | State::Running(_),
                Event::Failed(failure) | Event::RegionsFailed { failure, .. },
            ) => self.fail(failure, now, jitter),
            // Between the two attempts of a rescale: the next one drains.
            (
                State::Claiming | State::Recovering { .. } | State::Aborting { then: AfterAbort::Rescale },
                Event::Stop(Stop::Checkpoint(last @ Last { drain: true, .. })),
            ) if self.rescaling.is_some() && self.stop.is_none_or(|stop| stop.drain) => {
                self.is_hurried |= !last.savepoint;
                if let State::Recovering { give_up_at } = &mut self.state
                    && self.is_hurried
                {
                    *give_up_at = (*give_up_at).min(now + STOP_GRACE_MS);
                }
                self.stop.get_or_insert(Last { savepoint: false, ..last });
                Vec::new()
            }
            (State::Claiming | State::Restarting { .. } | State::New, Event::Stop(_)) => self.finish(Outcome::Stopped),
            (State::Recovering { .. }, Event::Stop(_)) | (State::Running(_), Event::Stop(Stop::AtOnce)) => {
                self.abort(AfterAbort::Release { finished: false })
            }
            (State::Running(_), Event::Stop(Stop::Checkpoint(last))) => self.stop_after(last, now, jitter),
            (State::Aborting { .. }, Event::Stop(_)) => {
                self.stop = Some(Last::default());
                Vec::new()
            }
            (State::Running(_), event) => self.run(event, now, jitter),
            (State::Aborting { .. }, Event::Aborted) => self.aborted(),
            (State::Restarting { at }, Event::Tick) if *at <= now => self.claim(),
            (State::Releasing { outcome }, Event::Released | Event::Failed(_) | Event::Refused(_)) => {
                let outcome = outcome.clone();
                self.finish(outcome)
            }
            // Answers to what no longer matters.
            _ => Vec::new(),
        }
    }

    fn claim(&mut self) -> Vec<Effect> {
        self.state = State::Claiming;
        vec![Effect::Claim]
    }

    fn finish(&mut self, outcome: Outcome) -> Vec<Effect> {
        if let Outcome::Failed(failure) = &outcome {
            self.failure = Some(failure.clone());
        }
        self.state = State::Done { outcome: outcome.clone() };
        vec![Effect::Done(outcome)]
    }

    fn abort(&mut self, then: AfterAbort) -> Vec<Effect> {
        self.abort_for(None, then)
    }

    fn abort_for(&mut self, failure: Option<Failure>, then: AfterAbort) -> Vec<Effect> {
        // What is being owned counts: the log may have it.
        let owning = matches!(&self.state, State::Running(Running { owning: Some(_), .. }));
        self.left_pending = self.pending() + u64::from(owning);
        let is_asked = matches!(&self.state, State::Running(Running { savepoint: Some(Savepoint::Asked), .. }));
        self.rescaling = matches!(then, AfterAbort::Rescale).then_some(Rescaling { savepoint_waits: is_asked });
        self.state = State::Aborting { then };
        vec![Effect::Abort { failure }]
    }

    fn fail(&mut self, failure: Failure, now: u64, jitter: f64) -> Vec<Effect> {
        let failure = self.note(failure, now);
        if self.stop.is_some() {
            // What is owned stays owned; the next start goes on from there.
            return self.abort_for(Some(failure), AfterAbort::Done(Outcome::Stopped));
        }
        match self.next_try(now, jitter) {
            Some(at) => self.abort_for(Some(failure), AfterAbort::Restart { at }),
            None => self.give_up(failure),
        }
    }

    fn note(&mut self, failure: Failure, now: u64) -> Failure {
        let failure = self.repeats.note(failure, now);
        self.failure = Some(failure.clone());
        failure
    }

    /// When what has failed is to be tried again, if at all.
    fn next_try(&mut self, now: u64, jitter: f64) -> Option<u64> {
        let pause = self.restart.on_failure(now, jitter).filter(|_| !self.repeats.are_too_many())?;
        self.restarts += 1;
        Some(now + pause)
    }

    fn give_up(&mut self, failure: Failure) -> Vec<Effect> {
        let outcome = Outcome::Failed(given_up(&failure));
        self.abort_for(Some(failure), AfterAbort::Done(outcome))
    }

    fn aborted(&mut self) -> Vec<Effect> {
        match std::mem::replace(&mut self.state, State::New) {
            State::Aborting { then: AfterAbort::Restart { .. } } if self.stop.is_some() => {
                self.finish(Outcome::Stopped)
            }
            State::Aborting { then: AfterAbort::Rescale } if !self.goes_on(self.keeps_savepoint()) => {
                self.finish(Outcome::Stopped)
            }
            State::Aborting { then: AfterAbort::Rescale } => self.claim(),
            State::Aborting { then: AfterAbort::Restart { at } } => {
                self.state = State::Restarting { at };
                Vec::new()
            }
            State::Aborting { then: AfterAbort::Release { finished } } => {
                let outcome = if finished { Outcome::Finished } else { Outcome::Stopped };
                self.state = State::Releasing { outcome };
                vec![Effect::Release { finished }]
            }
            State::Aborting { then: AfterAbort::Done(outcome) } => self.finish(outcome),
            other => {
                self.state = other;
                Vec::new()
            }
        }
    }

    fn run(&mut self, event: Event, now: u64, jitter: f64) -> Vec<Effect> {
        let State::Running(running) = &mut self.state else { return Vec::new() };
        match event {
            Event::Acked { epoch, task } => {
                running.acknowledge(epoch, task);
                running.advance()
            }
            Event::Written { epoch } => {
                let Some(written) = running.writing.take_if(|writing| writing.epoch == epoch) else {
                    return Vec::new();
                };
                let trigger = written.trigger;
                running.owning = Some(written);
                vec![Effect::Own { epoch, trigger }]
            }
            Event::Owned { epoch } => self.owned(epoch, now),
            Event::Declined { epoch, failure } => self.declined(epoch, failure, now, jitter),
            Event::Published { epoch } => {
                running.pending = running.pending.split_off(&epoch.next());
                let mut effects = vec![Effect::Record { epoch }];
                if running.paused && running.pending.len() < self.spec.max_pending_epochs as usize / 2 + 1 {
                    running.paused = false;
                    effects.push(Effect::Resume);
                }
                effects
            }
            Event::Recorded { epoch } => {
                if let Some(ending) = running.ending.as_mut().filter(|ending| ending.epoch <= epoch) {
                    ending.recorded = true;
                }
                match running.savepoint {
                    Some(Savepoint::Begun(saved)) if saved <= epoch => {
                        running.savepoint = Some(Savepoint::Copying);
                        vec![Effect::Save { epoch: saved }]
                    }
                    _ => self.end_when_done(),
                }
            }
            Event::SavepointEnded => {
                running.savepoint = None;
                self.end_when_done()
            }
            Event::Exhausted { task } => {
                running.exhausted.insert(task);
                self.tick(now, jitter)
            }
            Event::CheckpointAsked => {
                running.asked = true;
                self.tick(now, jitter)
            }
            Event::SavepointAsked => {
                running.savepoint.get_or_insert(Savepoint::Asked);
                self.tick(now, jitter)
            }
            Event::RescaleAsked => {
                running.rescale = true;
                self.tick(now, jitter)
            }
            Event::RegionsEnded => running.regions_ended(now),
            Event::RegionsStarted => running.regions_started(now, self.spec.interval.millis()),
            Event::Tick => self.tick(now, jitter),
            _ => Vec::new(),
        }
    }

    fn owned(&mut self, epoch: Epoch, now: u64) -> Vec<Effect> {
        let State::Running(running) = &mut self.state else { return Vec::new() };
        let Some(done) = running.owning.take_if(|owning| owning.epoch == epoch) else { return Vec::new() };
        running.pending.insert(epoch);
        running.failures_in_row = 0;
        running.next_trigger = running.next_trigger.max(now + self.spec.min_pause.millis());
        let mut effects = vec![Effect::Completed { epoch, started_at: done.started_at }];
        let savepoint_waits = running.savepoint == Some(Savepoint::Asked);
        if done.trigger == Trigger::Rescale && self.goes_on(savepoint_waits) {
            // What is not published yet the next attempt settles.
            effects.extend(self.abort(AfterAbort::Rescale));
            return effects;
        }
        let State::Running(running) = &mut self.state else { return effects };
        if done.trigger.is_last() {
            effects.extend(running.drop_savepoint());
            let finished = done.trigger == Trigger::Finish;
            let give_up_at = if self.is_hurried { now + STOP_GRACE_MS } else { u64::MAX };
            running.ending = Some(Ending { epoch, finished, recorded: false, give_up_at });
        }
        if !running.paused && running.pending.len() >= self.spec.max_pending_epochs as usize {
            running.paused = true;
            effects.push(Effect::Pause);
        }
        effects.extend(running.start_regions(now));
        effects.extend(running.advance());
        effects
    }

    fn declined(&mut self, epoch: Epoch, failure: Failure, now: u64, jitter: f64) -> Vec<Effect> {
        let State::Running(running) = &mut self.state else { return Vec::new() };
        let Some(given_up) = running.give_up(epoch) else { return Vec::new() };
        running.failures_in_row += 1;
        running.next_trigger = running.next_trigger.max(now + self.spec.min_pause.millis());
        let Failure { reason, message } = failure;
        let mut effects = vec![Effect::Discard { epoch, cause: message.clone(), started_at: given_up.started_at }];
        if running.savepoint.take_if(|savepoint| *savepoint == Savepoint::Begun(epoch)).is_some() {
            effects.push(Effect::SavepointFailed { cause: format!("its checkpoint {epoch} failed: {message}") });
        }
        // After its last barrier a source reads nothing more, so a failed last checkpoint can't be followed by another.
        if given_up.trigger.is_last() || running.failures_in_row > self.spec.tolerable_failures {
            let failures = running.failures_in_row;
            let message = format!("checkpoint {epoch} failed, {failures} in a row: {message}");
            effects.extend(self.fail(Failure { reason, message }, now, jitter));
        } else {
            effects.extend(running.advance());
        }
        effects
    }

    /// What the time asks for.
    fn tick(&mut self, now: u64, jitter: f64) -> Vec<Effect> {
        let State::Running(running) = &mut self.state else { return Vec::new() };
        if let Some(Ending { finished, recorded, give_up_at, .. }) = running.ending {
            let release = AfterAbort::Release { finished: finished && recorded };
            return if now >= give_up_at { self.abort(release) } else { Vec::new() };
        }
        if running.restarting.is_some() {
            return running.start_regions(now);
        }
        if let Some(epoch) = running.overdue(now, self.spec.timeout.millis()) {
            let message = format!("it took longer than {}", self.spec.timeout);
            return self.declined(epoch, Failure { reason: FailureReason::TaskFailed, message }, now, jitter);
        }
        let overtaking = running.overtake(now);
        if !overtaking.is_empty() {
            return overtaking;
        }
        let Some((trigger, _)) = running.next(self.stop).filter(|(_, at)| now >= *at) else { return Vec::new() };
        let savepoint = running.savepoint == Some(Savepoint::Asked);
        running.asked = false;
        running.next_trigger = now + self.spec.interval.millis();
        let epoch = self.next_epoch;
        self.next_epoch = epoch.next();
        let mut in_flight = InFlight::new(epoch, trigger, now, running.regions.subtasks());
        let alignment = self.spec.alignment_timeout.filter(|_| trigger == Trigger::Interval);
        in_flight.overtake_at = alignment.map(|timeout| now.saturating_add(timeout.millis()));
        running.in_flight.push_back(in_flight);
        let mut effects =
            vec![Effect::Trigger { barrier: Barrier { epoch, last: trigger.is_last(), open: savepoint }, trigger }];
        effects.extend(running.overtake(now));
        if savepoint {
            running.savepoint = Some(Savepoint::Begun(epoch));
            effects.push(Effect::SavepointBegun { epoch });
        }
        effects
    }

    /// The job is to end after a last checkpoint.
    fn stop_after(&mut self, last: Last, now: u64, jitter: f64) -> Vec<Effect> {
        let State::Running(running) = &mut self.state else { return Vec::new() };
        if running.restarting.is_some() {
            // As before a start: what is owned stays owned, and nobody knows when the others would be back.
            return self.abort(AfterAbort::Release { finished: false });
        }
        let mut effects = Vec::new();
        if last.savepoint {
            running.savepoint.get_or_insert(Savepoint::Asked);
            if running.is_stopping() {
                effects.extend(running.drop_savepoint());
            }
        } else {
            self.is_hurried = true;
            if let Some(ending) = &mut running.ending {
                // The output of a job that has read everything is waited for without limit, until a stop sets one.
                ending.give_up_at = ending.give_up_at.min(now + STOP_GRACE_MS);
            }
        }
        self.stop.get_or_insert(last);
        effects.extend(self.tick(now, jitter));
        effects
    }

    /// Whether there is something left to do after the checkpoint of a rescale: run, or what a stop asks for beside it.
    fn goes_on(&self, savepoint_waits: bool) -> bool {
        self.stop.is_none_or(|last| last.drain || last.savepoint && savepoint_waits)
    }

    /// All is read and published, and nobody copies a checkpoint any more.
    fn end_when_done(&mut self) -> Vec<Effect> {
        match &self.state {
            State::Running(Running {
                ending: Some(Ending { recorded: true, finished, .. }), savepoint: None, ..
            }) => {
                let finished = *finished;
                self.abort(AfterAbort::Release { finished })
            }
            _ => Vec::new(),
        }
    }

    /// When [`Event::Tick`] is wanted next, in milliseconds; `None`: not before another event.
    pub fn wake_at(&self) -> Option<u64> {
        match &self.state {
            State::New => Some(0),
            State::Restarting { at } => Some(*at),
            State::Recovering { give_up_at } => (*give_up_at < u64::MAX).then_some(*give_up_at),
            State::Running(Running { restarting: Some(_), .. }) => self.wakes_regions_at(),
            State::Running(running) => match &running.ending {
                Some(ending) => Some(ending.give_up_at),
                None => running.wake_at(self.spec.timeout.millis(), self.stop),
            },
            _ => None,
        }
    }

    /// A savepoint that was asked for is not begun by the attempt that ends, but by the next.
    pub fn keeps_savepoint(&self) -> bool {
        self.rescaling.as_ref().is_some_and(|rescaling| rescaling.savepoint_waits)
    }

    /// Whether a stop that drains would be done as asked: by the attempt that runs, or by the next one of a rescale. A job
    /// that ends anyway stays as it is.
    pub fn can_drain(&self) -> bool {
        match &self.state {
            _ if self.stop.is_some_and(|stop| !stop.drain) => false,
            State::Running(running) => running.restarting.is_none(),
            State::New | State::Claiming | State::Recovering { .. } | State::Restarting { .. } => {
                self.rescaling.is_some()
            }
            State::Aborting { then: AfterAbort::Restart { .. } } => false,
            State::Aborting { .. } | State::Releasing { .. } | State::Done { .. } => true,
        }
    }

    /// How many times in a row the last failure has come at the same place.
    pub fn failures_in_row(&self) -> u32 {
        self.repeats.times()
    }

    /// Checkpoints that have begun, and are neither owned nor given up.
    pub fn under_way(&self) -> u64 {
        if let State::Running(running) = &self.state { running.under_way() as u64 } else { 0 }
    }

    /// Epochs that are owned and not known to be published.
    pub fn pending(&self) -> u64 {
        match &self.state {
            State::Running(running) => running.pending.len() as u64,
            _ => self.left_pending,
        }
    }
}

/// The failure of a job whose restart strategy has no further try after `last`.
fn given_up(last: &Failure) -> Failure {
    Failure {
        reason: FailureReason::RestartsExhausted,
        message: format!("the job has failed, and the restart strategy has given up: {}", last.message),
    }
}

#[cfg(test)]
mod tests;
