//! From a node of the graph to one subtask of its operator, with its state.

use tidegate_crds::StateBackend;

use super::{
    KeyRange, Named, Operator, OperatorError, RestoredState,
    deduplicate::{Columns, Deduplicate, Dropped, InTable, Overflowing, Seen, Waiting},
    map::Map,
    sink::{Buffer, Direct},
    window::{LateRows, Window},
};
use crate::{
    graph::{Node, NodeKind},
    ids::OperatorId,
    job::{JobPlan, SinkTarget},
    metrics::named,
    state::{Backend, WriteAhead},
    worker::{
        deploy::DeployError,
        restore::{RestoreError, Restored},
    },
};

/// What operators are built from.
pub struct Context<'a> {
    pub plan: &'a JobPlan,
    pub range: KeyRange,
    pub restored: &'a Restored,
    pub backend: &'a Backend,
    /// Writes rows ahead, to files that begin with this.
    pub ahead: &'a dyn Fn(&str) -> WriteAhead,
}

impl Context<'_> {
    /// What a keyed subtask takes over.
    fn states(&self, operator: &OperatorId) -> Result<Vec<RestoredState>, RestoreError> {
        let mut states = self.restored.keyed(operator, self.range)?;
        if !self.plan.exactly_once() {
            hold_back(&mut states);
        }
        Ok(states)
    }
}

/// Where rows pass barriers, former subtasks may have come differently far in time at a barrier, and what one has seen
/// behind it comes again. Who goes on for all of them knows the time of the last, or would take rows of its keys for late.
fn hold_back(states: &mut [RestoredState]) {
    let least = states.iter().filter_map(|state| state.value.get("watermark")?.as_i64()).min();
    for watermark in states.iter_mut().filter_map(|state| state.value.get_mut("watermark")) {
        *watermark = least.into();
    }
}

/// An operator and what belongs to it.
pub struct Built {
    pub operator: Box<dyn Operator>,
    /// The sink that it keeps rows for.
    pub sink: Option<String>,
    /// What it writes rows ahead with.
    pub ahead: Option<WriteAhead>,
}

impl Built {
    fn new(operator: impl Operator + 'static) -> Self {
        Self { operator: Box::new(operator), sink: None, ahead: None }
    }
}

pub fn build(node: &Node, context: &Context<'_>) -> Result<Built, DeployError> {
    let name = Named(node.id.clone());
    let plan = context.plan;
    let input = node.inputs.first().and_then(|input| plan.graph.nodes.get(input.0)).map(|input| &input.schema);
    let unplanned = || name.fault("the plan does not say what it reads");
    Ok(match &node.kind {
        NodeKind::Source { source, .. } => {
            return Err(name.fault(format!("source `{source}` can't stand inside a chain")).into());
        }
        NodeKind::Map { predicate, columns } => {
            Built::new(Map::new(name, predicate.clone(), columns.clone(), node.schema.clone()))
        }
        NodeKind::Deduplicate { keys, time, key_names } => {
            let label = named(&node.id.0);
            let dropped = Dropped {
                duplicates: plan.metrics.duplicates.get_or_create(&label).clone(),
                late: plan.metrics.late_records.get_or_create(&label).clone(),
            };
            let ttl = plan.spec.state_ttl.map(|ttl| ttl.millis() as i64);
            let ahead = (context.ahead)(&format!("state-{}", node.id));
            let columns = Columns {
                input: input.ok_or_else(unplanned)?.clone(),
                keys: keys.clone(),
                key_names: key_names.clone(),
                time: *time,
            };
            let (range, folder) = (context.range, format!("{}-{}", node.id, context.range.subtask));
            let seen: Box<dyn Seen> = match context.backend.kind() {
                StateBackend::Memory => Box::new(Overflowing::new(range, ahead.clone(), context.backend, folder)),
                StateBackend::RocksDb => {
                    let failed = |cause| name.state(cause);
                    let engine = context.backend.engine().map_err(failed)?;
                    Box::new(InTable::new(range, engine, folder).map_err(failed)?)
                }
            };
            let waiting = Waiting::new(&columns, context.backend, format!("{}-{}-waiting", node.id, range.subtask));
            let mut operator = Deduplicate::new(name, columns, range, ttl, dropped, seen, waiting);
            operator.restore(context.states(&node.id)?, &context.restored.lacking(plan, node)?)?;
            Built { ahead: Some(ahead), ..Built::new(operator) }
        }
        NodeKind::WindowAggregate(spec) => {
            let input = input.ok_or_else(unplanned)?;
            let late = LateRows {
                counted: plan.metrics.late_records.get_or_create(&named(&node.id.0)).clone(),
                encode: plan.late_encoder(spec),
            };
            let (spec, output, backend) = (spec.clone(), node.schema.clone(), context.backend);
            let mut operator = Window::new(name, spec, context.range, input, output, late, backend)?;
            operator.restore(context.states(&node.id)?)?;
            Built::new(operator)
        }
        NodeKind::Sink { sink, .. } => match plan.sinks.get(sink) {
            Some(SinkTarget::Published(_)) => {
                let ahead = (context.ahead)(&format!("wal-{sink}"));
                Built { sink: Some(sink.clone()), ahead: Some(ahead.clone()), ..Built::new(Buffer::new(ahead)) }
            }
            Some(SinkTarget::Direct(direct)) => Built::new(Direct(direct.open().map_err(OperatorError::from)?)),
            None => return Err(unplanned().into()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_on_for_several_that_were_not_aligned_knows_the_time_of_the_last() {
        let state = |watermark: i64| RestoredState {
            groups: 0..16,
            value: serde_json::json!({ "watermark": watermark, "kept": 1 }),
            parts: Vec::new(),
            table: None,
        };
        let mut states = [state(100), state(i64::MIN), state(70)];
        hold_back(&mut states);
        let value = serde_json::json!({ "watermark": i64::MIN, "kept": 1 });
        assert!(states.iter().all(|state| state.value == value), "{states:?}");
    }
}
