//! Rows in flight: from an overtaken channel to parts of a checkpoint, and back to the task that they were on their way to.
//!
//! They are kept under the id of the exchange that feeds the task, by receiving subtask. A part's tag is the watermark of
//! the subtask that they were on their way to. After a rescale a subtask goes on from several former ones, and knows the
//! time of the one that was furthest; rows in flight to the others came in time, and must not be taken for late.

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::concat_batches,
    error::ArrowError,
};

use super::{deploy::DeployError, restore::Restored};
use crate::{
    exchange::{capture::Caught, inbox::InFlight},
    graph::{Node, Partition},
    ids::{EventTime, OperatorId},
    job::JobPlan,
    operator::{KeyRange, Named},
    state::adapt,
};

/// Kind of the parts.
pub const ROWS: &str = "rows";
/// Most rows of a part, if none of its batches has more.
const PART_ROWS: usize = 1 << 16;
/// Most rows that a task is given at a time.
const BATCH_ROWS: usize = 8192;

/// What a barrier has overtaken on its way to a task.
#[derive(Debug)]
pub struct Overtaken {
    /// The exchange.
    pub operator: OperatorId,
    /// The task's watermark at the cut.
    pub as_of: EventTime,
    pub rows: InFlight,
}

/// Joins small batches, in order, without mixing watermarks.
pub fn gather(caught: Vec<Caught>, now: EventTime) -> Result<Vec<(EventTime, RecordBatch)>, ArrowError> {
    let mut gathered = Vec::new();
    let mut open: Vec<RecordBatch> = Vec::new();
    let (mut open_as_of, mut open_rows) = (now, 0);
    for Caught { rows, as_of } in caught {
        let as_of = as_of.unwrap_or(now);
        if as_of != open_as_of || open_rows + rows.num_rows() > PART_ROWS {
            gathered.extend(join(&open)?.map(|rows| (open_as_of, rows)));
            open.clear();
            (open_as_of, open_rows) = (as_of, 0);
        }
        open_rows += rows.num_rows();
        open.push(rows);
    }
    gathered.extend(join(&open)?.map(|rows| (open_as_of, rows)));
    Ok(gathered)
}

fn join(batches: &[RecordBatch]) -> Result<Option<RecordBatch>, ArrowError> {
    batches.first().map(|first| concat_batches(&first.schema(), batches)).transpose()
}

/// Rows of a checkpoint that were on their way to a node of the graph, of some key groups: each with the watermark that
/// they count as of.
pub fn restored(
    plan: &JobPlan,
    node: &Node,
    restored: &Restored,
    range: KeyRange,
) -> Result<Vec<(EventTime, RecordBatch)>, DeployError> {
    let (Some(id), Partition::Hash(keys)) = (node.exchange_id(), node.partition()) else { return Ok(Vec::new()) };
    let states = restored.keyed(&id, range)?;
    let name = Named(id);
    let lacking = restored.lacking(plan, node)?;
    let input = node.inputs.first().and_then(|input| plan.graph.nodes.get(input.0));
    let schema = &input.ok_or_else(|| name.fault("the plan does not say what it reads"))?.schema;
    let mut rows = Vec::new();
    for part in states.into_iter().flat_map(|state| state.parts) {
        let batch = part.batch().map_err(|cause| name.state(cause))?;
        let batch = adapt(&batch, schema, &lacking).map_err(|misfit| {
            name.restore(format!(
                "{}. These are rows that a barrier has overtaken: take a savepoint with the version before, which has no \
                 such rows, and begin with it",
                crate::error_chain(&misfit)
            ))
        })?;
        let columns: Vec<ArrayRef> = keys.iter().map(|key| batch.column(*key).clone()).collect();
        let own = range.filter(&batch, &columns).map_err(|cause| name.arrow(cause))?;
        let as_of = EventTime(part.reference.tag);
        let slice = |from: usize| (as_of, own.slice(from, BATCH_ROWS.min(own.num_rows() - from)));
        rows.extend((0..own.num_rows()).step_by(BATCH_ROWS).map(slice));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{array::AsArray, array::Int64Array, datatypes::Int64Type};

    use super::*;

    #[test]
    fn small_batches_become_few_parts_in_order_and_each_is_of_one_time() {
        let batch = |from: i64, rows: i64| {
            RecordBatch::try_from_iter([("n", Arc::new((from..from + rows).collect::<Int64Array>()) as ArrayRef)])
                .unwrap()
        };
        let caught = |from, rows, as_of: Option<i64>| Caught { rows: batch(from, rows), as_of: as_of.map(EventTime) };
        let some = vec![
            caught(0, 10, Some(5)),
            caught(10, 10, Some(5)),
            caught(20, 10, None),
            caught(30, 65_530, None),
            caught(65_560, 10, None),
        ];
        let parts = gather(some, EventTime(7)).unwrap();
        let shape: Vec<(i64, usize)> = parts.iter().map(|(as_of, rows)| (as_of.0, rows.num_rows())).collect();
        assert_eq!(shape, [(5, 20), (7, 10), (7, 65_530), (7, 10)]);
        let numbers = |(_, rows): &(_, RecordBatch)| rows.column(0).as_primitive::<Int64Type>().values().to_vec();
        assert_eq!(parts.iter().flat_map(numbers).collect::<Vec<_>>(), (0..65_570).collect::<Vec<_>>());
        assert!(gather(Vec::new(), EventTime(7)).unwrap().is_empty());
    }
}
