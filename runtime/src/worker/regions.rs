//! Which subtasks restart together.
//!
//! Between two tasks that an exchange joins, a channel leads from every subtask of the one to every subtask of the other.
//! So none of them can go back to a checkpoint alone: what it had sent would come again, and what it had been sent would
//! not. All tasks that exchanges join, directly or by way of others, are one *region* with all their subtasks. A task
//! without any exchange has no channels, and each of its subtasks is a region of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::{protocol::TaskId, topology::Topology};
use crate::ids::{RegionId, SubtaskIndex};

/// The regions of a job with some parallelism. The same job has the same numbers everywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Regions {
    of: BTreeMap<TaskId, RegionId>,
    count: u32,
}

impl Regions {
    pub fn of(topology: &Topology, parallelism: u32) -> Self {
        let joined = joined(topology);
        let mut regions = Self::default();
        let mut first: BTreeMap<usize, u32> = BTreeMap::new();
        for (task, least) in joined.iter().enumerate() {
            let is_alone = joined.iter().filter(|other| *other == least).count() == 1;
            let first = *first.entry(*least).or_insert_with(|| {
                let first = regions.count;
                regions.count += if is_alone { parallelism } else { 1 };
                first
            });
            for subtask in 0..parallelism {
                let region = RegionId(if is_alone { first + subtask } else { first });
                regions.of.insert(TaskId { task, subtask: SubtaskIndex(subtask) }, region);
            }
        }
        regions
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    pub fn all(&self) -> impl Iterator<Item = RegionId> + use<> {
        (0..self.count).map(RegionId)
    }

    /// How many subtasks all of them have.
    pub fn subtasks(&self) -> usize {
        self.of.len()
    }

    pub fn region(&self, task: TaskId) -> Option<RegionId> {
        self.of.get(&task).copied()
    }

    /// The subtasks of a region.
    pub fn tasks(&self, region: RegionId) -> impl Iterator<Item = TaskId> + '_ {
        self.of.iter().filter(move |(_, of)| **of == region).map(|(task, _)| *task)
    }

    /// The regions that one of these subtasks, of any task, is of.
    pub fn at(&self, subtasks: &[SubtaskIndex]) -> BTreeSet<RegionId> {
        self.of.iter().filter(|(task, _)| subtasks.contains(&task.subtask)).map(|(_, region)| *region).collect()
    }
}

/// For each task, the least of those that it is joined with.
fn joined(topology: &Topology) -> Vec<usize> {
    let mut least: Vec<usize> = (0..topology.tasks.len()).collect();
    for (task, shape) in topology.tasks.iter().enumerate() {
        for input in &shape.inputs {
            let (Some(one), Some(other)) = (least.get(task).copied(), least.get(*input).copied()) else { continue };
            let (from, to) = (one.max(other), one.min(other));
            least.iter_mut().filter(|of| **of == from).for_each(|of| *of = to);
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_crds::StreamJob;

    use super::*;
    use crate::{job::JobPlan, metrics::Metrics, worker::topology::TaskShape};

    /// Tasks by what they read from.
    fn topology(inputs: &[&[usize]]) -> Topology {
        let task = |inputs: &&[usize]| TaskShape { nodes: Vec::new(), edges: Vec::new(), inputs: inputs.to_vec() };
        Topology { tasks: inputs.iter().map(task).collect() }
    }

    fn regions(inputs: &[&[usize]], parallelism: u32) -> Vec<Vec<u32>> {
        let regions = Regions::of(&topology(inputs), parallelism);
        let region = |task, subtask| regions.region(TaskId { task, subtask: SubtaskIndex(subtask) }).unwrap().0;
        let found = (0..inputs.len()).map(|task| (0..parallelism).map(|subtask| region(task, subtask)).collect());
        let found: Vec<Vec<u32>> = found.collect();
        let numbers: BTreeSet<u32> = found.iter().flatten().copied().collect();
        assert_eq!(numbers, (0..regions.count() as u32).collect(), "without gaps");
        assert_eq!(regions.all().flat_map(|region| regions.tasks(region)).count(), regions.subtasks());
        found
    }

    #[test]
    fn what_an_exchange_joins_is_one_region_and_what_none_joins_is_one_a_subtask() {
        let cases: [(&str, &[&[usize]], &[&[u32]]); 6] = [
            ("a pipeline without an exchange", &[&[]], &[&[0, 1, 2]]),
            ("a keyed pipeline", &[&[], &[0], &[1]], &[&[0, 0, 0], &[0, 0, 0], &[0, 0, 0]]),
            ("two of each kind", &[&[], &[0], &[], &[2]], &[&[0, 0, 0], &[0, 0, 0], &[1, 1, 1], &[1, 1, 1]]),
            ("one of each kind", &[&[], &[], &[0]], &[&[0, 0, 0], &[1, 2, 3], &[0, 0, 0]]),
            ("two sources of one task", &[&[], &[], &[0, 1]], &[&[0, 0, 0], &[0, 0, 0], &[0, 0, 0]]),
            (
                "joined by way of others",
                &[&[], &[], &[0], &[1], &[2, 3]],
                &[&[0, 0, 0], &[0, 0, 0], &[0, 0, 0], &[0, 0, 0], &[0, 0, 0]],
            ),
        ];
        for (what, inputs, expected) in cases {
            assert_eq!(regions(inputs, 3), expected, "{what}");
        }
    }

    /// The regions of a job with this SQL, and the operators that each task of them begins with.
    fn planned(sql: &str) -> Vec<BTreeSet<String>> {
        let document = format!(
            "
apiVersion: tidegate.dev/v1alpha1
kind: StreamJob
metadata: {{ name: regions }}
spec:
  sources:
    - {{ name: orders, generator: {{}}, watermark: {{ column: ts }} }}
    - {{ name: returns, generator: {{}} }}
  sql: \"{sql}\"
  sinks:
    - {{ name: one, print: {{}} }}
    - {{ name: other, print: {{}} }}
  checkpoint: {{ storage: {{ local: {{ path: /nowhere }} }} }}
"
        );
        let job = StreamJob::from_yaml(&document).unwrap();
        let graph = JobPlan::new(&job, Arc::new(Metrics::new())).unwrap().graph;
        let topology = Topology::of(&graph);
        let regions = Regions::of(&topology, 2);
        let name = |task: TaskId| {
            let root = &graph.nodes[topology.tasks[task.task].nodes[0].0].id;
            format!("{root}[{}]", task.subtask)
        };
        regions.all().map(|region| regions.tasks(region).map(name).collect()).collect()
    }

    #[test]
    fn pipelines_that_share_a_source_restart_together_only_where_one_has_an_exchange() {
        let passes = |from: &str, to: &str| format!("INSERT INTO {to} SELECT order_id, amount FROM {from};");
        let sums = |to: &str| {
            let window = "TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)";
            format!(
                "INSERT INTO {to} SELECT store_id, SUM(amount) AS total FROM {window} GROUP BY window_start, window_end, store_id;"
            )
        };
        let alone = |region: &BTreeSet<String>| region.len() == 1;
        let two = planned(&(passes("orders", "one") + &passes("orders", "other")));
        assert!(two.len() == 2 && two.iter().all(alone), "{two:?}");
        let apart = planned(&(sums("one") + &passes("returns", "other")));
        assert_eq!(apart.iter().map(BTreeSet::len).collect::<Vec<_>>(), [4, 1, 1], "{apart:?}");
        assert!(apart[2].contains("source-returns[1]"), "{apart:?}");
        let joined = planned(&(sums("one") + &passes("orders", "other")));
        assert_eq!(joined.iter().map(BTreeSet::len).collect::<Vec<_>>(), [4], "{joined:?}");
    }

    #[test]
    fn a_lost_worker_concerns_the_regions_of_its_subtasks() {
        let regions = Regions::of(&topology(&[&[], &[0], &[]]), 3);
        let at = |subtasks: &[u32]| {
            let subtasks: Vec<SubtaskIndex> = subtasks.iter().copied().map(SubtaskIndex).collect();
            regions.at(&subtasks).into_iter().map(|region| region.0).collect::<Vec<_>>()
        };
        assert_eq!(at(&[1]), [0, 2], "the keyed one, and one subtask of the other");
        assert_eq!(at(&[0, 2]), [0, 1, 3]);
        assert_eq!(at(&[]), [0; 0]);
    }
}
