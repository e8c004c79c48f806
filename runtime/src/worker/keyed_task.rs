//! The loop of a task that reads from exchanges.

use std::time::Duration;

use tidegate_crds::api::FailureReason;

use super::{
    chain::Chain,
    edge::{Edge, EdgeError},
    snapshot::{Cut, Snapshotter},
};
use crate::{
    element::{Barrier, Element},
    env,
    exchange::local::{Delivery, Gate},
    failure::Reason,
    operator::{Emitted, OperatorError},
};

pub struct KeyedTask {
    pub gate: Gate,
    pub chain: Chain,
    pub edges: Vec<Edge>,
    pub snapshotter: Snapshotter,
}

#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    #[error(transparent)]
    Operator(#[from] OperatorError),
    #[error(transparent)]
    Edge(#[from] EdgeError),
    #[error(transparent)]
    Source(#[from] crate::source::SourceError),
    #[error("the tasks that feed this one have ended before their last barrier")]
    Orphaned,
}

impl Reason for TaskError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Operator(error) => error.reason(),
            Self::Source(error) => error.reason(),
            Self::Edge(_) | Self::Orphaned => FailureReason::TaskFailed,
        }
    }
}

impl KeyedTask {
    /// Runs until the end of all channels.
    pub async fn run(mut self) -> Result<(), TaskError> {
        loop {
            match self.gate.next().await.ok_or(TaskError::Orphaned)? {
                Delivery::Element(Element::Batch(batch)) => self.chain.batch(batch)?,
                Delivery::Element(Element::Idle) => self.chain.idle()?,
                Delivery::Element(Element::Watermark(watermark)) => self.chain.watermark(watermark)?,
                Delivery::Barrier(barrier, alignment) => {
                    cut(&mut self.chain, &self.edges, &self.snapshotter, barrier, alignment, Vec::new()).await?;
                }
                // The gate delivers them as such.
                Delivery::Element(Element::Barrier(_)) => {}
                Delivery::Element(Element::End) | Delivery::End => {
                    for edge in &self.edges {
                        edge.send(Element::End).await?;
                    }
                    return Ok(());
                }
            }
            send(&mut self.chain, &self.edges).await?;
        }
    }
}

/// Sends all that the chain has put out, and waits until it may take in more.
pub async fn send(chain: &mut Chain, edges: &[Edge]) -> Result<(), TaskError> {
    loop {
        for (edge, element) in chain.take_outgoing() {
            if let Some(edge) = edges.get(edge) {
                edge.send(element).await?;
            }
        }
        chain.room().await;
        if !chain.go_on()? {
            return Ok(());
        }
    }
}

/// Ends an epoch: freezes the chain, sends the barrier on, and starts the upload. `first` is what the task itself
/// remembers.
pub async fn cut(
    chain: &mut Chain,
    edges: &[Edge],
    snapshotter: &Snapshotter,
    barrier: Barrier,
    alignment: Duration,
    mut first: Vec<super::chain::FrozenLink>,
) -> Result<(), TaskError> {
    let begun = env::monotonic();
    first.extend(chain.freeze()?);
    for edge in edges {
        edge.send(Element::Barrier(barrier)).await?;
    }
    let sync = env::monotonic().saturating_sub(begun);
    snapshotter.start(barrier, Cut { alignment, sync }, first);
    Ok(())
}

/// Where a source's rows enter the chain: passed on unchanged.
pub struct Entry;

impl crate::operator::Operator for Entry {
    fn on_batch(
        &mut self,
        batch: arrow::array::RecordBatch,
        out: &mut crate::operator::Output,
    ) -> Result<(), OperatorError> {
        out.elements.push(Emitted::Batch(batch));
        Ok(())
    }
}
