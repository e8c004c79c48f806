//! From the stream graph to tasks: operators that need no exchange between them run as one.

use std::collections::BTreeMap;

use crate::graph::{NodeId, Partition, StreamGraph};

/// The tasks of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    pub tasks: Vec<TaskShape>,
}

/// One task: a tree of operators, the root first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskShape {
    pub nodes: Vec<NodeId>,
    /// Exchanges that this task sends to: from which of its nodes, to which task, by which columns.
    pub edges: Vec<EdgeShape>,
    /// Tasks that send to this one.
    pub inputs: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeShape {
    pub from: NodeId,
    pub to: usize,
    pub keys: Vec<usize>,
}

impl Topology {
    pub fn of(graph: &StreamGraph) -> Self {
        let mut tasks: Vec<TaskShape> = Vec::new();
        let mut task_of: BTreeMap<NodeId, usize> = BTreeMap::new();
        for (index, node) in graph.nodes.iter().enumerate() {
            let id = NodeId(index);
            let chained = match (node.partition(), node.inputs.as_slice()) {
                (Partition::Forward, [input]) => task_of.get(input).copied(),
                _ => None,
            };
            let task = chained.unwrap_or_else(|| {
                tasks.push(TaskShape { nodes: Vec::new(), edges: Vec::new(), inputs: Vec::new() });
                tasks.len() - 1
            });
            tasks[task].nodes.push(id);
            task_of.insert(id, task);
            if let (None, Partition::Hash(keys)) = (chained, node.partition()) {
                for input in &node.inputs {
                    let Some(from) = task_of.get(input).copied() else { continue };
                    tasks[from].edges.push(EdgeShape { from: *input, to: task, keys: keys.clone() });
                    tasks[task].inputs.push(from);
                }
            }
        }
        Self { tasks }
    }
}
