//! Nodes, in order: inputs before their readers.

use std::{collections::BTreeSet, sync::Arc};

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_common::{
    Result, internal_datafusion_err,
    tree_node::{Transformed, TreeNode},
};
use datafusion_expr::LogicalPlan;
use datafusion_physical_expr::{
    PhysicalExpr,
    aggregate::{AggregateExprBuilder, AggregateFunctionExpr},
    expressions::{Column, lit},
};

use super::input::{Arg, Input, Places};
use crate::{
    graph::{Node, NodeId, NodeKind, StreamGraph, WindowAggregate, WindowColumn},
    ids::OperatorId,
    sql::{
        segment::{self, NamedExpr, Step},
        stage::{Stage, Window, Work},
    },
};

#[derive(Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    /// Name and definition of each node.
    names: Vec<(String, String)>,
    /// For each stage its node, and the stage's columns that the node puts out.
    stages: Vec<Option<(NodeId, Vec<usize>)>>,
    /// Segments that have a node already.
    segments: Vec<(LogicalPlan, NodeId)>,
}

impl Graph {
    pub(super) fn finish(self, assign: impl Fn(&[(String, String)]) -> Vec<OperatorId>) -> StreamGraph {
        let ids = assign(&self.names);
        let nodes = self.nodes.into_iter().zip(ids).map(|(node, id)| Node { id, ..node }).collect();
        StreamGraph { nodes }
    }

    pub(super) fn skip(&mut self) {
        self.stages.push(None);
    }

    pub(super) fn source(&mut self, stage: &Stage, columns: BTreeSet<usize>) {
        let projection: Vec<usize> = columns.into_iter().collect();
        let schema = select(&stage.table.schema, &projection);
        let kind = NodeKind::Source { source: stage.table.source.clone(), projection: projection.clone() };
        let node = self.add(&stage.name, &stage.definition, kind, None, schema);
        self.stages.push(Some((node, projection)));
    }

    pub(super) fn stage(&mut self, stage: &Stage, columns: BTreeSet<usize>, input: Input) -> Result<()> {
        let source = self.segment(&input.plan, &stage.name, &stage.definition)?;
        let schema = Arc::clone(&self.node(source)?.schema);
        let (kind, columns, schema) = match (&stage.work, input.places) {
            (Work::Deduplicate { .. }, Places::Deduplicate { columns, keys, time }) => {
                (NodeKind::Deduplicate { keys, time }, columns, schema)
            }
            (Work::Window(window), Places::Window { keys, time, args }) => {
                let mut aggregates = Vec::new();
                let mut calls = Vec::new();
                for (call, args) in args {
                    aggregates.push(Arc::new(aggregate(window, call, &args, &schema)?));
                    calls.push(call);
                }
                let columns: Vec<usize> = columns.into_iter().collect();
                let output = columns
                    .iter()
                    .filter_map(|column| window.output.get(*column))
                    .map(|column| match column {
                        WindowColumn::Aggregate(call) => calls
                            .binary_search(call)
                            .map(WindowColumn::Aggregate)
                            .map_err(|_| internal_datafusion_err!("an aggregate is missing")),
                        column => Ok(*column),
                    })
                    .collect::<Result<Vec<_>>>()?;
                let kind = NodeKind::WindowAggregate(WindowAggregate {
                    size_ms: window.size_ms,
                    time,
                    keys,
                    aggregates,
                    output,
                    source: stage.table.source.clone(),
                });
                let schema = select(&stage.table.schema, &columns);
                (kind, columns, schema)
            }
            _ => return Err(internal_datafusion_err!("an input of another stage")),
        };
        let node = self.add(&stage.name, &stage.definition, kind, Some(source), schema);
        self.stages.push(Some((node, columns)));
        Ok(())
    }

    pub(super) fn sink(&mut self, sink: &str, plan: &LogicalPlan) -> Result<()> {
        let name = format!("sink-{sink}");
        let input = self.segment(plan, &name, sink)?;
        let schema = Arc::clone(&self.node(input)?.schema);
        self.add(&name, sink, NodeKind::Sink { sink: sink.to_owned(), side: false }, Some(input), schema);
        Ok(())
    }

    /// The node that puts out exactly the segment's columns: a map, or the stage itself if there is nothing to do.
    fn segment(&mut self, plan: &LogicalPlan, reader: &str, definition: &str) -> Result<NodeId> {
        if let Some((_, node)) = self.segments.iter().find(|(known, _)| known == plan) {
            return Ok(*node);
        }
        let segment = segment::compile(plan)?;
        let placed = self.stages.get(segment.stage).and_then(Option::as_ref);
        let (mut node, has) = placed.cloned().ok_or_else(|| internal_datafusion_err!("a stage is missing"))?;
        let places = segment
            .reads
            .iter()
            .map(|column| has.iter().position(|other| other == column))
            .collect::<Option<Vec<usize>>>()
            .ok_or_else(|| internal_datafusion_err!("a column is missing"))?;
        let whole = places.iter().copied().eq(0..has.len());
        let mut steps = segment.steps.into_iter();
        let mut first = steps.next().unwrap_or_default();
        if first.columns.is_none() && !whole {
            let fields = plan_fields(&self.node(node)?.schema, &places);
            first.columns = Some(fields);
        } else {
            first = moved(first, &places)?;
        }
        for (index, step) in [first].into_iter().chain(steps).enumerate() {
            node = self.map(node, step, &format!("map-{reader}"), &format!("step {index} to {definition}"))?;
        }
        self.segments.push((plan.clone(), node));
        Ok(node)
    }

    fn map(&mut self, input: NodeId, step: Step, name: &str, definition: &str) -> Result<NodeId> {
        let schema = Arc::clone(&self.node(input)?.schema);
        let columns = step.columns.filter(|columns| !is_identity(columns, &schema));
        if step.predicate.is_none() && columns.is_none() {
            return Ok(input);
        }
        let output = match &columns {
            None => Arc::clone(&schema),
            Some(columns) => {
                let fields = columns
                    .iter()
                    .map(|(expr, name)| Ok(Field::new(name, expr.data_type(&schema)?, expr.nullable(&schema)?)));
                Arc::new(Schema::new(fields.collect::<Result<Vec<Field>>>()?))
            }
        };
        let columns = columns.map(|columns| columns.into_iter().map(|(expr, _)| expr).collect());
        let kind = NodeKind::Map { predicate: step.predicate, columns };
        Ok(self.add(name, definition, kind, Some(input), output))
    }

    fn add(
        &mut self,
        name: &str,
        definition: &str,
        kind: NodeKind,
        input: Option<NodeId>,
        schema: SchemaRef,
    ) -> NodeId {
        let id = NodeId(self.nodes.len());
        let inputs = input.into_iter().collect();
        self.nodes.push(Node { id: OperatorId(name.to_owned()), kind, inputs, schema });
        self.names.push((name.to_owned(), definition.to_owned()));
        id
    }

    fn node(&self, id: NodeId) -> Result<&Node> {
        self.nodes.get(id.0).ok_or_else(|| internal_datafusion_err!("a node is missing"))
    }
}

fn select(schema: &Schema, columns: &[usize]) -> SchemaRef {
    let fields = columns.iter().filter_map(|column| schema.fields().get(*column).cloned());
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn plan_fields(schema: &Schema, places: &[usize]) -> Vec<NamedExpr> {
    places
        .iter()
        .filter_map(|place| schema.fields().get(*place).map(|field| (*place, field.name())))
        .map(|(place, name)| (Arc::new(Column::new(name, place)) as Arc<dyn PhysicalExpr>, name.clone()))
        .collect()
}

/// The step over a node that has the columns at other places.
fn moved(step: Step, places: &[usize]) -> Result<Step> {
    let moved = |expr: Arc<dyn PhysicalExpr>| {
        let expr = expr.transform_up(|expr| {
            let Some(column) = expr.downcast_ref::<Column>() else { return Ok(Transformed::no(expr)) };
            let place = places.get(column.index()).ok_or_else(|| internal_datafusion_err!("a column is missing"))?;
            Ok(Transformed::yes(Arc::new(Column::new(column.name(), *place)) as Arc<dyn PhysicalExpr>))
        });
        expr.map(|expr| expr.data)
    };
    let columns = step
        .columns
        .map(|columns| columns.into_iter().map(|(expr, name)| Ok((moved(expr)?, name))).collect::<Result<Vec<_>>>());
    Ok(Step { predicate: step.predicate.map(moved).transpose()?, columns: columns.transpose()? })
}

fn is_identity(columns: &[NamedExpr], schema: &Schema) -> bool {
    columns.len() == schema.fields().len()
        && columns.iter().zip(schema.fields()).enumerate().all(|(index, ((expr, name), field))| {
            expr.downcast_ref::<Column>().is_some_and(|column| column.index() == index) && name == field.name()
        })
}

fn aggregate(window: &Window, call: usize, args: &[Arg], schema: &SchemaRef) -> Result<AggregateFunctionExpr> {
    let call = window.calls.get(call).ok_or_else(|| internal_datafusion_err!("an aggregate is missing"))?;
    let args = args
        .iter()
        .map(|arg| match arg {
            Arg::Literal(value) => Ok(lit(value.clone())),
            Arg::Column(place) => {
                let field =
                    schema.fields().get(*place).ok_or_else(|| internal_datafusion_err!("a column is missing"))?;
                Ok(Arc::new(Column::new(field.name(), *place)) as Arc<dyn PhysicalExpr>)
            }
        })
        .collect::<Result<Vec<_>>>()?;
    AggregateExprBuilder::new(Arc::clone(&call.function), args)
        .schema(Arc::clone(schema))
        .alias(&call.name)
        .with_distinct(call.distinct)
        .build()
}
