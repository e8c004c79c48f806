//! The subtasks of one run in this worker: built, started, and ended without a word to the others.

use std::{collections::BTreeMap, sync::Arc};

use tidegate_crds::api::{Failure, FailureReason};
use tokio::{sync::mpsc::UnboundedSender, task::JoinSet};
use tonic::transport::Channel;

use super::{
    deploy::Ready,
    protocol::Control,
    report::{Report, Reports},
    slot::Slots,
    supervisor::Worker,
};
use crate::{
    exchange::{
        remote::send::{Leaving, connection},
        urge::Urge,
    },
    failure::Reason,
    ids::{Attempt, Epoch, Run},
};

pub struct Deployed {
    reports: Reports,
    /// Until it starts.
    ready: Option<Ready>,
    slots: Option<Slots>,
    /// Carries what goes to other workers.
    carriers: JoinSet<()>,
    controls: Vec<UnboundedSender<Control>>,
    /// Of every subtask.
    urges: Vec<Arc<Urge>>,
}

impl Deployed {
    pub fn new(ready: Ready) -> Self {
        Self {
            reports: ready.reports.clone(),
            ready: Some(ready),
            slots: None,
            carriers: JoinSet::new(),
            controls: Vec::new(),
            urges: Vec::new(),
        }
    }

    pub fn run(&self) -> Run {
        self.reports.run()
    }

    /// Lets the subtasks run, if they do not yet.
    pub fn start(&mut self, worker: &Worker) {
        let Some(mut ready) = self.ready.take() else { return };
        self.controls.clone_from(&ready.controls);
        self.urges.clone_from(&ready.urges);
        if let Err(error) = self.carry(worker, std::mem::take(&mut ready.leaving)) {
            return self.failed(format!("failed to connect to another worker: {error}"));
        }
        match ready.start() {
            Ok(slots) => self.slots = Some(slots),
            Err(error) => self.failed(format!("failed to start a slot: {error}")),
        }
    }

    /// Carries channels to other workers, over one connection to each.
    fn carry(&mut self, worker: &Worker, leaving: Vec<Leaving>) -> Result<(), tonic::transport::Error> {
        let _io = worker.io.enter();
        let mut connections: BTreeMap<String, Channel> = BTreeMap::new();
        for mut channel in leaving {
            let connection = match connections.get(&channel.peer) {
                Some(connection) => connection.clone(),
                None => connections
                    .entry(channel.peer.clone())
                    .or_insert(connection(&channel.peer, &worker.security)?)
                    .clone(),
            };
            let reports = self.reports.clone();
            self.carriers.spawn(async move {
                if let Err(error) = channel.carry(connection).await {
                    // The channel stays until then, or its sending task would have the first word.
                    reports.send(Report::Broken(error.failure()));
                }
                drop(channel);
            });
        }
        Ok(())
    }

    fn failed(&self, message: String) {
        self.reports.send(Report::Failed(Failure { reason: FailureReason::TaskFailed, message }));
    }

    /// Tells every source subtask.
    pub fn control(&self, control: Control) {
        for task in &self.controls {
            // A task that is gone has reported why.
            let _gone = task.send(control);
        }
    }

    /// The barrier of the epoch is to wait no more.
    pub fn overtake(&self, epoch: Epoch) {
        self.urges.iter().for_each(|urge| urge.overtake(epoch));
    }

    /// Ends all subtasks, and waits until they are gone.
    pub async fn end(mut self, worker: Worker, attempt: Attempt) -> Run {
        worker.post.forget_run(attempt, self.run());
        if let Some(slots) = self.slots.take() {
            slots.stop().await;
        }
        self.carriers.shutdown().await;
        self.run()
    }
}
