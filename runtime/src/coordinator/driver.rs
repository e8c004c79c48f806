//! Carries out what the machine decides, and tells it what came of it.
//!
//! One loop owns everything. Work that takes time runs beside it and answers with a [`Message`] that names its start, so
//! that an answer of a start that is over is known as such.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tidegate_crds::{
    OnCancellation,
    api::{CheckpointStatus, Failure, FailureReason, StopPurpose, StopRequest},
};
use tokio::{
    runtime::Handle,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
};

use super::{
    attempt::Current,
    event::{Effect, Event, Outcome},
    machine::Machine,
    owner::HttpNeighbours,
    publish::Target,
    recover::{RecoverError, Recovered, recover},
    restart::Restart,
    scribe::{self, Answer, Order},
    shared::Shared,
};
use crate::{
    checkpoint::{
        claim::{self, ClaimError, Claimed, Claiming, Identity},
        collect,
        log::Ending,
        record::CheckpointRef,
        store::Store,
    },
    env,
    failure::Reason,
    fault,
    ids::Epoch,
    job::{JobPlan, SinkTarget},
    worker::{
        deploy::{DeployError, Deployment, Running},
        report::{Control, Report},
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
    pub shared: Arc<Shared>,
    pub io: Handle,
}

/// What came of something that was started.
enum Message {
    Claimed(Result<Claiming, ClaimError>),
    Recovered(Result<Box<Recovered>, RecoverError>),
    Deployed(Result<Running, DeployError>),
    Written { epoch: Epoch, result: Result<CheckpointRef, Failure> },
    Scribe(Answer),
}

struct Loop {
    job: Coordinator,
    machine: Machine,
    messages: UnboundedSender<(u64, Message)>,
    /// Counts starts of the job.
    start: u64,
    started_at: Duration,
    claimed: Option<Claimed>,
    scribe: Option<UnboundedSender<Order>>,
    current: Option<Current>,
    reports: UnboundedReceiver<Report>,
    /// Work of this start that ends with it.
    work: JoinSet<()>,
    cancelled: bool,
}

impl Coordinator {
    /// Runs the job to its end.
    pub async fn run(self, mut stop: UnboundedReceiver<StopRequest>) -> Outcome {
        let machine = Machine::new(self.plan.spec.checkpoint.clone(), Restart::new(&self.plan.spec.restart));
        let (messages, mut inbox) = unbounded_channel();
        let mut this = Loop {
            job: self,
            machine,
            messages,
            start: 0,
            started_at: Duration::ZERO,
            claimed: None,
            scribe: None,
            current: None,
            reports: unbounded_channel().1,
            work: JoinSet::new(),
            cancelled: false,
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
                Some(request) = stop.recv() => {
                    this.cancelled |= request.purpose == StopPurpose::Cancel;
                    Some(Event::Stop { final_checkpoint: request.final_checkpoint })
                }
                Some((start, message)) = inbox.recv() => this.receive(start, message).await,
                Some(report) = this.reports.recv(), if this.is_deployed() => this.report(report),
                epoch = next_published(this.current.as_mut()) => Some(Event::Published { epoch }),
                () = wake => Some(Event::Tick),
            };
        }
    }
}

/// A start that failed: tried again as the restart strategy says, but for one that the same job can never bring off.
fn failed_start(error: &impl Reason) -> Event {
    let failure = error.failure();
    if failure.reason.may_pass() { Event::Failed(failure) } else { Event::Refused(failure) }
}

async fn next_published(current: Option<&mut Current>) -> Epoch {
    match current {
        Some(current) => current.lanes.next_published().await,
        None => std::future::pending().await,
    }
}

impl Loop {
    /// Tasks may report before the answer to their deployment is here; the machine wants to hear the answer first.
    fn is_deployed(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.running.is_some())
    }

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
        let (restarts, failure) = (self.machine.restarts, self.machine.failure.clone());
        self.job.shared.metrics.pending_epochs.set(pending as i64);
        self.job.shared.update(|status| {
            status.phase = phase;
            status.pending_epochs = pending;
            status.restarts = restarts;
            status.failure = failure;
        });
    }

    /// The last thing to do; only then does the status say that the job has ended.
    async fn end(&self, outcome: &Outcome) {
        let delete = self.job.plan.spec.checkpoint.on_cancellation == OnCancellation::Delete;
        if delete && self.cancelled && *outcome == Outcome::Stopped {
            self.job.shared.alive_during(self.delete()).await;
        }
        self.show();
    }

    /// Deletes what the job has kept, if this process ended it cleanly and nobody needs it any more.
    async fn delete(&self) {
        let store = self.job.store.as_ref();
        let newest = match claim::read_newest(store).await {
            Ok(newest) => newest,
            Err(error) => {
                let error = crate::error_chain(&error);
                tracing::warn!(error, "the log can't be read, so the checkpoints stay");
                return;
            }
        };
        let is_ours = newest.is_some_and(|log| {
            Some(log.attempt) == self.machine.attempt() && matches!(log.ending, Some(Ending::Released { .. }))
        });
        if !is_ours {
            tracing::warn!("the job's last attempt is not one that this process ended, so the checkpoints stay");
        } else if self.machine.pending() > 0 {
            tracing::warn!(
                "output waits to be published, so the checkpoints stay; start the job once more to finish it"
            );
        } else {
            collect::delete_all(store).await;
        }
    }

    /// Does what can be done at once, starts the rest.
    async fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Claim => self.claim(),
            Effect::Settle => self.settle(),
            Effect::Deploy => self.deploy(),
            Effect::Trigger { barrier, trigger } => {
                tracing::debug!(epoch = %barrier.epoch, ?trigger, "checkpoint triggered");
                if let Some(current) = &mut self.current {
                    current.triggered(barrier.epoch, trigger);
                }
                self.tell(Control::Trigger(barrier));
            }
            Effect::Write { epoch } => self.write(epoch),
            Effect::Own { epoch, trigger } => {
                let written = self.current.as_mut().and_then(|current| current.reference(epoch));
                if let Some(checkpoint) = written {
                    self.order(Order::Own { checkpoint, trigger });
                }
            }
            Effect::Completed { epoch, started_at } => return self.completed(epoch, started_at),
            Effect::Discard { epoch, cause, started_at } => self.discard(epoch, cause, started_at),
            Effect::Record { epoch } => {
                if let Some(current) = &mut self.current {
                    current.published(epoch);
                }
                self.order(Order::Committed(epoch));
            }
            Effect::Pause => {
                tracing::warn!("too many epochs wait to be published: the sources pause until the sinks catch up");
                self.tell(Control::Pause);
            }
            Effect::Resume => {
                tracing::info!("the sinks have caught up: the sources go on");
                self.tell(Control::Resume);
            }
            Effect::Abort => return Some(self.abort().await),
            Effect::Release { finished } => {
                if !self.order(Order::Release { finished }) {
                    // Nobody can write the attempt's end any more; a successor will ask, and find us gone.
                    return Some(Event::Released);
                }
            }
            Effect::Done(_) => {}
        }
        None
    }

    fn spawn(&mut self, work: impl Future<Output = Message> + Send + 'static) {
        let (messages, start) = (self.messages.clone(), self.start);
        let answered = async move {
            let message = work.await;
            // The loop is gone when the job has ended.
            let _gone = messages.send((start, message));
        };
        self.work.spawn_on(answered, &self.job.io);
    }

    fn tell(&self, control: Control) {
        let running = self.current.as_ref().and_then(|current| current.running.as_ref());
        for task in running.iter().flat_map(|running| &running.controls) {
            // A task that is gone has reported why.
            let _gone = task.send(control);
        }
    }

    /// False when the scribe is gone; it has answered why.
    fn order(&self, order: Order) -> bool {
        self.scribe.as_ref().is_some_and(|scribe| scribe.send(order).is_ok())
    }

    fn claim(&mut self) {
        self.start += 1;
        self.started_at = env::monotonic();
        self.scribe = None;
        let (store, identity) = (self.job.store.clone(), self.job.identity.clone());
        let (neighbours, plan) = (HttpNeighbours::new(self.job.shared.clone()), self.job.plan.clone());
        self.spawn(async move { Message::Claimed(claim::claim(store, &identity, &neighbours, plan.as_ref()).await) });
    }

    fn settle(&mut self) {
        let Some(claimed) = self.claimed.take() else { return };
        let (plan, store, targets) = (self.job.plan.clone(), self.job.store.clone(), self.targets());
        let preflight = std::mem::take(&mut self.job.preflight);
        self.spawn(async move {
            let asked = async { if preflight { plan.preflight().await.map_err(RecoverError::from) } else { Ok(()) } };
            let recovered = recover(plan.clone(), store, targets, claimed);
            Message::Recovered(tokio::try_join!(asked, recovered).map(|((), recovered)| Box::new(recovered)))
        });
    }

    fn targets(&self) -> Vec<Target> {
        let published = self.job.plan.sinks.iter().filter_map(|(sink, target)| match target {
            SinkTarget::Published(publisher) => Some((sink.clone(), publisher.clone())),
            SinkTarget::Direct(_) => None,
        });
        published
            .map(|(sink, publisher)| Target {
                sink,
                publisher,
                store: self.job.store.clone(),
                shared: self.job.shared.clone(),
            })
            .collect()
    }

    fn deploy(&mut self) {
        let (reports, inbox) = unbounded_channel();
        self.reports = inbox;
        let Some(current) = &mut self.current else { return };
        let restored = std::mem::take(&mut current.restored);
        let deployment = Deployment {
            plan: self.job.plan.clone(),
            attempt: current.attempt,
            lineage: current.lineage.clone(),
            store: self.job.store.clone(),
            io: self.job.io.clone(),
            reports,
        };
        self.spawn(async move { Message::Deployed(deployment.start(restored).await) });
    }

    fn write(&mut self, epoch: Epoch) {
        let Some(current) = &mut self.current else { return };
        let manifest = current.manifest(epoch, &self.job.plan, self.job.identity.claimant.revision);
        let store = self.job.store.clone();
        self.spawn(async move {
            let written = async {
                let (bytes, reference) = manifest
                    .encode()
                    .map_err(|error| Failure { reason: FailureReason::TaskFailed, message: error.to_string() })?;
                fault::reach("before-manifest");
                store.put(&reference.manifest, bytes).await.map_err(|error| error.failure())?;
                fault::reach("after-manifest");
                Ok(reference)
            };
            Message::Written { epoch, result: written.await }
        });
    }

    fn completed(&mut self, epoch: Epoch, started_at: u64) -> Option<Event> {
        let store = self.job.store.clone();
        let current = self.current.as_mut()?;
        let done = current.completed(epoch)?;
        let duration_ms = (env::monotonic().as_millis() as u64).saturating_sub(started_at);
        let metrics = &self.job.shared.metrics;
        metrics.checkpoints_completed.inc();
        metrics.checkpoint_seconds.observe(duration_ms as f64 / 1000.0);
        metrics.checkpoint_bytes.set(done.bytes as i64);
        metrics.checkpoint_epoch.set(epoch.0 as i64);
        tracing::debug!(%epoch, duration_ms, bytes = done.bytes, rows = done.rows, "checkpoint completed");
        self.job.shared.checkpoint(CheckpointStatus {
            epoch: epoch.0,
            started_at_ms: env::wall_clock_ms().saturating_sub(duration_ms),
            duration_ms,
            bytes: done.bytes,
            rows: done.rows,
            manifest: Some(done.manifest.to_string()),
            failure: None,
        });
        let nobody_publishes = current.lanes.is_empty();
        self.tell(Control::Completed(epoch));
        self.job.io.spawn(collect::delete(store, done.garbage));
        nobody_publishes.then_some(Event::Published { epoch })
    }

    fn discard(&mut self, epoch: Epoch, cause: String, started_at: u64) {
        if let Some(current) = &mut self.current {
            current.discard(epoch);
        }
        let duration_ms = (env::monotonic().as_millis() as u64).saturating_sub(started_at);
        tracing::warn!(%epoch, cause, "checkpoint failed");
        self.job.shared.metrics.checkpoints_failed.inc();
        self.job.shared.checkpoint(CheckpointStatus {
            epoch: epoch.0,
            started_at_ms: env::wall_clock_ms().saturating_sub(duration_ms),
            duration_ms,
            bytes: 0,
            rows: 0,
            manifest: None,
            failure: Some(cause),
        });
    }

    async fn abort(&mut self) -> Event {
        if let Some(failure) = &self.machine.failure {
            tracing::warn!(reason = ?failure.reason, cause = failure.message, "the attempt has failed");
        }
        self.work.shutdown().await;
        self.claimed = None;
        if let Some(current) = self.current.take()
            && let Some(running) = current.running
        {
            running.slots.stop().await;
        }
        Event::Aborted
    }

    async fn receive(&mut self, start: u64, message: Message) -> Option<Event> {
        if let Message::Deployed(Ok(running)) = message {
            return match &mut self.current {
                Some(current) if start == self.start => {
                    let (subtasks, sources) = (running.subtasks, running.sources);
                    current.running = Some(running);
                    self.show_recovered();
                    Some(Event::Deployed { subtasks, sources })
                }
                _ => {
                    running.slots.stop().await;
                    None
                }
            };
        }
        if start != self.start {
            return None;
        }
        if matches!(message, Message::Claimed(_)) {
            self.job.shared.waits_for(None);
        }
        Some(match message {
            Message::Claimed(Ok(Claiming::Ours(claimed))) => self.claimed(claimed),
            Message::Claimed(Ok(Claiming::Finished { attempt })) => {
                tracing::info!(%attempt, "the job has finished before: there is nothing left to read or to publish");
                Event::NothingLeft
            }
            // Without `--stand-by`, who is told that the job is taken does not wait.
            Message::Claimed(Err(error @ ClaimError::Owned { .. })) => Event::Refused(error.failure()),
            Message::Claimed(Err(error)) => failed_start(&error),
            Message::Recovered(Ok(recovered)) => self.recovered(*recovered),
            Message::Recovered(Err(error)) => failed_start(&error),
            Message::Deployed(Err(error)) => failed_start(&error),
            Message::Deployed(Ok(_)) => return None,
            Message::Written { epoch, result: Ok(reference) } => {
                if let Some(current) = &mut self.current {
                    current.written(epoch, reference);
                }
                Event::Written { epoch }
            }
            Message::Written { epoch, result: Err(failure) } => Event::Declined { epoch, failure },
            Message::Scribe(answer) => self.answered(answer),
        })
    }

    fn claimed(&mut self, claimed: Claimed) -> Event {
        let attempt = claimed.journal.attempt();
        let restored = claimed.restored_from.as_ref().map(|checkpoint| checkpoint.epoch);
        tracing::info!(%attempt, ?restored, "the job is ours");
        self.job.shared.update(|status| status.attempt = Some(attempt.0));
        self.claimed = Some(claimed);
        Event::Claimed { attempt, restored }
    }

    fn recovered(&mut self, recovered: Recovered) -> Event {
        let Recovered { journal, lineage, restored, kept } = recovered;
        self.current = Some(Current::new(journal.attempt(), lineage, restored, kept, self.targets(), &self.job.io));
        let (messages, start) = (self.messages.clone(), self.start);
        self.scribe = Some(scribe::start(&self.job.io, journal, move |answer| {
            let _gone = messages.send((start, Message::Scribe(answer)));
        }));
        Event::Settled
    }

    fn show_recovered(&self) {
        let seconds = env::monotonic().saturating_sub(self.started_at).as_secs_f64();
        tracing::info!(seconds, "the job runs");
        self.job.shared.update(|status| status.recovery_seconds = Some(seconds));
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
            Answer::Failed { failure, .. } => Event::Failed(failure),
        }
    }

    fn report(&mut self, report: Report) -> Option<Event> {
        Some(match report {
            Report::Acked(ack) => {
                let (epoch, task) = (ack.epoch, ack.task);
                self.current.as_mut()?.acked(ack);
                Event::Acked { epoch, task }
            }
            Report::Declined { epoch, failure } => Event::Declined { epoch, failure },
            Report::Exhausted(task) => Event::Exhausted { task },
            // After the last barrier; what counts is that it is acknowledged.
            Report::Ended(_) => return None,
            Report::Failed(failure) => Event::Failed(failure),
        })
    }
}
