//! What the machine asks for, done.

use std::{collections::BTreeMap, time::Duration};

use tidegate_crds::api::{
    CheckpointDetails, CheckpointStatus, CheckpointTimes, Failure, FailureReason, InFlightRecords, SubtaskCheckpoint,
};

use super::{
    attempt::{Current, Share},
    driver::{Loop, Message},
    event::{Effect, Event},
    owner::HttpNeighbours,
    place::{Former, place},
    recover::{self, RecoverError},
    scribe::Order,
    starts::{find, unknown},
    workers::{WorkerId, Workers},
};
use crate::{
    checkpoint::{
        claim::{self, Claimed},
        collect,
        destination::awaited,
        manifest::Manifest,
        record::Trigger,
        starts::{Beginner, Starts},
    },
    env,
    failure::Reason,
    fault,
    ids::{Epoch, RegionId, Run, SubtaskIndex},
    worker::{
        protocol::{Action, Assignment, Control},
        publish::targets,
        topology::{TaskShape, Topology},
    },
};

/// So long a first start waits, with slots enough, for workers that are expected, so that subtasks are spread over all.
const SPREAD_PATIENCE: Duration = Duration::from_secs(3);

impl Loop {
    /// Does what can be done at once, starts the rest.
    pub(super) async fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Claim => {
                self.claim_awaited = true;
                self.claim_when_staffed();
            }
            Effect::Settle => self.settle(),
            Effect::Start => {
                self.is_settled = true;
                return self.start_when_ready();
            }
            Effect::Trigger { barrier, trigger } => {
                tracing::debug!(epoch = %barrier.epoch, ?trigger, "checkpoint triggered");
                if let Some(current) = &mut self.current {
                    current.triggered(barrier.epoch, trigger);
                }
                if trigger == Trigger::Drain {
                    self.tell(Control::Drain);
                }
                self.tell(Control::Trigger(barrier));
            }
            Effect::Overtake { epoch } => {
                tracing::debug!(%epoch, "the checkpoint's barriers wait no more");
                self.direct(Action::Overtake(epoch));
            }
            Effect::EndRegions { regions, failure } => return self.end_regions(&regions, &failure),
            Effect::StartRegions { regions } => self.start_regions(regions),
            Effect::SavepointBegun { epoch } => self.savepoint_begun(epoch),
            Effect::Save { .. } => self.save(),
            Effect::SavepointFailed { cause } => self.savepoint_failed(cause),
            Effect::Write { epoch } => self.write(epoch),
            Effect::Own { epoch, trigger } => {
                self.wanted.owning(epoch, trigger);
                let written = self.current.as_mut().and_then(|current| current.owning(epoch));
                if let Some(checkpoint) = written {
                    self.order(Order::Own { checkpoint, trigger });
                }
            }
            Effect::Completed { epoch, started_at } => self.completed(epoch, started_at),
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
            Effect::Abort { failure } => return Some(self.abort(failure).await),
            Effect::Release { finished } => {
                let order = if !finished && self.deletes() { Order::Delete } else { Order::Release { finished } };
                if !self.order(order) {
                    // Nobody can write the attempt's end any more; a successor will ask, and find us gone.
                    return Some(Event::Released);
                }
            }
            Effect::Done(_) => {}
        }
        None
    }

    pub(super) fn spawn(&mut self, work: impl Future<Output = Message> + Send + 'static) {
        let (messages, start) = (self.messages.clone(), self.start);
        let answered = async move {
            let message = work.await;
            // The loop is gone when the job has ended.
            let _gone = messages.send((start, message));
        };
        self.work.spawn_on(answered, &self.job.io);
    }

    /// Tells every source subtask.
    fn tell(&self, control: Control) {
        self.direct(Action::Control(control));
    }

    /// Orders every worker that has subtasks.
    pub(super) fn direct(&self, action: Action) {
        if let Some(current) = &self.current {
            current.staff.workers().for_each(|worker| self.job.workers.order(worker, current.attempt, action.clone()));
        }
    }

    /// False when the scribe is gone; it has answered why.
    pub(super) fn order(&self, order: Order) -> bool {
        self.scribe.as_ref().is_some_and(|scribe| scribe.send(order).is_ok())
    }

    /// The first claim waits for slots: a version that can run nothing yet leaves the job to the one that runs it. Later
    /// ones do not, since what is owned can be published without.
    pub(super) fn claim_when_staffed(&mut self) {
        if self.claim_awaited && (self.start > 0 || self.is_staffed()) {
            self.claim_awaited = false;
            self.job.shared.waits_for(None);
            self.claim();
        }
    }

    /// Of the attempt that runs, or of the one that is to be claimed, as far as that is known.
    fn parallelism(&self) -> u32 {
        let to_claim = self.job.identity.rescaled.unwrap_or(self.job.identity.parallelism);
        self.current.as_ref().map_or(to_claim, |current| current.parallelism)
    }

    fn is_staffed(&mut self) -> bool {
        let found = self.job.workers.slots().iter().map(|(_, slots)| slots).sum();
        if found < self.parallelism() {
            self.staffed_at = None;
            self.wait_for_slots(found);
            return false;
        }
        let since = *self.staffed_at.get_or_insert_with(env::monotonic);
        self.job.workers.count() >= self.job.expected || env::monotonic() >= since + SPREAD_PATIENCE
    }

    pub(super) fn wait_for_slots(&self, found: u32) {
        let needed = self.parallelism();
        let message = format!("found {found} slots of workers, and {needed} subtasks need one each");
        if self.job.shared.waits_for(Some(Failure { reason: FailureReason::SlotsMissing, message })) {
            tracing::info!(found, needed, "waiting for workers");
        }
    }

    fn claim(&mut self) {
        self.start += 1;
        self.started_at = env::monotonic();
        self.scribe = None;
        self.is_settled = false;
        let (store, identity) = (self.job.store.clone(), self.job.identity.clone());
        let (neighbours, plan) = (HttpNeighbours::new(self.job.shared.clone()), self.job.plan.clone());
        self.spawn(async move { Message::Claimed(claim::claim(store, &identity, &neighbours, plan.as_ref()).await) });
    }

    /// Reads what the attempt goes on from.
    fn settle(&mut self) {
        let Some(claimed) = &self.claimed else { return };
        let inherited = recover::inherited(self.job.store.clone(), claimed.restored_from.clone());
        self.spawn(async move { Message::Inherited(inherited.await) });
    }

    /// Publishes what was owned. Meanwhile the workers build their subtasks, if anything runs on.
    pub(super) fn inherited(&mut self, manifest: Option<Box<Manifest>>) {
        let Some(claimed) = self.claimed.take() else { return };
        let goes_on = recover::goes_on(manifest.as_deref());
        if goes_on {
            self.find_starts(&claimed, manifest.as_deref());
        }
        let (plan, store) = (self.job.plan.clone(), self.job.store.clone());
        let targets = targets(&plan, &store, &self.tried);
        let (checkpoint, committed) = (claimed.restored_from.clone(), claimed.committed.clone());
        let preflight = goes_on && std::mem::take(&mut self.job.preflight);
        let parallelism = self.parallelism();
        self.spawn(async move {
            let asked = async {
                if preflight {
                    let awaited =
                        awaited(store.as_ref(), checkpoint.as_ref(), &committed, &plan.destinations()).await?;
                    plan.preflight(parallelism, &awaited, false).await?;
                }
                Ok::<(), RecoverError>(())
            };
            let recovered = recover::recover(plan.clone(), store.clone(), targets, claimed, manifest);
            Message::Recovered(tokio::try_join!(asked, recovered).map(|((), recovered)| Box::new(recovered)))
        });
    }

    /// Looks where the sources begin that the attempt has no checkpoint of.
    fn find_starts(&mut self, claimed: &Claimed, manifest: Option<&Manifest>) {
        let (plan, store) = (self.job.plan.clone(), self.job.store.clone());
        let unknown = unknown(&plan.graph, manifest);
        let restored = claimed.restored_from.as_ref().map(|checkpoint| checkpoint.epoch);
        let beginner = Beginner { restored, lineage: claimed.lineage.clone() };
        self.spawn(async move {
            let found = async { find(&plan, store.as_ref(), unknown?, &beginner).await };
            Message::Found(found.await)
        });
    }

    /// The workers build their subtasks.
    pub(super) fn found(&mut self, starts: Starts) {
        if let Some(current) = &mut self.current {
            current.starts = Some(starts);
        }
        self.deploy();
        self.free_idle();
        self.show_workers();
    }

    /// Gives the subtasks of an attempt that has none placed yet to workers, if these have slots enough.
    pub(super) fn deploy(&mut self) {
        let to_place = |current: &&mut Current| current.starts.is_some() && !current.staff.is_placed();
        let Some(current) = self.current.as_mut().filter(to_place) else { return };
        let places = match place(&self.job.workers.slots(), current.parallelism, &self.former) {
            Ok(places) => places,
            Err(found) => return self.wait_for_slots(found),
        };
        self.job.shared.waits_for(None);
        self.former = Former { parallelism: current.parallelism, places: places.clone() };
        let runs = current.staff.placed(places.clone());
        let workers = &self.job.workers;
        places.into_iter().for_each(|(worker, subtasks)| order_to_build(workers, current, worker, subtasks, &runs));
    }

    /// Workers that have no subtasks of an attempt that is placed need nothing of earlier ones.
    pub(super) fn free_idle(&self) {
        let Some(current) = self.current.as_ref().filter(|current| current.staff.is_placed()) else { return };
        for (worker, _) in self.job.workers.slots() {
            if current.staff.subtasks(worker).is_empty() {
                self.job.workers.order(worker, current.attempt, Action::StandBy);
            }
        }
    }

    /// Runs the tasks, once everything is settled and every worker has built its share.
    pub(super) fn start_when_ready(&mut self) -> Option<Event> {
        let current = self.current.as_ref()?;
        if !self.is_settled || !current.staff.all_ready() {
            return None;
        }
        let (regions, restored) = (current.staff.regions().clone(), current.restored());
        self.is_settled = false;
        self.direct(Action::Start);
        let seconds = env::monotonic().saturating_sub(self.started_at).as_secs_f64();
        tracing::info!(seconds, "the job runs");
        self.job.shared.started(seconds, restored);
        let (tasks, parallelism) = (Topology::of(&self.job.plan.graph).tasks, self.parallelism() as usize);
        let sources = tasks.iter().filter(|task| task.inputs.is_empty()).count();
        Some(Event::Started { regions, sources: sources * parallelism })
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

    fn completed(&mut self, epoch: Epoch, started_at: u64) {
        self.wanted.owned(epoch);
        let store = self.job.store.clone();
        let Some(done) = self.current.as_mut().and_then(|current| current.completed(epoch)) else { return };
        let duration_ms = (env::monotonic().as_millis() as u64).saturating_sub(started_at);
        let metrics = &self.job.shared.metrics;
        metrics.checkpoints_completed.inc();
        metrics.checkpoint_seconds.observe(duration_ms as f64 / 1000.0);
        metrics.checkpoint_bytes.set(done.bytes as i64);
        metrics.checkpoint_epoch.set(epoch.0 as i64);
        let unaligned = unaligned(&done.shares);
        metrics.checkpoint_in_flight_bytes.set(unaligned.map_or(0, |rows| rows.bytes as i64));
        metrics.checkpoint_in_flight_rows.set(unaligned.map_or(0, |rows| rows.rows as i64));
        metrics.checkpoints_unaligned.inc_by(u64::from(unaligned.is_some()));
        for Share { times, .. } in &done.shares {
            metrics.checkpoint_alignment_seconds.observe(times.alignment_ms as f64 / 1000.0);
            metrics.checkpoint_sync_seconds.observe(times.sync_ms as f64 / 1000.0);
            metrics.checkpoint_async_seconds.observe(times.async_ms as f64 / 1000.0);
        }
        tracing::debug!(%epoch, duration_ms, bytes = done.bytes, rows = done.rows, "checkpoint completed");
        let status = CheckpointStatus {
            epoch: epoch.0,
            started_at_ms: env::wall_clock_ms().saturating_sub(duration_ms),
            duration_ms,
            bytes: done.bytes,
            full_bytes: done.full_bytes,
            rows: done.rows,
            longest: longest(&done.shares),
            unaligned,
            manifest: Some(done.manifest.to_string()),
            failure: None,
        };
        self.show_checkpoint(status, done.shares);
        self.direct(Action::Completed(done.grant));
        self.delete_claimed_origin();
        self.job.io.spawn(collect::delete(store, done.garbage));
    }

    fn discard(&mut self, epoch: Epoch, cause: String, started_at: u64) {
        let (shares, garbage) = self.current.as_mut().map(|current| current.discard(epoch)).unwrap_or_default();
        self.direct(Action::Discard(epoch));
        self.job.io.spawn(collect::delete(self.job.store.clone(), garbage));
        let duration_ms = (env::monotonic().as_millis() as u64).saturating_sub(started_at);
        tracing::warn!(%epoch, cause, "checkpoint failed");
        self.job.shared.metrics.checkpoints_failed.inc();
        let status = CheckpointStatus {
            epoch: epoch.0,
            started_at_ms: env::wall_clock_ms().saturating_sub(duration_ms),
            duration_ms,
            bytes: 0,
            full_bytes: 0,
            rows: 0,
            longest: longest(&shares),
            unaligned: unaligned(&shares),
            manifest: None,
            failure: Some(cause),
        };
        self.show_checkpoint(status, shares);
    }

    fn show_checkpoint(&self, checkpoint: CheckpointStatus, shares: Vec<Share>) {
        let graph = &self.job.plan.graph;
        let name = |task: &TaskShape| Some(graph.nodes.get(task.nodes.first()?.0)?.id.0.clone());
        let names: Vec<Option<String>> = Topology::of(graph).tasks.iter().map(name).collect();
        let subtask = |share: Share| SubtaskCheckpoint {
            task: names.get(share.task.task).cloned().flatten().unwrap_or_default(),
            subtask: share.task.subtask.0,
            times: share.times,
            bytes: share.bytes,
            unaligned: share.unaligned,
        };
        let subtasks = shares.into_iter().map(subtask).collect();
        self.job.shared.checkpoint(CheckpointDetails { checkpoint, subtasks });
    }

    async fn abort(&mut self, failure: Option<Failure>) -> Event {
        if let Some(failure) = failure {
            tracing::warn!(reason = ?failure.reason, cause = failure.message, "the attempt has failed");
        }
        self.work.shutdown().await;
        self.claimed = None;
        if self.job.shared.savepoint_in_progress().is_some() && !self.machine.keeps_savepoint() {
            self.savepoint_failed("the attempt that took it has ended".to_owned());
        }
        if let Some(current) = self.current.take() {
            self.job.workers.cancel(current.attempt, current.staff.workers().collect()).await;
        }
        self.job.shared.nobody_runs();
        self.show_workers();
        Event::Aborted
    }
}

/// Has a worker build its subtasks of these regions, from the newest checkpoint.
pub(super) fn order_to_build(
    workers: &Workers,
    current: &Current,
    worker: WorkerId,
    subtasks: Vec<SubtaskIndex>,
    runs: &BTreeMap<RegionId, Run>,
) {
    let at = |(worker, subtasks): (WorkerId, Vec<SubtaskIndex>)| {
        let exchange = workers.exchange(worker)?;
        Some(subtasks.into_iter().map(move |subtask| (subtask, exchange.clone())))
    };
    let elsewhere = current.staff.places().into_iter().filter(|(other, _)| *other != worker);
    let peers = elsewhere.filter_map(at).flatten().collect();
    let assignment = Assignment {
        lineage: current.lineage.clone(),
        parallelism: current.parallelism,
        restored_from: current.newest.clone(),
        starts: current.starts.clone().unwrap_or_default(),
        runs: runs.clone(),
        subtasks,
        peers,
    };
    workers.order(worker, current.attempt, Action::Deploy(assignment));
}

/// What barriers have overtaken, of all subtasks; `None` when every barrier was aligned.
fn unaligned(shares: &[Share]) -> Option<InFlightRecords> {
    let add = |sum: InFlightRecords, one: InFlightRecords| InFlightRecords {
        rows: sum.rows + one.rows,
        bytes: sum.bytes + one.bytes,
    };
    shares.iter().filter_map(|share| share.unaligned).reduce(add)
}

/// The times of the subtask that took longest for each.
fn longest(shares: &[Share]) -> CheckpointTimes {
    let most = |of: fn(&CheckpointTimes) -> u64| shares.iter().map(|share| of(&share.times)).max().unwrap_or_default();
    CheckpointTimes {
        alignment_ms: most(|times| times.alignment_ms),
        sync_ms: most(|times| times.sync_ms),
        async_ms: most(|times| times.async_ms),
    }
}
