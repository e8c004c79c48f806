//! Filters go below projections, so that a segment ends as one filter and one projection.
//!
//! Conditions keep their order, inner ones first: what an earlier one has ruled out is not computed by a later one. That is why
//! DataFusion's rule is not used, which puts cheap conditions first, and of two conditions on a column, with a CAST or
//! without, keeps one.
//!
//! Below a projection a condition has in place of each column what computes it. Where that makes it much longer, it stays above:
//! or it would double with each view that uses a column twice.

use std::{collections::BTreeMap, sync::Arc};

use datafusion_common::{
    Column, DFSchema, DataFusionError, Result,
    tree_node::{Transformed, TreeNode},
};
use datafusion_expr::{Expr, Filter, LogicalPlan, Projection, SubqueryAlias};

use super::written_out;

/// Characters that a condition may grow by where it goes below a projection.
const MAX_GROWTH: usize = 4_000;

pub(super) fn push_down(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_down(|plan| match plan {
        LogicalPlan::Filter(filter) => pushed(filter),
        other => Ok(Transformed::no(other)),
    })
    .map(|plan| plan.data)
}

fn pushed(Filter { predicate, input, .. }: Filter) -> Result<Transformed<LogicalPlan>> {
    Ok(match Arc::unwrap_or_clone(input) {
        LogicalPlan::Filter(inner) => Transformed::yes(match pushed(inner)?.data {
            // Further down the outer one can't go either: the order is kept.
            LogicalPlan::Filter(inner) => {
                LogicalPlan::Filter(Filter::try_new(inner.predicate.and(predicate), inner.input)?)
            }
            below => pushed(Filter::try_new(predicate, Arc::new(below))?)?.data,
        }),
        LogicalPlan::Projection(Projection { expr, input, schema, .. })
            if growth(&predicate, &schema, &expr)? <= MAX_GROWTH =>
        {
            let below = over(predicate, &schema, |index| expr.get(index).cloned().map(Expr::unalias))?;
            let filter = LogicalPlan::Filter(Filter::try_new(below, input)?);
            Transformed::yes(LogicalPlan::Projection(Projection::try_new_with_schema(expr, Arc::new(filter), schema)?))
        }
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, alias, schema, .. }) => {
            let column = |index| Some(Expr::Column(Column::from(input.schema().qualified_field(index))));
            let below = over(predicate, &schema, column)?;
            let filter = LogicalPlan::Filter(Filter::try_new(below, input)?);
            Transformed::yes(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(filter), alias)?))
        }
        other => Transformed::no(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(other))?)),
    })
}

/// How many characters longer a predicate is with what computes each column in its place.
fn growth(predicate: &Expr, schema: &DFSchema, computed_by: &[Expr]) -> Result<usize> {
    let mut lengths = BTreeMap::new();
    predicate.column_refs().into_iter().try_for_each(|column| {
        let index = schema.index_of_column(column)?;
        let computed = computed_by.get(index).map(|expr| written_out::length(expr, |column| column.name.len()));
        lengths.insert(column.clone(), computed.transpose()?.unwrap_or_default());
        Ok::<_, DataFusionError>(())
    })?;
    let now = written_out::length(predicate, |column| column.name.len())?;
    let then = written_out::length(predicate, |column| lengths.get(column).copied().unwrap_or_default())?;
    Ok(then.saturating_sub(now))
}

/// The predicate with what stands for each column of a schema, by the column's index.
fn over(predicate: Expr, schema: &DFSchema, stands_for: impl Fn(usize) -> Option<Expr>) -> Result<Expr> {
    let replaced = predicate.transform_up(|part| {
        let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
        let index = schema.index_of_column(column)?;
        Ok(stands_for(index).map_or_else(|| Transformed::no(part), Transformed::yes))
    });
    replaced.map(|predicate| predicate.data)
}
