//! The coordinator's one loop: hears what happens, asks the machine what follows, has it done ([`super::effects`]).
//!
//! The loop owns everything. Work that takes time runs beside it and answers with a [`Message`] that names its start, so
//! that an answer of a start that is over is known as such; workers name the attempt.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tidegate_crds::api::{Failure, FailureReason};
use tokio::{
    runtime::Handle,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{JoinError, JoinHandle, JoinSet},
};

use super::{
    api::{Refused, Request},
    attempt::Current,
    cancelled::Cancelled,
    event::{Effect, Event, Outcome},
    machine::Machine,
    place::Former,
    recover::{RecoverError, Recovered},
    savepoints::Wish,
    scribe::{self, Answer, Order},
    shared::Shared,
    staff::Loss,
    wanted::Wanted,
    workers::{Change, WorkerId, Workers},
};
use crate::{
    checkpoint::{
        claim::{ClaimError, Claimed, Claiming, Identity},
        collect::Kept,
        copy::Copied,
        manifest::Manifest,
        record::CheckpointRef,
        savepoint::SavepointError,
        starts::Starts,
        store::Store,
    },
    env,
    failure::{Reason, words_of},
    ids::{Epoch, RegionId},
    job::JobPlan,
    worker::{
        protocol::{Action, News, Notice},
        publish::Tried,
    },
};

/// Everything a coordinator needs to run a job.
#[derive(Debug)]
pub struct Coordinator {
    pub plan: Arc<JobPlan>,
    pub store: Arc<dyn Store>,
    pub identity: Identity,
    /// Sources and sinks have not been asked whether the job can run: they are while it recovers.
    pub preflight: bool,
    pub workers: Workers,
    /// How many workers the first start waits for, for a while.
    pub expected: usize,
    pub shared: Arc<Shared>,
    pub io: Handle,
}

/// What came of something that was started.
pub(super) enum Message {
    Claimed(Result<Claiming, ClaimError>),
    Inherited(Result<Option<Box<Manifest>>, RecoverError>),
    /// Where sources begin.
    Found(Result<Starts, RecoverError>),
    Recovered(Result<Box<Recovered>, RecoverError>),
    Written {
        epoch: Epoch,
        result: Result<CheckpointRef, Failure>,
    },
    LookedAt(Result<(), Refused>, Wish),
    Saved(Result<Copied, SavepointError>),
    Scribe(Answer),
}

pub(super) struct Loop {
    pub job: Coordinator,
    pub machine: Machine,
    pub messages: UnboundedSender<(u64, Message)>,
    /// Counts starts of the job.
    pub start: u64,
    pub started_at: Duration,
    pub claimed: Option<Claimed>,
    /// The machine wants the job claimed, and there were not slots enough yet.
    pub claim_awaited: bool,
    /// Since when there are.
    pub staffed_at: Option<Duration>,
    pub scribe: Option<UnboundedSender<Order>>,
    pub current: Option<Current>,
    /// Where the subtasks of the newest attempt that had any were placed.
    pub former: Former,
    /// What is left of the last attempt is published, so the tasks may run when they are built.
    pub is_settled: bool,
    pub tried: UnboundedSender<Tried>,
    /// Work of this start that ends with it.
    pub work: JoinSet<()>,
    pub cancelled: Cancelled,
    pub wanted: Wanted,
    /// Deletes the savepoint that the job has begun with.
    pub deletes_origin: Option<JoinHandle<()>>,
}

impl Coordinator {
    /// Runs the job to its end.
    pub async fn run(self, mut requests: UnboundedReceiver<Request>) -> Outcome {
        let machine = Machine::new(self.plan.spec.checkpoint.clone(), &self.plan.spec.restart);
        let (messages, mut inbox) = unbounded_channel();
        let (tried, mut tries) = unbounded_channel();
        let mut this = Loop {
            job: self,
            machine,
            messages,
            start: 0,
            started_at: Duration::ZERO,
            claimed: None,
            claim_awaited: false,
            staffed_at: None,
            scribe: None,
            current: None,
            former: Former::default(),
            is_settled: false,
            tried,
            work: JoinSet::new(),
            cancelled: Cancelled::No,
            wanted: Wanted::default(),
            deletes_origin: None,
        };
        let mut event = Some(Event::Tick);
        loop {
            if let Some(event) = event.take()
                && let Some(outcome) = this.step(event).await
            {
                return outcome;
            }
            this.job.shared.beat();
            let wake = this.until_wake();
            event = tokio::select! {
                biased;
                Some(request) = requests.recv() => this.asked(request),
                Some((start, message)) = inbox.recv() => this.receive(start, message),
                Some(ended) = this.work.join_next() => ended.err().and_then(broken),
                change = this.job.workers.next() => this.hear(change),
                Some(Tried { sink, failure }) = tries.recv() => {
                    this.job.shared.sink_tried(None, &sink, failure);
                    None
                }
                () = wake => {
                    this.claim_when_staffed();
                    this.give_up_stuck();
                    Some(Event::Tick)
                }
            };
        }
    }
}

/// A start that failed: tried again as the restart strategy says, but for one that the same job can never bring off.
fn failed_start(failure: Failure) -> Event {
    if failure.reason.may_pass() { Event::Failed(failure) } else { Event::Refused(failure) }
}

/// Work that panicked has no answer, and nobody waits for one for ever.
fn broken(ended: JoinError) -> Option<Event> {
    let panic = ended.try_into_panic().ok()?;
    let message = format!("the coordinator's work has panicked: {}", words_of(panic.as_ref()));
    Some(Event::Failed(Failure { reason: FailureReason::TaskFailed, message }))
}

impl Loop {
    /// Waits until the machine wants a tick, at most a second: the heartbeat goes on.
    fn until_wake(&self) -> impl Future<Output = ()> + use<> {
        let now = env::monotonic().as_millis() as u64;
        let wait = self.machine.wake_at().map_or(1000, |at| at.saturating_sub(now).min(1000));
        env::sleep(Duration::from_millis(wait))
    }

    /// Lets the machine take in an event, and all that follows from it at once.
    async fn step(&mut self, event: Event) -> Option<Outcome> {
        let now = env::monotonic().as_millis() as u64;
        let jitter = (env::random() % 2001) as f64 / 1000.0 - 1.0;
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for effect in self.machine.step(event, now, jitter) {
                if let Effect::Done(outcome) = effect {
                    self.end(&outcome).await;
                    return Some(outcome);
                }
                events.extend(self.carry_out(effect).await);
            }
        }
        self.show();
        None
    }

    fn show(&self) {
        let (phase, pending) = (self.machine.phase(), self.machine.pending());
        let under_way = self.machine.under_way();
        let (restarts, failure) = (self.machine.restarts, self.machine.failure.clone());
        let (region_restarts, failures) = (self.machine.region_restarts, self.machine.failures_in_row());
        let metrics = &self.job.shared.metrics;
        metrics.pending_epochs.set(pending as i64);
        metrics.checkpoints_under_way.set(under_way as i64);
        metrics.restarts.inc_by(restarts.saturating_sub(metrics.restarts.get()));
        metrics.region_restarts.inc_by(region_restarts.saturating_sub(metrics.region_restarts.get()));
        self.job.shared.update(|status| {
            status.phase = phase;
            status.pending_epochs = pending;
            status.checkpoints_under_way = under_way;
            status.restarts = restarts;
            status.region_restarts = region_restarts;
            status.failure = failure;
            status.failures_in_row = failures;
        });
    }

    /// Shows the workers, and what runs where.
    pub(super) fn show_workers(&self) {
        let workers = self.job.workers.statuses(|worker| {
            let subtasks = self.current.iter().flat_map(|current| current.staff.subtasks(worker));
            subtasks.map(|subtask| subtask.0).collect()
        });
        self.job.shared.update(|status| status.workers = workers);
    }

    /// The last thing to do; only then does the status say that the job has ended.
    async fn end(&mut self, outcome: &Outcome) {
        if self.job.shared.savepoint_in_progress().is_some() {
            self.savepoint_failed("the job has ended before it was begun".to_owned());
        }
        let mut kept = None;
        if self.is_to_delete() && *outcome == Outcome::Stopped {
            kept = self.job.shared.alive_during(self.delete()).await;
        }
        let shared = self.job.shared.clone();
        shared.alive_during(self.finish_deleting_origin()).await;
        if *outcome == Outcome::Stopped {
            let unmet = self.wanted.unmet(|name| shared.savepoint(name), self.machine.failure.as_ref());
            shared.unmet(unmet.or(kept));
        }
        self.show();
    }

    /// Some regions can't go on. While a source begins where no checkpoint knows it, nothing is lost with the others, and what
    /// it begins with may have changed: all restart, and it is looked at again.
    fn regions_failed(&self, regions: BTreeSet<RegionId>, failure: Failure) -> Event {
        if self.current.as_ref().is_some_and(Current::begins) {
            Event::Failed(failure)
        } else {
            Event::RegionsFailed { regions, failure }
        }
    }

    fn receive(&mut self, start: u64, message: Message) -> Option<Event> {
        if start != self.start {
            return None;
        }
        if matches!(message, Message::Claimed(_)) {
            self.job.shared.waits_for(None);
        }
        Some(match message {
            Message::Claimed(Ok(Claiming::Ours(claimed))) => self.claimed(claimed),
            Message::Claimed(Ok(Claiming::Finished { attempt, is_changed: false })) => {
                tracing::info!(%attempt, "the job has finished before: what it was to read is read and published; without its end (`until`), and under \
                     another `--revision`, it reads on, and everything again under another `jobId`");
                Event::NothingLeft
            }
            Message::Claimed(Ok(Claiming::Finished { attempt, is_changed: true })) => {
                tracing::warn!(%attempt, "the job has finished before, as another document said: nothing of what is new in this one is done. Without \
                     its end (`until`), and under another `--revision`, it reads on, and everything again under another `jobId`");
                Event::NothingLeft
            }
            // Without `--stand-by`, who is told that the job is taken does not wait.
            Message::Claimed(Err(error @ ClaimError::Owned { .. })) => Event::Refused(error.failure()),
            Message::Claimed(Err(error)) => failed_start(error.failure()),
            Message::Inherited(Ok(manifest)) => {
                self.inherited(manifest);
                return None;
            }
            Message::Found(Ok(starts)) => {
                self.found(starts);
                return None;
            }
            Message::Recovered(Ok(recovered)) => self.recovered(*recovered),
            Message::Inherited(Err(error)) | Message::Found(Err(error)) | Message::Recovered(Err(error)) => {
                failed_start(error.failure())
            }
            Message::Written { epoch, result: Ok(reference) } => {
                if let Some(current) = &mut self.current {
                    current.written(epoch, reference);
                }
                Event::Written { epoch }
            }
            Message::Written { epoch, result: Err(failure) } => Event::Declined { epoch, failure },
            Message::LookedAt(found, wish) => return self.looked_at(found, wish),
            Message::Saved(written) => self.saved(written),
            Message::Scribe(answer) => self.answered(answer),
        })
    }

    fn claimed(&mut self, claimed: Claimed) -> Event {
        let attempt = claimed.journal.attempt();
        self.job.identity.has_had = Some(attempt);
        let restored = claimed.restored_from.as_ref().map(|checkpoint| checkpoint.epoch);
        tracing::info!(%attempt, ?restored, "the job is ours");
        self.job.shared.update(|status| status.attempt = Some(attempt.0));
        let kept = Kept::new(self.job.plan.spec.checkpoint.retained);
        self.job.shared.parallelism(claimed.parallelism);
        self.current = Some(Current::new(&claimed, kept, &self.job.plan));
        self.claimed = Some(claimed);
        Event::Claimed { attempt, restored }
    }

    fn recovered(&mut self, recovered: Recovered) -> Event {
        let Recovered { journal, kept } = recovered;
        if let Some(current) = &mut self.current {
            current.recovered(kept);
        }
        let (messages, start) = (self.messages.clone(), self.start);
        self.scribe = Some(scribe::start(&self.job.io, journal, move |answer| {
            let _gone = messages.send((start, Message::Scribe(answer)));
        }));
        Event::Settled
    }

    fn answered(&mut self, answer: Answer) -> Event {
        match answer {
            Answer::Owned(permit) => {
                let epoch = permit.epoch();
                if let Some(current) = &mut self.current {
                    current.owned(permit);
                }
                Event::Owned { epoch }
            }
            Answer::Committed(epoch) => {
                self.job.shared.metrics.committed_epoch.set(epoch.0 as i64);
                self.job.shared.update(|status| status.committed_epoch = Some(epoch.0));
                Event::Recorded { epoch }
            }
            Answer::Released => Event::Released,
            Answer::Failed { failure, sealed: true } if !self.job.identity.stand_by => Event::Refused(failure),
            Answer::Failed { failure, sealed: true } => {
                self.job.identity.deposed += 1;
                Event::Failed(failure)
            }
            Answer::Failed { failure, .. } => failed_start(failure),
        }
    }

    fn hear(&mut self, change: Change) -> Option<Event> {
        let event = match change {
            Change::Joined => {
                self.claim_when_staffed();
                self.deploy();
                self.deploy_regions();
                self.free_idle();
                None
            }
            Change::Said(worker, notice) => return self.take_in(worker, notice),
            Change::Lost { worker, name, cause } => {
                self.job.shared.worker_lost(worker);
                let loss = self.current.as_mut().map_or(Loss::Nothing, |current| current.staff.lose(worker));
                let unexplained = self.current.as_mut().and_then(|current| current.unexplained.lost(worker));
                let message = format!("worker `{name}` is lost: {cause}");
                let failure = Failure { reason: FailureReason::WorkerLost, message };
                match loss {
                    Loss::Nothing => unexplained.map(|(regions, failure)| self.regions_failed(regions, failure)),
                    Loss::Regions(mut regions) => {
                        // That was it, what else.
                        regions.extend(unexplained.into_iter().flat_map(|(regions, _)| regions));
                        Some(self.regions_failed(regions, failure))
                    }
                    Loss::Everything => Some(Event::Failed(failure)),
                }
            }
        };
        self.show_workers();
        event
    }

    fn take_in(&mut self, worker: WorkerId, Notice { attempt, run, news }: Notice) -> Option<Event> {
        let current = self.current.as_mut().filter(|current| current.attempt == attempt)?;
        let region = match run {
            // A run that has ended, or is to end, has nothing more to say.
            Some(run) => Some(current.staff.region(run)?),
            None => None,
        };
        Some(match news {
            News::Ready(restored) => {
                current.staff.ready(worker, restored);
                return self.start_when_ready().or_else(|| self.run_regions_when_ready());
            }
            // It was looked at before, and has changed since.
            News::NotReady(failure) if failure.reason == FailureReason::SourceUnfit && current.begins() => {
                Event::Failed(failure)
            }
            News::NotReady(failure) => failed_start(failure),
            News::Acked(ack) => {
                let (epoch, task) = (ack.epoch, ack.task);
                current.acked(ack);
                Event::Acked { epoch, task }
            }
            News::Declined { epoch, failure } => Event::Declined { epoch, failure },
            News::Exhausted(task) => Event::Exhausted { task },
            News::Lag { source, subtask, lag } => {
                self.job.shared.lag(&source, subtask, lag);
                return None;
            }
            News::Failed(failure) => match region {
                Some(region) => self.regions_failed([region].into(), failure),
                None => Event::Failed(failure),
            },
            News::Broken(failure) => {
                let (staff, attempt) = (&current.staff, current.attempt);
                let question = current.unexplained.broken(region?, failure, staff.workers())?;
                staff.workers().for_each(|worker| self.job.workers.order(worker, attempt, Action::Ask(question)));
                return None;
            }
            News::Answered(question) => {
                let (regions, failure) = current.unexplained.answered(worker, question)?;
                self.regions_failed(regions, failure)
            }
            News::Ended(run) => return current.staff.ended(worker, run).then_some(Event::RegionsEnded),
            News::Published(epoch) => Event::Published { epoch: current.staff.published_by(worker, epoch)? },
            News::PublishedTo { sink, epoch } => {
                if let Some(epoch) = current.published_to(worker, &sink, epoch) {
                    self.order(Order::CommittedTo { sink, epoch });
                }
                return None;
            }
            News::Tried { sink, failure } => {
                self.job.shared.sink_tried(Some(worker), &sink, failure);
                return None;
            }
            // Waited for where it was asked for.
            News::Cancelled => return None,
        })
    }
}

#[cfg(test)]
mod tests;
