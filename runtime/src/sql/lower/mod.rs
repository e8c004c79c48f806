//! From a planned `SELECT` to stages.
//!
//! What stays of the plan is projections and filters over a stage. An aggregate must be over a window and becomes a
//! stage; a filter `rn = 1` over a `ROW_NUMBER()` becomes a deduplication; anything else that is not a projection or a
//! filter is refused, whatever the checks before have let through.

mod deduplicate;
mod window;

use datafusion_common::{Column, DataFusionError};
use datafusion_expr::{Expr, LogicalPlan};

use super::{
    error::{Position, SqlError},
    lineage,
    names::{Facts, Ranking},
    plan::Planner,
};

/// What is known of the `SELECT` that is lowered.
pub(super) struct Lowering<'a> {
    /// Name of the relation that it reads: operators are called after it.
    pub(super) name: &'a str,
    pub(super) facts: Facts,
    /// The `ROW_NUMBER()` that this `SELECT` has, or that what it reads has.
    pub(super) ranking: Option<Ranking>,
    pub(super) near: Position,
}

impl Planner<'_> {
    pub(super) fn lower(&mut self, plan: LogicalPlan, lowering: &Lowering<'_>) -> Result<LogicalPlan, SqlError> {
        let failed = |error: DataFusionError| SqlError::planning(&error, lowering.near);
        match plan {
            LogicalPlan::TableScan(_) => Ok(plan),
            LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Window(_) => {
                let input = self.lower_input(&plan, lowering)?;
                if let LogicalPlan::Window(window) = &plan {
                    lowering.check_row_number(window, &input)?;
                }
                plan.with_new_exprs(plan.expressions(), vec![input]).map_err(failed)
            }
            LogicalPlan::Filter(filter) => {
                let input = self.lower(filter.input.as_ref().clone(), lowering)?;
                if lineage::pending_row_number(&input).is_some() {
                    return self.deduplicate(filter.predicate, input, lowering);
                }
                datafusion_expr::logical_plan::Filter::try_new(filter.predicate, input.into())
                    .map(LogicalPlan::Filter)
                    .map_err(failed)
            }
            LogicalPlan::Aggregate(aggregate) => {
                let input = self.lower(aggregate.input.as_ref().clone(), lowering)?;
                if lineage::pending_row_number(&input).is_some() {
                    return Err(lowering.unused_row_number());
                }
                self.window(&aggregate, input, lowering)
            }
            other => Err(SqlError::new(lowering.near, format!("`{}` is not supported yet", other.display()))),
        }
    }

    fn lower_input(&mut self, plan: &LogicalPlan, lowering: &Lowering<'_>) -> Result<LogicalPlan, SqlError> {
        match plan.inputs().as_slice() {
            [input] => self.lower((*input).clone(), lowering),
            _ => Err(SqlError::new(lowering.near, "accepted is a SELECT that reads one relation")),
        }
    }
}

/// The plan's output columns as expressions.
fn columns(plan: &LogicalPlan) -> impl Iterator<Item = Expr> {
    column_names(plan).map(Expr::Column)
}

fn column_names(plan: &LogicalPlan) -> impl Iterator<Item = Column> {
    plan.schema().iter().map(Column::from)
}
