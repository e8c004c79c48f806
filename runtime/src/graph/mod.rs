//! The stream graph: what the SQL means, as operators that run for ever.
//!
//! [`StreamGraph`] is logical: one node an operator, no parallelism. Nodes stand in topological order, inputs before
//! their readers. The worker cuts it into tasks at the edges that need an exchange (see [`Node::partition`]).

use std::{fmt, sync::Arc};

use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::{PhysicalExpr, aggregate::AggregateFunctionExpr};

use crate::{
    checkpoint::manifest::{StateKind, WrittenAs},
    ids::OperatorId,
};

mod called;
mod computed;
mod describe;
mod origin;

pub use called::{Argument, Called, Operand, Used};
pub use computed::{computed_name, is_computed, is_positional, positional_name};
pub use origin::SourceColumn;

/// Index of a node in [`StreamGraph::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

#[derive(Debug, Clone, Default)]
pub struct StreamGraph {
    pub nodes: Vec<Node>,
}

#[derive(Debug, Clone)]
pub struct Node {
    pub id: OperatorId,
    pub known_as: KnownAs,
    pub kind: NodeKind,
    pub inputs: Vec<NodeId>,
    /// Columns of what the node puts out.
    pub schema: SchemaRef,
}

/// What a checkpoint finds the operator by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownAs {
    pub written_as: WrittenAs,
    /// The id in checkpoints that do not say where their operators are written.
    pub former: OperatorId,
}

/// What a node does with each batch.
#[derive(Clone)]
pub enum NodeKind {
    /// Reads the named source; only the columns of `projection` (indexes into the source's schema) are decoded.
    Source {
        source: String,
        projection: Vec<usize>,
    },
    /// Keeps the rows for which `predicate` is true, then computes `columns` of them (all columns, unchanged, if `None`).
    Map {
        predicate: Option<Arc<dyn PhysicalExpr>>,
        columns: Option<Vec<Arc<dyn PhysicalExpr>>>,
    },
    /// Keeps of the rows with equal `keys` the one with the smallest `time`; puts it out when the watermark passes it.
    Deduplicate {
        keys: Vec<usize>,
        time: usize,
        /// What each key is, as state is named by.
        key_names: Vec<String>,
    },
    WindowAggregate(WindowAggregate),
    /// Writes to the named sink what its input puts out, or what it puts out on the side: late or bad records.
    Sink {
        sink: String,
        side: bool,
    },
}

/// `GROUP BY window_start, window_end, keys…` over a tumbling window.
#[derive(Debug, Clone)]
pub struct WindowAggregate {
    /// Length of the window in milliseconds, above 0.
    pub size_ms: i64,
    /// Column of the input (a timestamp of any unit) that places a row in a window.
    pub time: usize,
    /// Columns of the input to group by, beside the window.
    pub keys: Vec<usize>,
    /// What each key is, as state is named by.
    pub key_names: Vec<String>,
    pub aggregates: Vec<Arc<AggregateFunctionExpr>>,
    /// What each aggregate computes, as state is named by.
    pub called: Vec<Called>,
    /// The output's columns, in the order of the node's schema.
    pub output: Vec<WindowColumn>,
    /// Source whose event time this is: named in the rows of late records.
    pub source: String,
}

/// A column that a window aggregate puts out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowColumn {
    /// First instant of the window.
    Start,
    /// First instant after the window.
    End,
    /// The key of this index in [`WindowAggregate::keys`].
    Key(usize),
    /// The aggregate of this index in [`WindowAggregate::aggregates`].
    Aggregate(usize),
}

/// How rows reach the subtasks of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Partition {
    /// Subtask *i* reads subtask *i* of its input: no exchange, so the two run in one task.
    Forward,
    /// By key group of these columns of the input.
    Hash(Vec<usize>),
}

impl StreamGraph {
    /// What remembers something, and what kind of thing: operators, and the exchanges that rows may be in flight on.
    pub fn stateful(&self) -> impl Iterator<Item = (OperatorId, StateKind)> + '_ {
        let operators = self.nodes.iter().filter_map(|node| Some((node.id.clone(), node.state_kind()?)));
        operators.chain(self.nodes.iter().filter_map(|node| Some((node.exchange_id()?, StateKind::InFlight))))
    }

    pub fn state_kind(&self, id: &OperatorId) -> Option<StateKind> {
        self.stateful().find(|(stateful, _)| stateful == id).map(|(_, kind)| kind)
    }
}

impl StreamGraph {
    /// What a checkpoint is to say of an operator, besides its state.
    pub fn written_as(&self, id: &OperatorId) -> Option<WrittenAs> {
        let node = self.nodes.iter().find(|node| node.id == *id && node.state_kind().is_some())?;
        Some(node.known_as.written_as.clone())
    }
}

impl Node {
    pub fn state_kind(&self) -> Option<StateKind> {
        match self.kind {
            NodeKind::Source { .. } => Some(StateKind::Source),
            NodeKind::Deduplicate { .. } => Some(StateKind::Deduplicate),
            NodeKind::WindowAggregate(_) => Some(StateKind::WindowAggregate),
            NodeKind::Map { .. } | NodeKind::Sink { .. } => None,
        }
    }

    /// Of the exchange that it reads from, if it does.
    pub fn exchange_id(&self) -> Option<OperatorId> {
        match self.partition() {
            Partition::Forward => None,
            Partition::Hash(_) => Some(OperatorId(format!("exchange-{}", self.id))),
        }
    }

    pub fn partition(&self) -> Partition {
        match &self.kind {
            NodeKind::Deduplicate { keys, .. } => Partition::Hash(keys.clone()),
            NodeKind::WindowAggregate(window) => Partition::Hash(window.keys.clone()),
            NodeKind::Source { .. } | NodeKind::Map { .. } | NodeKind::Sink { .. } => Partition::Forward,
        }
    }

    /// Whether the node reads the side output of its input.
    pub fn reads_side(&self) -> bool {
        matches!(self.kind, NodeKind::Sink { side: true, .. })
    }
}

impl fmt::Debug for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&describe::kind(self))
    }
}
