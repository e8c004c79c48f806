//! Which column of a source a column of a node is, if it is one as it was read.

use datafusion_physical_expr::expressions::Column;

use super::{Node, NodeKind, StreamGraph};
use crate::ids::OperatorId;

/// A column of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceColumn<'a> {
    pub operator: &'a OperatorId,
    pub source: &'a str,
    /// Index into the source's schema.
    pub column: usize,
}

impl StreamGraph {
    /// Where the column that `node` puts out comes from; `None` if it was computed.
    pub fn origin<'a>(&'a self, node: &'a Node, column: usize) -> Option<SourceColumn<'a>> {
        let input = || node.inputs.first().and_then(|input| self.nodes.get(input.0));
        match &node.kind {
            NodeKind::Source { source, projection } => {
                Some(SourceColumn { operator: &node.id, source, column: *projection.get(column)? })
            }
            NodeKind::Map { columns: None, .. } | NodeKind::Deduplicate { .. } => self.origin(input()?, column),
            NodeKind::Map { columns: Some(columns), .. } => {
                let read = columns.get(column)?.downcast_ref::<Column>()?;
                self.origin(input()?, read.index())
            }
            NodeKind::WindowAggregate(_) | NodeKind::Sink { .. } => None,
        }
    }
}
