//! The graph as people read it: one line an operator, indented under what reads it.

use std::fmt;

use datafusion_physical_expr::PhysicalExpr;

use super::{Node, NodeId, NodeKind, Partition, StreamGraph};

impl fmt::Display for StreamGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, node) in self.nodes.iter().enumerate() {
            if matches!(node.kind, NodeKind::Sink { .. }) {
                self.write_tree(f, NodeId(index), 0)?;
            }
        }
        Ok(())
    }
}

impl StreamGraph {
    fn write_tree(&self, f: &mut fmt::Formatter<'_>, id: NodeId, depth: usize) -> fmt::Result {
        let Some(node) = self.nodes.get(id.0) else { return Ok(()) };
        writeln!(f, "{:indent$}{}  {}{}", "", node.id, kind(&node.kind), exchange(node), indent = depth * 2)?;
        for input in &node.inputs {
            self.write_tree(f, *input, depth + 1)?;
        }
        Ok(())
    }
}

fn exchange(node: &Node) -> String {
    match node.partition() {
        Partition::Forward => String::new(),
        Partition::Hash(columns) => format!(", exchanged by key {columns:?}"),
    }
}

pub(super) fn kind(kind: &NodeKind) -> String {
    let list = |exprs: &[std::sync::Arc<dyn PhysicalExpr>]| {
        exprs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    match kind {
        NodeKind::Source { source, projection } => format!("read {source}, columns {projection:?}"),
        NodeKind::Map { predicate, columns } => {
            let columns = columns.as_ref().map_or("all columns".to_owned(), |columns| list(columns));
            match predicate {
                Some(predicate) => format!("where {predicate} select {columns}"),
                None => format!("select {columns}"),
            }
        }
        NodeKind::Deduplicate { keys, time, .. } => format!("first row by column {time} of each key {keys:?}"),
        NodeKind::WindowAggregate(window) => {
            let aggregates: Vec<&str> = window.aggregates.iter().map(|aggregate| aggregate.name()).collect();
            format!("{} of windows of {} ms by column {}", aggregates.join(", "), window.size_ms, window.time)
        }
        NodeKind::Sink { sink, side: false } => format!("write {sink}"),
        NodeKind::Sink { sink, side: true } => format!("write to {sink} what is late or bad"),
    }
}
