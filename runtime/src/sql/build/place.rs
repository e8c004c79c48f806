//! Nodes, in order: inputs before their readers.

use std::{collections::BTreeSet, sync::Arc};

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
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

use super::input::{self, Arg, Input, Places};
use crate::{
    checkpoint::manifest::{ReadColumn, WrittenAs},
    graph::{KnownAs, Node, NodeId, NodeKind, StreamGraph, WindowAggregate, WindowColumn},
    ids::OperatorId,
    sql::{
        canonical,
        operator_id::{self, Named},
        segment::{self, NamedExpr, Step},
        stage::{Call, Stage, Work},
    },
};

#[derive(Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    /// What the id of each node is made of.
    names: Vec<Named>,
    /// For each stage its node, and the stage's columns that the node puts out.
    stages: Vec<Option<(NodeId, Vec<usize>)>>,
    /// Segments that have a node already.
    segments: Vec<(LogicalPlan, NodeId)>,
}

impl Graph {
    pub(super) fn finish(self) -> StreamGraph {
        let ids = operator_id::assign(&self.names);
        let nodes = self.nodes.into_iter().zip(ids).map(|(node, (id, mut known_as))| {
            let WrittenAs { source, columns, .. } = node.known_as.written_as;
            known_as.written_as = WrittenAs { source, columns, ..known_as.written_as };
            Node { id, known_as, kind: node.kind, inputs: node.inputs, schema: node.schema }
        });
        StreamGraph { nodes: nodes.collect() }
    }

    pub(super) fn skip(&mut self) {
        self.stages.push(None);
    }

    pub(super) fn source(&mut self, stage: &Stage, columns: BTreeSet<usize>) {
        let projection: Vec<usize> = columns.into_iter().collect();
        let schema = select(&stage.table.schema, &projection);
        let kind = NodeKind::Source { source: stage.table.source.clone(), projection: projection.clone() };
        let node = self.add(stage.named(), kind, None, schema);
        self.stages.push(Some((node, projection)));
    }

    pub(super) fn stage(&mut self, stage: &Stage, columns: BTreeSet<usize>, input: Input) -> Result<()> {
        let source = self.segment(&input.plan, &stage.named())?;
        let schema = Arc::clone(&self.node(source)?.schema);
        if schema.fields().len() != input.texts.len() {
            return Err(internal_datafusion_err!("an input of other columns"));
        }
        let read = |(field, text): (&FieldRef, String)| ReadColumn { name: field.name().clone(), text };
        let read: Vec<ReadColumn> = schema.fields().iter().zip(input.texts).map(read).collect();
        let (kind, columns, schema) = match (&stage.work, input.places) {
            (Work::Deduplicate { input, keys: key_columns, .. }, Places::Deduplicate { columns, keys, time }) => {
                let key_names = key_columns.iter().map(|key| canonical::text(&input::column(input, *key), input));
                let key_names = key_names.collect::<Result<_>>()?;
                (NodeKind::Deduplicate { keys, time, key_names }, columns, schema)
            }
            (Work::Window(window), Places::Window { keys, time, args }) => {
                let (mut aggregates, mut called) = (Vec::new(), Vec::new());
                let mut calls = Vec::new();
                for (call, args) in args {
                    let written =
                        window.calls.get(call).ok_or_else(|| internal_datafusion_err!("no such aggregate"))?;
                    aggregates.push(Arc::new(aggregate(written, &args, &schema)?));
                    called.push(canonical::called(written, &window.input)?);
                    calls.push(call);
                }
                let key_names = window.keys.iter().map(|key| canonical::text(key, &window.input));
                let key_names = key_names.collect::<Result<_>>()?;
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
                    key_names,
                    aggregates,
                    called,
                    output,
                    source: stage.table.source.clone(),
                });
                let schema = select(&stage.table.schema, &columns);
                (kind, columns, schema)
            }
            _ => return Err(internal_datafusion_err!("an input of another stage")),
        };
        let node = self.add(stage.named(), kind, Some(source), schema);
        if let Some(node) = self.nodes.last_mut() {
            let written_as = &mut node.known_as.written_as;
            (written_as.source, written_as.columns) = (Some(stage.table.source.clone()), Some(read));
        }
        self.stages.push(Some((node, columns)));
        Ok(())
    }

    pub(super) fn sink(&mut self, sink: &str, plan: &LogicalPlan) -> Result<()> {
        let named = Named { name: format!("sink-{sink}"), places: Vec::new(), definition: sink.to_owned() };
        let input = self.segment(plan, &named)?;
        let schema = Arc::clone(&self.node(input)?.schema);
        self.add(named, NodeKind::Sink { sink: sink.to_owned(), side: false }, Some(input), schema);
        Ok(())
    }

    /// The node that puts out exactly the segment's columns: a map, or the stage itself if there is nothing to do.
    fn segment(&mut self, plan: &LogicalPlan, reader: &Named) -> Result<NodeId> {
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
        let mut first = moved(steps.next().unwrap_or_default(), &places)?;
        if first.columns.is_none() && !whole {
            first.columns = Some(plan_fields(&self.node(node)?.schema, &places));
        }
        for (index, step) in [first].into_iter().chain(steps).enumerate() {
            let name = format!("map-{}", reader.name);
            let definition = format!("step {index} to {}", reader.definition);
            node = self.map(node, step, Named { name, places: reader.places.clone(), definition })?;
        }
        self.segments.push((plan.clone(), node));
        Ok(node)
    }

    fn map(&mut self, input: NodeId, step: Step, named: Named) -> Result<NodeId> {
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
        Ok(self.add(named, kind, Some(input), output))
    }

    fn add(&mut self, named: Named, kind: NodeKind, input: Option<NodeId>, schema: SchemaRef) -> NodeId {
        let id = NodeId(self.nodes.len());
        let inputs = input.into_iter().collect();
        // Its id comes when all names are known.
        let (unnamed, known_as) = (OperatorId(named.name.clone()), KnownAs::default());
        self.nodes.push(Node { id: unnamed, known_as, kind, inputs, schema });
        self.names.push(named);
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

fn aggregate(call: &Call, args: &[Arg], schema: &SchemaRef) -> Result<AggregateFunctionExpr> {
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
