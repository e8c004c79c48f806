//! What has no columns is computed once, when the job is planned.
//!
//! DataFusion's own simplification does more, and changes results: it takes the CAST out of a comparison, which is another
//! one where the CAST cuts, rounds or has no room.

use std::sync::Arc;

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::{DataType, Schema},
};
use datafusion_common::{
    DFSchema, DFSchemaRef, Result, ScalarValue,
    tree_node::{Transformed, TreeNode, TreeNodeRecursion},
};
use datafusion_expr::{
    BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, Volatility,
    execution_props::ExecutionProps,
    expr::ScalarFunction,
    physical_planning_context::PhysicalPlanningContext,
    simplify::{ExprSimplifyResult, SimplifyContext},
};
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};

use super::rewrite;

/// Functions that have no computation of their own: they stand for a CASE.
const CASES: [&str; 3] = ["coalesce", "nvl", "nvl2"];

const COMPARISONS: [Operator; 6] =
    [Operator::Eq, Operator::NotEq, Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq];

/// The plan with its constants computed. Names and types stay as they are; what can't be computed is left for its rows.
pub(super) fn plan(plan: LogicalPlan) -> Result<LogicalPlan> {
    rewrite::expressions(plan, fold)
}

/// As [`plan`], of one expression.
pub(super) fn expr(expr: Expr, schema: &DFSchemaRef) -> Result<Expr> {
    Ok(expr.transform_up(|expr| fold(expr, schema))?.data)
}

fn fold(expr: Expr, schema: &DFSchemaRef) -> Result<Transformed<Expr>> {
    let expr = match expr {
        Expr::ScalarFunction(ScalarFunction { func, args }) if CASES.contains(&func.name()) => {
            let context = SimplifyContext::builder().with_schema(Arc::clone(schema)).build();
            return Ok(match func.simplify(args, &context)? {
                ExprSimplifyResult::Simplified(case) => Transformed::yes(case),
                ExprSimplifyResult::Original(args) => {
                    Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args }))
                }
            });
        }
        other => other,
    };
    if !is_of_constants(&expr)? {
        return match expr {
            Expr::BinaryExpr(binary) => shortened(binary, schema),
            other => Ok(Transformed::no(other)),
        };
    }
    let kind = expr.get_type(schema)?;
    Ok(match value(&expr) {
        Ok(value) if value.data_type() == kind => Transformed::yes(Expr::Literal(value, None)),
        // The row that it is computed of will tell.
        _ => Transformed::no(expr),
    })
}

/// Without a literal that changes nothing, and without a CAST of a column where the literal beside it is the same before the
/// CAST: then it is done once, and not for each row.
fn shortened(BinaryExpr { left, op, right }: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let literal = |side: &Expr| match side {
        Expr::Literal(ScalarValue::Boolean(value), _) => *value,
        _ => None,
    };
    let changes_nothing = match op {
        Operator::And => Some(true),
        Operator::Or => Some(false),
        _ => None,
    };
    if changes_nothing.is_some() && literal(&left) == changes_nothing {
        return Ok(Transformed::yes(*right));
    }
    if changes_nothing.is_some() && literal(&right) == changes_nothing {
        return Ok(Transformed::yes(*left));
    }
    let sides = match (left.as_ref(), right.as_ref()) {
        _ if !COMPARISONS.contains(&op) => None,
        (Expr::Cast(cast), Expr::Literal(value, _)) => {
            narrowed(&cast.expr, value, schema)?.map(|value| (cast.expr.clone(), value))
        }
        (Expr::Literal(value, _), Expr::Cast(cast)) => {
            narrowed(&cast.expr, value, schema)?.map(|value| (value, cast.expr.clone()))
        }
        _ => None,
    };
    Ok(match sides {
        Some((left, right)) => Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right })),
        None => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
    })
}

/// A literal as one of the type that an expression has before its CAST, if every value of that type is exact after it, and the
/// literal before it.
fn narrowed(expr: &Expr, value: &ScalarValue, schema: &DFSchema) -> Result<Option<Box<Expr>>> {
    let (from, to) = (expr.get_type(schema)?, value.data_type());
    if value.is_null() || !has_room_for_all(&to, &from) {
        return Ok(None);
    }
    let exact = value.cast_to(&from).ok().filter(|narrow| narrow.cast_to(&to).is_ok_and(|again| again == *value));
    Ok(exact.map(|narrow| Box::new(Expr::Literal(narrow, None))))
}

/// Whether every value of `from` is one of `to`.
fn has_room_for_all(to: &DataType, from: &DataType) -> bool {
    // Digits before and behind the point; of a whole number, those that it may have, or that it has room for.
    let digits = |kind: &DataType, [of_int, of_bigint]: [i16; 2]| match kind {
        DataType::Int32 => Some((of_int, 0)),
        DataType::Int64 => Some((of_bigint, 0)),
        DataType::Decimal128(precision, scale) => Some((i16::from(*precision) - i16::from(*scale), i16::from(*scale))),
        _ => None,
    };
    match (digits(from, [10, 19]), digits(to, [9, 18])) {
        (Some((before, behind)), Some((room_before, room_behind))) => before <= room_before && behind <= room_behind,
        _ => false,
    }
}

/// Whether this has a value of its own, and all its parts are literals.
fn is_of_constants(expr: &Expr) -> Result<bool> {
    let may_be_folded = match expr {
        Expr::ScalarFunction(call) => call.func.signature().volatility == Volatility::Immutable,
        Expr::BinaryExpr(_)
        | Expr::Like(_)
        | Expr::Not(_)
        | Expr::Negative(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNotUnknown(_)
        | Expr::Between(_)
        | Expr::Case(_)
        | Expr::Cast(_)
        | Expr::TryCast(_)
        | Expr::InList(_) => true,
        _ => false,
    };
    let mut all_literals = may_be_folded;
    expr.apply_children(|part| {
        all_literals &= matches!(part, Expr::Literal(..));
        Ok(if all_literals { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(all_literals)
}

/// The value of an expression without columns; an error of one that has some.
pub(super) fn value(expr: &Expr) -> Result<ScalarValue> {
    let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    evaluated(&create_physical_expr(expr, &DFSchema::empty(), &props, &context)?)
}

/// The value of an expression without columns.
pub(super) fn evaluated(expr: &Arc<dyn PhysicalExpr>) -> Result<ScalarValue> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Schema::empty().into(), Vec::new(), &options)?;
    ScalarValue::try_from_array(&expr.evaluate(&row)?.into_array(1)?, 0)
}
