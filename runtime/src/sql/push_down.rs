//! Filters go below projections, so that a segment ends as one filter and one projection.
//!
//! Conditions keep their order, inner ones first: what an earlier one has ruled out is not computed by a later one. That is why
//! DataFusion's rule is not used, which puts cheap conditions first, and of two conditions on a column, with a CAST or
//! without, keeps one.

use std::sync::Arc;

use datafusion_common::{
    Column, DFSchema, Result,
    tree_node::{Transformed, TreeNode},
};
use datafusion_expr::{Expr, Filter, LogicalPlan, Projection, SubqueryAlias};

pub(super) fn push_down(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_down(|plan| match plan {
        LogicalPlan::Filter(filter) => pushed(filter),
        other => Ok(Transformed::no(other)),
    })
    .map(|plan| plan.data)
}

fn pushed(Filter { predicate, input, .. }: Filter) -> Result<Transformed<LogicalPlan>> {
    Ok(match Arc::unwrap_or_clone(input) {
        LogicalPlan::Filter(inner) => {
            let both = inner.predicate.and(predicate);
            return Ok(Transformed::yes(pushed(Filter::try_new(both, inner.input)?)?.data));
        }
        LogicalPlan::Projection(Projection { expr, input, schema, .. }) => {
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

/// The predicate with what stands for each column of a schema, by the column's index.
fn over(predicate: Expr, schema: &DFSchema, stands_for: impl Fn(usize) -> Option<Expr>) -> Result<Expr> {
    let replaced = predicate.transform_up(|part| {
        let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
        let index = schema.index_of_column(column)?;
        Ok(stands_for(index).map_or_else(|| Transformed::no(part), Transformed::yes))
    });
    replaced.map(|predicate| predicate.data)
}
