//! The workers of a job, as its coordinator knows them.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

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
}

impl Workers {
    /// One worker, in this process.
    pub fn local(worker: Worker) -> Self {
        let ((orders, ordered), (notice, notices)) = (unbounded_channel(), unbounded_channel());
        let io = worker.io.clone();
        io.spawn(worker.run(ordered, notice));
        Self { orders, notices }
    }

    pub fn ids(&self) -> impl Iterator<Item = WorkerId> + use<> {
        std::iter::once(WorkerId(0))
    }

    pub fn order(&self, attempt: Attempt, action: Action) {
        // The worker ends with the coordinator only.
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
        match self.notices.recv().await {
            Some(notice) => (WorkerId(0), notice),
            None => std::future::pending().await,
        }
    }
}
