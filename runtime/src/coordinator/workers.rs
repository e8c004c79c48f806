//! The workers of a job, as its coordinator knows them.

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
};

use crate::{
    ids::Attempt,
    worker::{
        protocol::{Action, News, Notice, Order},
        supervisor::Worker,
    },
};

/// A worker, for as long as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkerId(pub u32);

/// Gives orders, and hears what comes of them.
#[derive(Debug)]
pub struct Workers {
    orders: UnboundedSender<Order>,
    notices: UnboundedReceiver<Notice>,
    running: JoinHandle<()>,
}

impl Workers {
    /// One worker, in this process.
    pub fn local(worker: Worker) -> Self {
        let ((orders, ordered), (notice, notices)) = (unbounded_channel(), unbounded_channel());
        let io = worker.io.clone();
        Self { orders, notices, running: io.spawn(worker.run(ordered, notice)) }
    }

    pub fn ids(&self) -> impl Iterator<Item = WorkerId> + use<> {
        std::iter::once(WorkerId(0))
    }

    pub fn order(&self, attempt: Attempt, action: Action) {
        // The worker ends with the coordinator only, or by a panic, which `next` passes on.
        let _gone = self.orders.send(Order { attempt, action });
    }

    /// Ends an attempt, and waits until its subtasks are gone.
    pub async fn cancel(&mut self, attempt: Attempt) {
        self.order(attempt, Action::Cancel);
        while let Some(notice) = self.notices.recv().await {
            if notice.attempt == attempt && matches!(notice.news, News::Cancelled) {
                return;
            }
        }
    }

    /// What a worker tells next. Cancel safe.
    pub async fn next(&mut self) -> (WorkerId, Notice) {
        if let Some(notice) = self.notices.recv().await {
            return (WorkerId(0), notice);
        }
        match (&mut self.running).await {
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            _ => std::future::pending().await,
        }
    }
}
