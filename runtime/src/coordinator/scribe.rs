//! The one that writes to the log: orders in, answers out, one record at a time.

use tidegate_crds::api::Failure;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    checkpoint::{
        CommitPermit,
        journal::{Journal, JournalError},
        record::{CheckpointRef, Trigger},
    },
    failure::Reason,
    fault,
    ids::Epoch,
};

#[derive(Debug)]
pub enum Order {
    Own {
        checkpoint: CheckpointRef,
        trigger: Trigger,
    },
    Committed(Epoch),
    /// A sink has everything up to the epoch; nobody waits for the answer.
    CommittedTo {
        sink: String,
        epoch: Epoch,
    },
    Release {
        finished: bool,
    },
    /// As a release, and nobody goes on from what the job has kept.
    Delete,
}

#[derive(Debug)]
pub enum Answer {
    Owned(CommitPermit),
    Committed(Epoch),
    Released,
    /// Nothing more is written. `sealed`: another process has the job.
    Failed {
        failure: Failure,
        sealed: bool,
    },
}

/// Starts writing; `answer` is called in the order of the orders.
pub fn start(
    io: &tokio::runtime::Handle,
    journal: Journal,
    answer: impl Fn(Answer) + Send + 'static,
) -> UnboundedSender<Order> {
    let (orders, inbox) = unbounded_channel();
    io.spawn(write(journal, inbox, answer));
    orders
}

async fn write(mut journal: Journal, mut orders: UnboundedReceiver<Order>, answer: impl Fn(Answer) + Send) {
    while let Some(order) = orders.recv().await {
        match carry_out(&mut journal, order).await {
            // Nothing follows, whatever somebody still has to say.
            Ok(Some(done @ Answer::Released)) => return answer(done),
            Ok(Some(done)) => answer(done),
            Ok(None) => {}
            Err(error) => {
                let sealed = matches!(error, JournalError::Sealed { .. } | JournalError::Outlived { .. });
                answer(Answer::Failed { failure: error.failure(), sealed });
                return;
            }
        }
    }
}

async fn carry_out(journal: &mut Journal, order: Order) -> Result<Option<Answer>, JournalError> {
    Ok(Some(match order {
        Order::Own { checkpoint, trigger } => {
            fault::reach("before-own");
            let permit = journal.own(checkpoint, trigger).await?;
            fault::reach("after-own");
            Answer::Owned(permit)
        }
        Order::Committed(epoch) => {
            fault::reach("before-epoch-committed");
            journal.committed(epoch).await?;
            fault::reach("after-epoch-committed");
            Answer::Committed(epoch)
        }
        Order::CommittedTo { sink, epoch } => {
            journal.committed_to(&sink, epoch).await?;
            return Ok(None);
        }
        Order::Release { finished } => {
            journal.release(finished).await?;
            Answer::Released
        }
        Order::Delete => {
            fault::reach("before-deleted");
            journal.delete().await?;
            fault::reach("after-deleted");
            Answer::Released
        }
    }))
}
