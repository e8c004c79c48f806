//! A worker's one loop: takes orders, watches its subtasks, and publishes what they wrote once it is owned.
//!
//! It has one attempt at a time; an order of a newer one ends the one before. What a checkpoint must be told when it has
//! completed, where rows now are and which chunks to publish, stays here and does not travel. What it has of the newest
//! checkpoint it keeps from one attempt to the next ([`AtHand`]).

use std::{collections::BTreeMap, sync::Arc};

use tidegate_crds::api::{Failure, FailureReason, RestoredBytes};
use tokio::{
    runtime::Handle,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
};
use tonic::transport::Channel;

use super::{
    at_hand::{AtHand, Named},
    deploy::{DeployError, Deployment, Ready},
    held::{Held, HeldChunk, Shares},
    protocol::{Action, Assignment, Control, News, Notice, Order},
    publish::{Lanes, PendingChunk, Tried, targets},
    report::Report,
    restore::{Restored, Takes},
    slot::Slots,
    supply::Supply,
    wiring::tell,
};
use crate::{
    checkpoint::{Grant, manifest::Manifest, store::Store},
    exchange::{
        remote::{
            post::Post,
            send::{Leaving, connection},
        },
        urge::Urge,
    },
    failure::Reason,
    ids::{Attempt, Epoch},
    job::JobPlan,
    operator::KeyRange,
    state::Backend,
    tls::Security,
};

/// What every worker of a job has.
#[derive(Clone)]
pub struct Worker {
    pub plan: Arc<JobPlan>,
    pub store: Arc<dyn Store>,
    /// Where state is kept.
    pub backend: Backend,
    /// What is kept of it from one attempt to the next.
    pub at_hand: AtHand,
    /// Where rows from other workers come in.
    pub post: Post,
    /// How rows go to other workers.
    pub security: Security,
    /// The runtime for uploads, publishers and what goes to other workers.
    pub io: Handle,
}

impl Worker {
    /// Takes orders until nobody can give any.
    pub async fn run(self, mut orders: UnboundedReceiver<Order>, notices: UnboundedSender<Notice>) {
        let mut current: Option<Current> = None;
        loop {
            let happened = tokio::select! {
                biased;
                order = orders.recv() => Happened::Ordered(order),
                happened = next(current.as_mut()) => happened,
            };
            match happened {
                Happened::Ordered(None) => break,
                Happened::Ordered(Some(Order { attempt, action: Action::Deploy(assignment) })) => {
                    if let Some(before) = current.take() {
                        before.end().await;
                    }
                    current = Some(Current::new(self.clone(), attempt, assignment, notices.clone()));
                }
                Happened::Ordered(Some(Order { attempt, action: Action::Cancel })) => {
                    if let Some(current) = current.take_if(|current| current.attempt == attempt) {
                        current.end().await;
                    }
                    // The coordinator is gone when nobody listens.
                    let _gone = notices.send(Notice { attempt, news: News::Cancelled });
                }
                Happened::Ordered(Some(Order { attempt, action: Action::StandBy })) => {
                    if let Some(before) = current.take_if(|current| current.attempt < attempt) {
                        before.end().await;
                    }
                    if current.is_none() {
                        self.at_hand.forget();
                    }
                }
                Happened::Ordered(Some(Order { attempt, action })) => {
                    if let Some(current) = current.as_mut().filter(|current| current.attempt == attempt) {
                        current.obey(action);
                    }
                }
                other => {
                    if let Some(current) = &mut current {
                        current.take_in(other);
                    }
                }
            }
        }
        if let Some(current) = current {
            current.end().await;
        }
    }
}

enum Happened {
    Ordered(Option<Order>),
    Built(Result<(Ready, RestoredBytes), DeployError>),
    Reported(Report),
    Published(Epoch),
    Tried(Tried),
}

async fn next(current: Option<&mut Current>) -> Happened {
    match current {
        Some(current) => current.next().await,
        None => std::future::pending().await,
    }
}

/// The attempt that this worker has a share of.
struct Current {
    worker: Worker,
    attempt: Attempt,
    notices: UnboundedSender<Notice>,
    /// Builds the subtasks.
    building: JoinSet<Result<(Ready, RestoredBytes), DeployError>>,
    ready: Option<Ready>,
    slots: Option<Slots>,
    /// Carries what goes to other workers.
    carriers: JoinSet<()>,
    controls: Vec<UnboundedSender<Control>>,
    /// Of every subtask.
    urges: Vec<Arc<Urge>>,
    report: UnboundedSender<Report>,
    reports: UnboundedReceiver<Report>,
    shares: Shares,
    lanes: Lanes,
    tries: UnboundedReceiver<Tried>,
}

impl Current {
    fn new(worker: Worker, attempt: Attempt, assignment: Assignment, notices: UnboundedSender<Notice>) -> Self {
        let (report, reports) = unbounded_channel();
        let (tried, tries) = unbounded_channel();
        let lanes = Lanes::start(targets(&worker.plan, &worker.store, &tried), &worker.io);
        let mut building = JoinSet::new();
        building.spawn_on(build(worker.clone(), attempt, assignment, report.clone()), &worker.io);
        Self {
            worker,
            attempt,
            notices,
            building,
            ready: None,
            slots: None,
            carriers: JoinSet::new(),
            controls: Vec::new(),
            urges: Vec::new(),
            report,
            reports,
            shares: Shares::default(),
            lanes,
            tries,
        }
    }

    /// What happens next by itself. Cancel safe.
    async fn next(&mut self) -> Happened {
        tokio::select! {
            biased;
            Some(built) = self.building.join_next() => Happened::Built(built.unwrap_or_else(|panic| {
                Err(DeployError::Panicked(panic.to_string()))
            })),
            Some(report) = self.reports.recv() => Happened::Reported(report),
            Some(tried) = self.tries.recv() => Happened::Tried(tried),
            epoch = self.lanes.next_published() => Happened::Published(epoch),
        }
    }

    fn obey(&mut self, action: Action) {
        match action {
            Action::Start => self.start(),
            Action::Control(control) => self.control(control),
            Action::Overtake(epoch) => self.urges.iter().for_each(|urge| urge.overtake(epoch)),
            Action::Completed(grant) => self.completed(grant),
            Action::Discard(epoch) => self.shares.give_up(epoch),
            // Not for an attempt that is there.
            Action::Deploy(_) | Action::StandBy | Action::Cancel => {}
        }
    }

    fn take_in(&mut self, happened: Happened) {
        let news = match happened {
            Happened::Built(Ok((ready, restored))) => {
                self.ready = Some(ready);
                News::Ready(restored)
            }
            Happened::Built(Err(error)) => News::NotReady(error.failure()),
            Happened::Reported(Report::Acked(ack, held)) => {
                self.shares.add(ack.epoch, held);
                News::Acked(ack)
            }
            Happened::Reported(Report::Declined { epoch, failure }) => News::Declined { epoch, failure },
            Happened::Reported(Report::Exhausted(task)) => News::Exhausted(task),
            Happened::Reported(Report::Lag { source, subtask, lag }) => News::Lag { source, subtask, lag },
            Happened::Reported(Report::Failed(failure)) => News::Failed(failure),
            // After the last barrier; what counts is that it is acknowledged.
            Happened::Reported(Report::Ended(_)) | Happened::Ordered(_) => return,
            Happened::Published(epoch) => News::Published(epoch),
            Happened::Tried(Tried { sink, failure }) => News::Tried { sink, failure },
        };
        self.tell(news);
    }

    fn start(&mut self) {
        let Some(mut ready) = self.ready.take() else { return };
        self.controls.clone_from(&ready.controls);
        self.urges.clone_from(&ready.urges);
        if let Err(error) = self.carry(std::mem::take(&mut ready.leaving)) {
            return self.tell(failed(format!("failed to connect to another worker: {error}")));
        }
        match ready.start(&self.report) {
            Ok(slots) => self.slots = Some(slots),
            Err(error) => self.tell(failed(format!("failed to start a slot: {error}"))),
        }
    }

    /// Carries channels to other workers, over one connection to each.
    fn carry(&mut self, leaving: Vec<Leaving>) -> Result<(), tonic::transport::Error> {
        let _io = self.worker.io.enter();
        let mut connections: BTreeMap<String, Channel> = BTreeMap::new();
        for mut channel in leaving {
            let connection = match connections.get(&channel.peer) {
                Some(connection) => connection.clone(),
                None => connections
                    .entry(channel.peer.clone())
                    .or_insert(connection(&channel.peer, &self.worker.security)?)
                    .clone(),
            };
            let reports = self.report.clone();
            self.carriers.spawn(async move {
                if let Err(error) = channel.carry(connection).await {
                    // The channel stays until then, or its sending task would have the first word.
                    tell(error, reports).await;
                }
                drop(channel);
            });
        }
        Ok(())
    }

    fn control(&self, control: Control) {
        for task in &self.controls {
            // A task that is gone has reported why.
            let _gone = task.send(control);
        }
    }

    /// Keeps what the checkpoint has at hand, and hands its chunks to the sinks, but for those of earlier ones.
    fn completed(&mut self, grant: Grant) {
        let epoch = grant.epoch();
        let (mut chunks, mut share) = (Vec::new(), Named::default());
        for Held { parts, files, chunks: written } in self.shares.complete(epoch) {
            share.add(Named { parts, files });
            let added = written.into_iter().filter(|chunk| chunk.rows.completed());
            chunks.extend(added.map(|HeldChunk { reference, chunk, .. }| PendingChunk { reference, rows: chunk }));
        }
        self.worker.at_hand.completed(share);
        self.control(Control::Completed(epoch));
        if self.lanes.is_empty() {
            self.tell(News::Published(epoch));
        } else {
            self.lanes.publish(&grant.permit(self.worker.store.clone()), chunks);
        }
    }

    fn tell(&self, news: News) {
        // The coordinator is gone when nobody listens.
        let _gone = self.notices.send(Notice { attempt: self.attempt, news });
    }

    /// Ends all subtasks, and waits until they are gone.
    async fn end(mut self) {
        self.building.shutdown().await;
        self.worker.post.forget(self.attempt);
        if let Some(slots) = self.slots.take() {
            slots.stop().await;
        }
        self.carriers.shutdown().await;
        self.worker.at_hand.ended(self.shares.left());
    }
}

fn failed(message: String) -> News {
    News::Failed(Failure { reason: FailureReason::TaskFailed, message })
}

/// Builds a worker's share of an attempt, with its state.
async fn build(
    worker: Worker,
    attempt: Attempt,
    assignment: Assignment,
    reports: UnboundedSender<Report>,
) -> Result<(Ready, RestoredBytes), DeployError> {
    let Worker { plan, store, backend, at_hand, post, io, .. } = worker;
    let Assignment { lineage, parallelism, restored_from, subtasks, peers } = assignment;
    let supply = Supply::new(store.clone(), at_hand.clone());
    let restored = match restored_from {
        Some(checkpoint) => {
            let manifest = Manifest::read(store.as_ref(), &checkpoint).await?;
            let takes = Takes::of(&plan);
            let max_parallelism = takes.max_parallelism;
            let range = |subtask: &_| KeyRange { subtask: *subtask, parallelism, max_parallelism };
            let ranges: Vec<KeyRange> = subtasks.iter().map(range).collect();
            at_hand.retain(&manifest);
            let restored = Restored::load(&supply, &manifest, &takes, &ranges, &backend).await?;
            let RestoredBytes { local_memory_bytes, local_disk_bytes, remote_bytes } = supply.came();
            tracing::info!(epoch = %manifest.epoch, local_memory_bytes, local_disk_bytes, remote_bytes, "state is loaded");
            restored
        }
        None => {
            at_hand.forget();
            Restored::default()
        }
    };
    let subtasks = subtasks.into_iter().collect();
    let deployment =
        Deployment { plan, attempt, lineage, parallelism, store, backend, subtasks, peers, post, io, reports };
    Ok((deployment.build(restored).await?, supply.came()))
}

#[cfg(test)]
mod tests;
