//! Which expression is at fault, when the planner says only that one is.
//!
//! Every expression of the `SELECT` is planned and typed again on its own, innermost first; the first that fails alone
//! is the one to name.

use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion_common::{DFSchema, DataFusionError, tree_node::TreeNode};
use datafusion_expr::ExprSchemable;
use datafusion_optimizer::analyzer::type_coercion::TypeCoercionRewriter;
use datafusion_sql::{
    planner::{PlannerContext, SqlToRel},
    sqlparser::ast::{Expr, GroupByExpr, Select, SelectItem, Visit, Visitor},
};

use super::{
    error::{Position, SqlError},
    functions::Functions,
    names::start,
};

/// The error `error` of planning `select` over columns of `schema`, with the place of the expression at fault.
pub(super) fn locate(
    error: &DataFusionError,
    select: &Select,
    schema: &DFSchema,
    functions: &Functions,
    near: Position,
) -> SqlError {
    if error.diagnostic().is_some_and(|diagnostic| diagnostic.span.is_some()) {
        return SqlError::planning(error, near);
    }
    let mut search = Search { schema, functions };
    let grouped: &[Expr] = match &select.group_by {
        GroupByExpr::Expressions(exprs, _) => exprs,
        GroupByExpr::All(_) => &[],
    };
    let listed = select.projection.iter().filter_map(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    });
    let exprs = listed.chain(&select.selection).chain(grouped).chain(&select.having).chain(&select.qualify);
    for expr in exprs {
        if let ControlFlow::Break((at, error)) = expr.visit(&mut search) {
            return SqlError::planning(&error, at.or_else(|| start(expr)).unwrap_or(near));
        }
    }
    for (clause, condition) in [("WHERE", &select.selection), ("HAVING", &select.having), ("QUALIFY", &select.qualify)]
    {
        if let Some(condition) = condition
            && let Ok(found) = search.data_type(condition)
            && !matches!(found, DataType::Boolean | DataType::Null)
        {
            return SqlError::new(
                start(condition).unwrap_or(near),
                format!("found an expression of type {found} after {clause}; accepted is a condition, true or false"),
            );
        }
    }
    // What can't fail alone is about the groups: a column that is no group, a HAVING without one.
    let near = select.having.as_ref().filter(|_| error.to_string().contains("HAVING")).and_then(start).unwrap_or(near);
    SqlError::planning(error, near)
}

struct Search<'a> {
    schema: &'a DFSchema,
    functions: &'a Functions,
}

impl Visitor for Search<'_> {
    type Break = (Option<Position>, DataFusionError);

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        // The value of an interval is no expression of its own, and aliases are unknown here: leave names alone.
        if matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Wildcard(_)) {
            return ControlFlow::Continue(());
        }
        match self.data_type(expr) {
            Ok(_) => ControlFlow::Continue(()),
            Err(error) if error.diagnostic().is_some_and(|found| found.message.contains("column")) => {
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break((start(expr), error)),
        }
    }
}

impl Search<'_> {
    fn data_type(&self, expr: &Expr) -> Result<DataType, DataFusionError> {
        let planned =
            SqlToRel::new(self.functions).sql_to_expr(expr.clone(), self.schema, &mut PlannerContext::new())?;
        let typed = planned.rewrite(&mut TypeCoercionRewriter::new(self.schema))?.data;
        typed.get_type(self.schema)
    }
}
