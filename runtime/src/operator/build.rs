//! From a node of the graph to one subtask of its operator, with its state.

use super::{
    KeyRange, Named, Operator, OperatorError,
    deduplicate::{Deduplicate, Dropped},
    map::Map,
    sink::{Buffer, Direct},
    window::{LateRows, Window},
};
use crate::{
    graph::{Node, NodeKind},
    job::{JobPlan, SinkTarget},
    metrics::named,
    state::Spill,
    worker::{deploy::DeployError, restore::Restored},
};

/// What operators are built from.
pub struct Context<'a> {
    pub plan: &'a JobPlan,
    pub range: KeyRange,
    pub restored: &'a Restored,
    /// Where a sink's rows are written ahead.
    pub spill: &'a dyn Fn(&str) -> Spill,
}

/// A sink that an operator keeps rows for.
#[derive(Debug, Clone)]
pub struct Kept {
    pub sink: String,
    pub spill: Spill,
}

/// The operator, and its sink if it keeps rows for one.
pub fn build(node: &Node, context: &Context<'_>) -> Result<(Box<dyn Operator>, Option<Kept>), DeployError> {
    let name = Named(node.id.clone());
    let plan = context.plan;
    let input = node.inputs.first().and_then(|input| plan.graph.nodes.get(input.0)).map(|input| &input.schema);
    let unplanned = || name.restore("the plan does not say what it reads");
    Ok(match &node.kind {
        NodeKind::Source { source, .. } => {
            return Err(name.restore(format!("source `{source}` can't stand inside a chain")).into());
        }
        NodeKind::Map { predicate, columns } => {
            let map = Map::new(name, predicate.clone(), columns.clone(), node.schema.clone());
            (Box::new(map), None)
        }
        NodeKind::Deduplicate { keys, time } => {
            let label = named(&node.id.0);
            let dropped = Dropped {
                duplicates: plan.metrics.duplicates.get_or_create(&label).clone(),
                late: plan.metrics.late_records.get_or_create(&label).clone(),
            };
            let ttl = plan.spec.state_ttl.map(|ttl| ttl.millis() as i64);
            let mut operator = Deduplicate::new(name, keys.clone(), *time, context.range, ttl, dropped);
            operator.restore(context.restored.keyed(&node.id, context.range)?)?;
            (Box::new(operator), None)
        }
        NodeKind::WindowAggregate(spec) => {
            let input = input.ok_or_else(unplanned)?;
            let late = LateRows {
                counted: plan.metrics.late_records.get_or_create(&named(&node.id.0)).clone(),
                encode: plan.late_encoder(spec),
            };
            let engine = name.clone();
            let mut operator = Window::new(name, spec.clone(), context.range, input, node.schema.clone(), late)
                .map_err(|cause| engine.engine(cause))?;
            operator.restore(context.restored.keyed(&node.id, context.range)?)?;
            (Box::new(operator), None)
        }
        NodeKind::Sink { sink, .. } => match plan.sinks.get(sink) {
            Some(SinkTarget::Published(_)) => {
                let spill = (context.spill)(sink);
                (Box::new(Buffer::new(spill.clone())), Some(Kept { sink: sink.clone(), spill }))
            }
            Some(SinkTarget::Direct(open)) => {
                (Box::new(Direct(open(context.range.subtask).map_err(OperatorError::from)?)), None)
            }
            None => return Err(unplanned().into()),
        },
    })
}
