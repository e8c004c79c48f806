//! Every expression of a plan, rewritten from its parts up.

use std::sync::Arc;

use datafusion_common::{
    DFSchemaRef, Result,
    tree_node::{Transformed, TreeNode},
};
use datafusion_expr::{Expr, LogicalPlan, expr_rewriter::NamePreserver};

/// `rewrite` gets each part with the schema of what the plan's node reads. Names of columns stay as they are.
pub(super) fn expressions(
    plan: LogicalPlan,
    rewrite: impl Fn(Expr, &DFSchemaRef) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    plan.transform_up(|plan| {
        let schema = match plan.inputs().as_slice() {
            [input] => Arc::clone(input.schema()),
            _ => return Ok(Transformed::no(plan)),
        };
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = expr.transform_up(|expr| rewrite(expr, &schema))?;
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        })
    })
    .map(|plan| plan.data)
}
