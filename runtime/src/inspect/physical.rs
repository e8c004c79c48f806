//! From a logical plan to DataFusion's operators.
//!
//! DataFusion's own planner of this step is in a crate with file formats, catalogs and sessions, none of which is needed
//! here. A query over a checkpoint runs in one partition, so each node has one operator and none of the choices that make
//! that planner long. What has none here is refused by name.

use std::{collections::BTreeSet, sync::Arc};

use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::{DFSchema, JoinType, Result};
use datafusion_expr::{
    Expr, FetchType, LogicalPlan, SkipType,
    execution_props::ExecutionProps,
    expr::physical_name,
    logical_plan::{Aggregate, Join, Limit, TableScan},
    physical_planning_context::PhysicalPlanningContext,
};
use datafusion_physical_expr::{
    LexOrdering, PhysicalExpr, aggregate::LoweredAggregateBuilder, create_physical_expr, create_physical_sort_exprs,
};
use datafusion_physical_plan::{
    ExecutionPlan,
    aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy},
    coalesce_partitions::CoalescePartitionsExec,
    empty::EmptyExec,
    filter::FilterExec,
    joins::{HashJoinExec, NestedLoopJoinExec, PartitionMode, utils::JoinFilter},
    limit::GlobalLimitExec,
    placeholder_row::PlaceholderRowExec,
    projection::ProjectionExec,
    sorts::sort::SortExec,
    streaming::StreamingTableExec,
    union::UnionExec,
};

use super::{error::QueryError, scannable::Scannable};

type Plan = Arc<dyn ExecutionPlan>;

/// Operators that give the rows of a plan, in one partition.
pub fn physical(plan: &LogicalPlan) -> Result<Plan> {
    Ok(match plan {
        LogicalPlan::TableScan(scan) => self::scan(scan)?,
        LogicalPlan::SubqueryAlias(alias) => physical(&alias.input)?,
        LogicalPlan::Filter(filter) => {
            let predicate = self::expr(&filter.predicate, filter.input.schema())?;
            Arc::new(FilterExec::try_new(predicate, physical(&filter.input)?)?)
        }
        LogicalPlan::Projection(projection) => {
            let columns = named(&projection.expr, projection.input.schema())?;
            Arc::new(ProjectionExec::try_new(columns, physical(&projection.input)?)?)
        }
        LogicalPlan::Aggregate(aggregate) => self::aggregate(aggregate)?,
        LogicalPlan::Sort(sort) => {
            let input = physical(&sort.input)?;
            let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
            let by = create_physical_sort_exprs(&sort.expr, sort.input.schema(), &props, &context)?;
            match LexOrdering::new(by) {
                Some(by) => Arc::new(SortExec::new(by, input).with_fetch(sort.fetch)),
                None => input,
            }
        }
        LogicalPlan::Limit(limit) => self::limit(limit)?,
        LogicalPlan::Join(join) => self::join(join)?,
        LogicalPlan::Union(union) => {
            let inputs = union.inputs.iter().map(|input| physical(input)).collect::<Result<Vec<_>>>()?;
            Arc::new(CoalescePartitionsExec::new(UnionExec::try_new(inputs)?))
        }
        LogicalPlan::EmptyRelation(empty) => {
            let schema: SchemaRef = Arc::new(empty.schema.as_arrow().clone());
            if empty.produce_one_row {
                Arc::new(PlaceholderRowExec::new(schema))
            } else {
                Arc::new(EmptyExec::new(schema))
            }
        }
        other => return Err(unsupported(other.display())),
    })
}

fn unsupported(what: impl std::fmt::Display) -> datafusion_common::DataFusionError {
    QueryError::Unsupported { what: format!("`{what}`") }.into()
}

fn expr(expr: &Expr, input: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    create_physical_expr(expr, input, &ExecutionProps::new(), &PhysicalPlanningContext::default())
}

/// Expressions, each with the name of its column.
fn named(exprs: &[Expr], input: &DFSchema) -> Result<Vec<(Arc<dyn PhysicalExpr>, String)>> {
    exprs.iter().map(|one| Ok((expr(one, input)?, physical_name(one)?))).collect()
}

fn scan(scan: &TableScan) -> Result<Plan> {
    let Some(table) = scan.source.downcast_ref::<Scannable>() else { return Err(unsupported(&scan.table_name)) };
    let schema = table.rows.schema().clone();
    let rows = vec![table.rows.clone()];
    let scan =
        StreamingTableExec::try_new(schema, rows, scan.projection.as_ref(), std::iter::empty(), false, scan.fetch)?;
    Ok(Arc::new(scan))
}

fn aggregate(aggregate: &Aggregate) -> Result<Plan> {
    if let Some(sets) = aggregate.group_expr.iter().find(|group| matches!(group, Expr::GroupingSet(_))) {
        return Err(unsupported(sets));
    }
    let (input, schema) = (physical(&aggregate.input)?, aggregate.input.schema());
    let groups = PhysicalGroupBy::new_single(named(&aggregate.group_expr, schema)?);
    let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    let rows = input.schema();
    let (mut calls, mut filters) = (Vec::new(), Vec::new());
    for call in &aggregate.aggr_expr {
        let lowered = LoweredAggregateBuilder::new(call, schema, &rows, &props, &context).build()?;
        calls.push(lowered.aggregate);
        filters.push(lowered.filter);
    }
    Ok(Arc::new(AggregateExec::try_new(AggregateMode::Single, groups, calls, filters, input, rows)?))
}

fn limit(limit: &Limit) -> Result<Plan> {
    match (limit.get_skip_type()?, limit.get_fetch_type()?) {
        (SkipType::Literal(skip), FetchType::Literal(fetch)) => {
            Ok(Arc::new(GlobalLimitExec::new(physical(&limit.input)?, skip, fetch)))
        }
        _ => Err(unsupported("LIMIT or OFFSET of an expression")),
    }
}

fn join(join: &Join) -> Result<Plan> {
    let (left, right) = (physical(&join.left)?, physical(&join.right)?);
    let filter = join.filter.as_ref().map(|filter| join_filter(filter, &join.left, &join.right)).transpose()?;
    let on = join.on.iter().map(|(one, other)| Ok((expr(one, join.left.schema())?, expr(other, join.right.schema())?)));
    let on = on.collect::<Result<Vec<_>>>()?;
    if on.is_empty() {
        if join.join_type == JoinType::LeftAnti && join.null_aware {
            return Err(unsupported("NOT IN with a condition"));
        }
        return Ok(Arc::new(NestedLoopJoinExec::try_new(left, right, filter, &join.join_type, None)?));
    }
    let (mode, nulls, null_aware) = (PartitionMode::CollectLeft, join.null_equality, join.null_aware);
    Ok(Arc::new(HashJoinExec::try_new(left, right, on, filter, &join.join_type, None, mode, nulls, null_aware)?))
}

/// A condition over the columns of both sides that it names.
fn join_filter(filter: &Expr, left: &LogicalPlan, right: &LogicalPlan) -> Result<JoinFilter> {
    let columns = filter.column_refs();
    let of = |side: &LogicalPlan| -> Vec<usize> {
        let places = columns.iter().filter_map(|column| side.schema().maybe_index_of_column(column));
        places.collect::<BTreeSet<usize>>().into_iter().collect()
    };
    let (lefts, rights) = (of(left), of(right));
    let field = |side: &LogicalPlan, place: &usize| {
        let (qualifier, field) = side.schema().qualified_field(*place);
        (qualifier.cloned(), field.clone())
    };
    let fields: Vec<_> =
        lefts.iter().map(|place| field(left, place)).chain(rights.iter().map(|place| field(right, place))).collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields.iter().map(|(_, field)| field.clone()).collect::<Vec<_>>()));
    let input = DFSchema::new_with_metadata(fields, std::collections::HashMap::new())?;
    Ok(JoinFilter::new(expr(filter, &input)?, JoinFilter::build_column_indices(lefts, rights), schema))
}
