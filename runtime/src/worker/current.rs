//! A worker's share of the attempt: the runs that it has subtasks of, and what outlives them.
//!
//! What a run has uploaded for a checkpoint belongs to the attempt: the checkpoint may be owned when the run has ended, and
//! then its rows are published from here all the same. So shares of checkpoints and the lanes to the sinks are the
//! attempt's, and a run has nothing but its subtasks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::try_join_all;
use tidegate_crds::api::{Failure, RestoredBytes};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
};

use super::{
    adopt::adopt,
    at_hand::Named,
    deploy::{DeployError, Deployment, Ready},
    held::{Held, HeldChunk, Shares},
    protocol::{Action, Assignment, Control, News, Notice, TaskId},
    publish::{Lanes, PendingChunk, Progress, Tried, targets},
    regions::Regions,
    report::{Report, Reports},
    restore::{Restored, Takes},
    run::Deployed,
    supervisor::Worker,
    supply::Supply,
    topology::Topology,
};
use crate::{
    checkpoint::{
        Grant,
        manifest::Manifest,
        pack::Packer,
        record::{self, Body, Record},
        store::Store,
    },
    failure::Reason,
    graph::Node,
    ids::{Attempt, OperatorId, Run, Seq},
    operator::KeyRange,
};

/// What has happened by itself.
pub enum Happened {
    Built(Result<(Vec<Ready>, RestoredBytes), DeployError>),
    Ended(Run),
    Reported(Run, Report),
    /// How far publishing has come; or a sink refuses for good.
    Published(Result<Progress, Failure>),
    Tried(Tried),
}

/// The attempt that this worker has a share of.
pub struct Current {
    worker: Worker,
    pub attempt: Attempt,
    notices: UnboundedSender<Notice>,
    /// Builds subtasks.
    building: JoinSet<Result<(Vec<Ready>, RestoredBytes), DeployError>>,
    /// The runs that count: those that are being built, too.
    counting: BTreeSet<Run>,
    /// Those that are built.
    runs: BTreeMap<Run, Deployed>,
    /// Those that are on their way out.
    ending: JoinSet<Run>,
    report: UnboundedSender<(Run, Report)>,
    reports: UnboundedReceiver<(Run, Report)>,
    /// Of all runs: what they write goes together, and stays when a run ends.
    packer: Packer,
    shares: Shares,
    lanes: Lanes,
    tries: UnboundedReceiver<Tried>,
}

impl Current {
    pub fn new(worker: Worker, attempt: Attempt, notices: UnboundedSender<Notice>) -> Self {
        let (report, reports) = unbounded_channel();
        let (tried, tries) = unbounded_channel();
        let packer = Packer::new(worker.store.clone(), worker.io.clone(), worker.backend.memory().for_uploads());
        let lanes = Lanes::start(targets(&worker.plan, &worker.store, &tried), &worker.io);
        Self {
            worker,
            attempt,
            notices,
            building: JoinSet::new(),
            counting: BTreeSet::new(),
            runs: BTreeMap::new(),
            ending: JoinSet::new(),
            report,
            reports,
            packer,
            shares: Shares::default(),
            lanes,
            tries,
        }
    }

    /// What happens next by itself. Cancel safe.
    pub async fn next(&mut self) -> Happened {
        tokio::select! {
            biased;
            Some(built) = self.building.join_next() => Happened::Built(built.unwrap_or_else(|panic| {
                Err(DeployError::Panicked(panic.to_string()))
            })),
            Some(Ok(run)) = self.ending.join_next() => Happened::Ended(run),
            Some((run, report)) = self.reports.recv() => Happened::Reported(run, report),
            Some(tried) = self.tries.recv() => Happened::Tried(tried),
            progress = self.lanes.next_published() => Happened::Published(progress),
        }
    }

    pub fn obey(&mut self, action: Action) {
        match action {
            Action::Deploy(assignment) => self.deploy(assignment),
            Action::Start => self.runs.values_mut().for_each(|run| run.start(&self.worker)),
            Action::Control(control) => self.control(control),
            Action::Overtake(epoch) => self.runs.values().for_each(|run| run.overtake(epoch)),
            Action::Completed(grant) => self.completed(grant),
            Action::Discard(epoch) => self.shares.give_up(epoch),
            Action::Ask(question) => {
                self.say_all();
                self.tell(News::Answered(question));
            }
            Action::End(runs) => runs.into_iter().for_each(|run| self.end_run(run)),
            // Not for an attempt that is there.
            Action::StandBy | Action::Cancel => {}
        }
    }

    /// Passes on what subtasks have reported so far.
    fn say_all(&mut self) {
        while let Ok((run, report)) = self.reports.try_recv() {
            self.take_in(Happened::Reported(run, report));
        }
    }

    pub fn take_in(&mut self, happened: Happened) {
        match happened {
            Happened::Built(Ok((ready, restored))) => {
                // What was to end before it was built is dropped.
                let counting =
                    ready.into_iter().map(Deployed::new).filter(|built| self.counting.contains(&built.run()));
                self.runs.extend(counting.map(|built| (built.run(), built)));
                self.tell(News::Ready(restored));
            }
            Happened::Built(Err(error)) => self.tell(News::NotReady(error.failure())),
            Happened::Ended(run) => self.tell(News::Ended(run)),
            Happened::Reported(run, report) if self.counting.contains(&run) => self.reported(run, report),
            // The late words of a run that has ended.
            Happened::Reported(..) => {}
            Happened::Published(Ok(Progress::All(epoch))) => self.tell(News::Published(epoch)),
            Happened::Published(Ok(Progress::Sink { sink, epoch })) => self.tell(News::PublishedTo { sink, epoch }),
            Happened::Published(Err(failure)) => self.tell(News::Failed(failure)),
            Happened::Tried(Tried { sink, failure }) => self.tell(News::Tried { sink, failure }),
        }
    }

    fn reported(&mut self, run: Run, report: Report) {
        let news = match report {
            Report::Acked(ack, held) => {
                self.shares.add(ack.epoch, held);
                News::Acked(ack)
            }
            Report::Declined { epoch, failure } => News::Declined { epoch, failure },
            Report::Exhausted(task) => News::Exhausted(task),
            Report::Lag { source, subtask, lag } => News::Lag { source, subtask, lag },
            Report::Failed(failure) => News::Failed(failure),
            Report::Broken(failure) => News::Broken(failure),
            // After the last barrier; what counts is that it is acknowledged.
            Report::Ended(_) => return,
        };
        self.tell_of(Some(run), news);
    }

    fn deploy(&mut self, assignment: Assignment) {
        self.counting.extend(assignment.runs.values());
        let build = build(self.worker.clone(), self.attempt, self.packer.clone(), assignment, self.report.clone());
        self.building.spawn_on(build, &self.worker.io);
    }

    fn control(&self, control: Control) {
        self.runs.values().for_each(|run| run.control(control));
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
        self.tell_of(None, news);
    }

    fn tell_of(&self, run: Option<Run>, news: News) {
        // The coordinator is gone when nobody listens.
        let _gone = self.notices.send(Notice { attempt: self.attempt, run, news });
    }

    /// Ends a run's subtasks behind the others' backs. What it has uploaded for a checkpoint stays until that is owned or
    /// given up.
    fn end_run(&mut self, run: Run) {
        self.counting.remove(&run);
        match self.runs.remove(&run) {
            Some(deployed) => {
                self.ending.spawn_on(deployed.end(self.worker.clone(), self.attempt), &self.worker.io);
            }
            None => self.tell(News::Ended(run)),
        }
    }

    /// Ends all subtasks, and waits until they are gone.
    pub async fn end(mut self) {
        self.building.shutdown().await;
        self.worker.post.forget(self.attempt);
        for run in std::mem::take(&mut self.runs).into_values() {
            self.ending.spawn_on(run.end(self.worker.clone(), self.attempt), &self.worker.io);
        }
        while self.ending.join_next().await.is_some() {}
        self.worker.at_hand.ended(self.shares.left());
    }
}

/// Looks whether the storage is the coordinator's: its attempt was begun there. What a worker writes elsewhere, no checkpoint
/// has.
async fn prove(store: &dyn Store, attempt: Attempt, lineage: &str) -> Result<(), DeployError> {
    let path = record::path(attempt, Seq(0));
    let first = store.get(&path).await?.and_then(|bytes| Record::read(&bytes, &path).ok());
    match first.map(|record| record.body) {
        Some(Body::AttemptStarted { lineage: found, .. }) if found == lineage => Ok(()),
        _ => Err(DeployError::Elsewhere { attempt, location: store.location() }),
    }
}

/// Builds a worker's share of some runs, with its state.
async fn build(
    worker: Worker,
    attempt: Attempt,
    packer: Packer,
    assignment: Assignment,
    report: UnboundedSender<(Run, Report)>,
) -> Result<(Vec<Ready>, RestoredBytes), DeployError> {
    let Worker { plan, store, backend, at_hand, post, io, .. } = worker;
    let Assignment { lineage, parallelism, restored_from, starts, runs, subtasks, peers } = assignment;
    let topology = Topology::of(&plan.graph);
    let regions = Regions::of(&topology, parallelism);
    let own = |(region, run)| {
        let own = regions.tasks(region).filter(|task| subtasks.contains(&task.subtask));
        (run, own.collect::<BTreeSet<TaskId>>())
    };
    let tasks: Vec<(Run, BTreeSet<TaskId>)> = runs.into_iter().map(own).collect();
    prove(store.as_ref(), attempt, &lineage).await?;
    let supply = Supply::new(store.clone(), at_hand.clone());
    let restored = match restored_from {
        Some(checkpoint) => {
            let manifest = adopt(&Manifest::read(store.as_ref(), &checkpoint).await?, &plan.graph)?;
            let takes = Takes::of(&plan);
            takes.fits(&manifest)?;
            let max_parallelism = takes.max_parallelism;
            let range = |subtask: &_| KeyRange { subtask: *subtask, parallelism, max_parallelism };
            let ranges: Vec<KeyRange> = subtasks.iter().map(range).collect();
            let shapes = tasks.iter().flat_map(|(_, tasks)| tasks).filter_map(|task| topology.tasks.get(task.task));
            let nodes = shapes.flat_map(|shape| &shape.nodes).filter_map(|node| plan.graph.nodes.get(node.0));
            let named = |node: &Node| std::iter::once(node.id.clone()).chain(node.exchange_id());
            let operators: BTreeSet<OperatorId> = nodes.flat_map(named).collect();
            at_hand.retain(&manifest);
            let restored = Restored::load(&supply, &manifest, &takes.only(&operators), &ranges, &backend).await?;
            let RestoredBytes { local_memory_bytes, local_disk_bytes, remote_bytes } = supply.came();
            tracing::info!(epoch = %manifest.epoch, local_memory_bytes, local_disk_bytes, remote_bytes, "state is loaded");
            restored
        }
        None => {
            at_hand.forget();
            Restored::default()
        }
    };
    let (restored, starts) = (Arc::new(restored), Arc::new(starts));
    let deployed = tasks.into_iter().filter(|(_, tasks)| !tasks.is_empty()).map(|(run, tasks)| {
        let deployment = Deployment {
            plan: plan.clone(),
            attempt,
            lineage: lineage.clone(),
            parallelism,
            store: store.clone(),
            starts: starts.clone(),
            packer: packer.clone(),
            backend: backend.clone(),
            tasks,
            peers: peers.clone(),
            post: post.clone(),
            io: io.clone(),
            reports: Reports::new(run, report.clone()),
        };
        let restored = restored.clone();
        async move { deployment.build(restored).await }
    });
    Ok((try_join_all(deployed).await?, supply.came()))
}
