//! A decimal that meets a float becomes a double.
//!
//! So has it the standard, for which a result is approximate when an operand is, and Flink. DataFusion makes a decimal of the
//! float instead, of 15 digits after the point and 15 before it: a number that is larger would fail the job, and one that is
//! smaller would be zero. So decimals are cast before types are coerced.

use arrow::datatypes::DataType;
use datafusion_common::{
    DFSchema, Result, ScalarValue,
    tree_node::{Transformed, TreeNode},
};
use datafusion_expr::{
    Expr, ExprSchemable, LogicalPlan, cast,
    expr::{Between, BinaryExpr, Case, InList, ScalarFunction},
    expr_rewriter::NamePreserver,
    lit,
};

/// Functions whose arguments are all of one type, which is that of the result.
const OF_ONE_TYPE: [&str; 5] = ["coalesce", "greatest", "least", "nullif", "nvl"];

/// The plan with decimals cast where they meet floats.
pub(super) fn of_floats(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up(|plan| {
        let schema = match plan.inputs().as_slice() {
            [input] => std::sync::Arc::clone(input.schema()),
            _ => return Ok(Transformed::no(plan)),
        };
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = expr.transform_up(|expr| meet(expr, &schema).map(Transformed::yes))?;
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        })?
        .map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(plan.data)
}

/// As [`of_floats`], of one expression.
pub(super) fn of_floats_in(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(expr.transform_up(|expr| meet(expr, schema).map(Transformed::yes))?.data)
}

fn meet(mut expr: Expr, schema: &DFSchema) -> Result<Expr> {
    match &mut expr {
        Expr::BinaryExpr(BinaryExpr { left, right, .. }) => alike(&mut [&mut **left, &mut **right], schema)?,
        Expr::Between(Between { expr, low, high, .. }) => alike(&mut [&mut **expr, &mut **low, &mut **high], schema)?,
        Expr::InList(InList { expr, list, .. }) => {
            alike(&mut std::iter::once(expr.as_mut()).chain(list).collect::<Vec<_>>(), schema)?;
        }
        Expr::Case(Case { expr, when_then_expr, else_expr }) => {
            let (mut values, mut results): (Vec<&mut Expr>, Vec<&mut Expr>) =
                when_then_expr.iter_mut().map(|(when, then)| (when.as_mut(), then.as_mut())).unzip();
            if let Some(expr) = expr {
                values.push(expr);
                alike(&mut values, schema)?;
            }
            results.extend(else_expr.as_deref_mut());
            alike(&mut results, schema)?;
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) if OF_ONE_TYPE.contains(&func.name()) => {
            alike(&mut args.iter_mut().collect::<Vec<_>>(), schema)?;
        }
        _ => {}
    }
    Ok(expr)
}

/// Casts the decimals among these, if there is a float among them.
fn alike(exprs: &mut [&mut Expr], schema: &DFSchema) -> Result<()> {
    let kinds = exprs.iter().map(|expr| expr.get_type(schema)).collect::<Result<Vec<_>>>()?;
    let is_float = |kind: &DataType| matches!(kind, DataType::Float32 | DataType::Float64);
    if !kinds.iter().any(is_float) {
        return Ok(());
    }
    for (expr, kind) in exprs.iter_mut().zip(kinds) {
        if matches!(kind, DataType::Decimal128(..)) {
            **expr = double(std::mem::take(*expr));
        }
    }
    Ok(())
}

fn double(expr: Expr) -> Expr {
    match &expr {
        // The double that is nearest to what is written.
        Expr::Literal(value @ ScalarValue::Decimal128(Some(_), ..), _) => {
            value.to_string().parse::<f64>().map_or_else(|_| cast(expr.clone(), DataType::Float64), lit)
        }
        _ => cast(expr, DataType::Float64),
    }
}
