//! A worker's one loop: takes orders, watches its subtasks, and publishes what they wrote once it is owned.
//!
//! It has one attempt at a time; an order of a newer one ends the one before. What a checkpoint must be told when it has
//! completed, where rows now are and which chunks to publish, stays here and does not travel. What it has of the newest
//! checkpoint it keeps from one attempt to the next ([`AtHand`]).

use std::sync::Arc;

use tokio::{
    runtime::Handle,
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
};

use super::{
    at_hand::AtHand,
    current::{Current, Happened},
    protocol::{Action, News, Notice, Order},
};
use crate::{checkpoint::store::Store, exchange::remote::post::Post, job::JobPlan, state::Backend, tls::Security};

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
            let order = tokio::select! {
                biased;
                order = orders.recv() => order,
                happened = next(current.as_mut()) => {
                    if let Some(current) = &mut current {
                        current.take_in(happened);
                    }
                    continue;
                }
            };
            let Some(Order { attempt, action }) = order else { break };
            match action {
                Action::Deploy(assignment) => {
                    if let Some(before) = current.take_if(|current| current.attempt != attempt) {
                        before.end().await;
                    }
                    let new = || Current::new(self.clone(), attempt, notices.clone());
                    current.get_or_insert_with(new).obey(Action::Deploy(assignment));
                }
                Action::Cancel => {
                    if let Some(current) = current.take_if(|current| current.attempt == attempt) {
                        current.end().await;
                    }
                    // The coordinator is gone when nobody listens.
                    let _gone = notices.send(Notice { attempt, run: None, news: News::Cancelled });
                }
                Action::StandBy => {
                    if let Some(before) = current.take_if(|current| current.attempt < attempt) {
                        before.end().await;
                    }
                    if current.is_none() {
                        self.at_hand.forget();
                    }
                }
                action => {
                    if let Some(current) = current.as_mut().filter(|current| current.attempt == attempt) {
                        current.obey(action);
                    }
                }
            }
        }
        if let Some(current) = current {
            current.end().await;
        }
    }
}

async fn next(current: Option<&mut Current>) -> Happened {
    match current {
        Some(current) => current.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
