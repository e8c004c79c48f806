//! The loop of a task that reads from exchanges.

use std::time::Duration;

use futures::{FutureExt, future::LocalBoxFuture};
use tidegate_crds::api::FailureReason;

use super::{
    chain::Chain,
    edge::{Edge, EdgeError},
    in_flight::Overtaken,
    snapshot::{Cut, Snapshotter},
};
use crate::{
    element::{Barrier, Element},
    env,
    exchange::{
        gate::{Delivery, Gate},
        urge::Urge,
    },
    failure::Reason,
    fault,
    ids::OperatorId,
    operator::{Emitted, OperatorError},
};

pub struct KeyedTask {
    pub gate: Gate,
    /// What rows in flight to this task are kept under.
    pub exchange: OperatorId,
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

/// What a subtask does, with all that it has.
pub trait Task: Send {
    /// Runs to the end. Its channels stay until it is dropped.
    fn run(&mut self) -> LocalBoxFuture<'_, Result<(), TaskError>>;
}

impl TaskError {
    /// It follows from the failure of another subtask, which tells why.
    pub fn follows(&self) -> bool {
        matches!(self, Self::Orphaned | Self::Edge(EdgeError::Disconnected(_)))
    }
}

impl Task for KeyedTask {
    fn run(&mut self) -> LocalBoxFuture<'_, Result<(), TaskError>> {
        self.run_to_end().boxed_local()
    }
}

impl KeyedTask {
    /// Runs until the end of all channels.
    async fn run_to_end(&mut self) -> Result<(), TaskError> {
        let urge = self.gate.urge();
        loop {
            match self.gate.next().await.ok_or(TaskError::Orphaned)? {
                Delivery::Element(Element::Batch(batch)) => {
                    self.chain.batch(batch)?;
                    fault::labour().await;
                }
                Delivery::Restored { rows, as_of } => {
                    self.chain.restored(rows, as_of)?;
                    fault::labour().await;
                }
                Delivery::Element(Element::Idle) => self.chain.idle()?,
                Delivery::Element(Element::Watermark(watermark)) => self.chain.watermark(watermark)?,
                Delivery::Barrier { barrier, alignment, in_flight } => {
                    let (operator, as_of) = (self.exchange.clone(), self.chain.now());
                    let overtaken = in_flight.map(|rows| Overtaken { operator, as_of, rows });
                    let waited = Waited { alignment, overtaken };
                    cut(&mut self.chain, &self.edges, &self.snapshotter, barrier, waited, Vec::new())?;
                }
                // The gate delivers them as such.
                Delivery::Element(Element::Barrier(_)) => {}
                Delivery::Element(Element::End) | Delivery::End => {
                    return Ok(self.edges.iter().try_for_each(Edge::end)?);
                }
            }
            send(&mut self.chain, &self.edges, &urge).await?;
        }
    }
}

/// Sends all that the chain has put out, and waits until it may take in more, unless a barrier is to wait no more: what the
/// chain has put out takes no less memory here than on a channel.
pub async fn send(chain: &mut Chain, edges: &[Edge], urge: &Urge) -> Result<(), TaskError> {
    // But what is put out a share at a time would be too much for both, so a cut waits until it is out.
    let calm = Urge::default();
    loop {
        let urge = if chain.is_unfinished() { &calm } else { urge };
        for (edge, element) in chain.take_outgoing() {
            if let Some(edge) = edges.get(edge) {
                edge.send(element, urge).await?;
            }
        }
        tokio::select! {
            biased;
            () = chain.room() => {}
            () = urge.called() => {}
        }
        if !chain.go_on()? {
            return Ok(());
        }
    }
}

/// What a barrier has waited for, and for what not.
#[derive(Debug, Default)]
pub struct Waited {
    pub alignment: Duration,
    pub overtaken: Option<Overtaken>,
}

/// Ends an epoch: freezes the chain, sends the barrier on, and starts the upload. `first` is what the task itself
/// remembers.
pub fn cut(
    chain: &mut Chain,
    edges: &[Edge],
    snapshotter: &Snapshotter,
    barrier: Barrier,
    Waited { alignment, overtaken }: Waited,
    mut first: Vec<super::chain::FrozenLink>,
) -> Result<(), TaskError> {
    let begun = env::monotonic();
    first.extend(chain.freeze()?);
    edges.iter().try_for_each(|edge| edge.cut(barrier))?;
    let sync = env::monotonic().saturating_sub(begun);
    snapshotter.start(barrier, Cut { alignment, sync, overtaken }, first);
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
