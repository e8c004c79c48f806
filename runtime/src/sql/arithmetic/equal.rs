//! What is compared: floats each as the number that stands for all that are equal to it, intervals as durations
//! ([`durations`]).
//!
//! Kernels compare floats by their bits where IEEE 754 has them unordered or equal: a NaN that was computed is not the NaN
//! that was written, and is below all numbers where its sign bit is set, as that of `0.0 / 0.0` is on x86. `-0.0` is another
//! number in a list that is looked up. So operands of `=`, `<` and the like, of `IN`, `BETWEEN`, `CASE x WHEN`, `nullif`,
//! `greatest` and `least` pass through [`Canonical`], which costs a look at the column where there is nothing to change.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion_expr::{
    ColumnarValue, Expr, ExprSchemable, ExpressionPlacement, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
    expr::{Between, BinaryExpr, Case, Cast, InList, ScalarFunction},
    lit,
};

use super::durations;
use crate::operator::float;

const NAME: &str = "canonical";
/// Functions that compare their arguments.
const COMPARING: [&str; 3] = ["greatest", "least", "nullif"];

/// The expression with what it compares made canonical. Its type stays as it is.
pub(super) fn compared(mut expr: Expr, schema: &DFSchema) -> Result<Expr> {
    match &mut expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => {
            all([left.as_mut(), right.as_mut()], schema)?;
        }
        Expr::Between(Between { expr, low, high, .. }) => all([expr.as_mut(), low.as_mut(), high.as_mut()], schema)?,
        Expr::InList(InList { expr: sought, list, .. }) => {
            all(std::iter::once(sought.as_mut()).chain(list), schema)?;
            return Ok(apart(expr));
        }
        Expr::Case(Case { expr: Some(expr), when_then_expr, .. }) => {
            let whens = when_then_expr.iter_mut().map(|(when, _)| when.as_mut());
            all(std::iter::once(expr.as_mut()).chain(whens), schema)?;
        }
        Expr::ScalarFunction(ScalarFunction { func, .. }) if COMPARING.contains(&func.name()) => {
            return chosen(expr, schema);
        }
        _ => {}
    }
    Ok(expr)
}

/// A lookup in a list, and beside it a comparison with each item that is computed of columns.
///
/// The kernel takes a list for constant if its items are scalars for a batch without rows, and then never looks again. Some
/// expressions are that, though not for other batches: a `CASE` for one.
fn apart(expr: Expr) -> Expr {
    let is_computed = |item: &Expr| !matches!(item, Expr::Column(_)) && item.any_column_refs();
    match expr {
        Expr::InList(InList { expr, list, negated }) if list.iter().any(is_computed) => {
            let (computed, listed): (Vec<Expr>, Vec<Expr>) = list.into_iter().partition(is_computed);
            let lookup = (!listed.is_empty()).then(|| Expr::InList(InList::new(expr.clone(), listed, false)));
            let equal = computed.into_iter().map(|item| expr.as_ref().clone().eq(item));
            let either = any(lookup.into_iter().chain(equal).collect());
            if negated { Expr::Not(Box::new(either)) } else { either }
        }
        other => other,
    }
}

/// Whether one of the conditions holds, no deeper than it has to be.
fn any(mut conditions: Vec<Expr>) -> Expr {
    while conditions.len() > 1 {
        let mut pairs = Vec::with_capacity(conditions.len().div_ceil(2));
        let mut left = conditions.into_iter();
        while let Some(one) = left.next() {
            pairs.push(match left.next() {
                Some(other) => one.or(other),
                None => one,
            });
        }
        conditions = pairs;
    }
    conditions.pop().unwrap_or_else(|| lit(false))
}

/// A call that compares its arguments and gives one of them.
fn chosen(mut expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let kind = expr.get_type(schema)?;
    if let Expr::ScalarFunction(ScalarFunction { args, .. }) = &mut expr {
        all(args, schema)?;
    }
    Ok(if expr.get_type(schema)? == kind { expr } else { Expr::Cast(Cast::new(Box::new(expr), kind)) })
}

fn is_comparison(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn all<'a>(operands: impl IntoIterator<Item = &'a mut Expr>, schema: &DFSchema) -> Result<()> {
    let mut operands: Vec<&mut Expr> = operands.into_iter().collect();
    let kinds = operands.iter().map(|operand| operand.get_type(schema)).collect::<Result<Vec<_>>>()?;
    if kinds.iter().any(durations::is_interval) {
        return durations::alike(&mut operands, schema);
    }
    for (operand, kind) in operands.into_iter().zip(kinds) {
        if kind.is_floating() {
            *operand = canonical(std::mem::take(operand), schema)?;
        }
    }
    Ok(())
}

fn canonical(operand: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(match operand {
        Expr::Literal(value, metadata) => Expr::Literal(scalar(value), metadata),
        // Neither whole numbers nor decimals have a NaN or a negative zero.
        Expr::Cast(Cast { ref expr, .. }) if is_exact(&expr.get_type(schema)?) => operand,
        Expr::ScalarFunction(ScalarFunction { ref func, .. }) if func.name() == NAME => operand,
        other => {
            let signature = Signature::any(1, Volatility::Immutable);
            ScalarUDF::new_from_impl(Canonical { signature }).call(vec![other])
        }
    })
}

fn is_exact(kind: &DataType) -> bool {
    kind.is_integer() || matches!(kind, DataType::Decimal128(..))
}

fn scalar(value: ScalarValue) -> ScalarValue {
    match value {
        ScalarValue::Float32(Some(value)) => ScalarValue::Float32(Some(float::canonical32(value))),
        ScalarValue::Float64(Some(value)) => ScalarValue::Float64(Some(float::canonical64(value))),
        other => other,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Canonical {
    signature: Signature,
}

impl ScalarUDFImpl for Canonical {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let [kind] = arguments else { return plan_err!("{NAME} takes one argument") };
        Ok(kind.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let [field] = args.arg_fields else { return plan_err!("{NAME} takes one argument") };
        Ok(Arc::new(Field::new(NAME, field.data_type().clone(), field.is_nullable())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.into_iter().next() {
            Some(ColumnarValue::Array(column)) => Ok(ColumnarValue::Array(float::canonical(&column))),
            Some(ColumnarValue::Scalar(value)) => Ok(ColumnarValue::Scalar(scalar(value))),
            None => plan_err!("{NAME} takes one argument"),
        }
    }

    /// A column of its own for what two conditions look at would cost more than to look twice.
    fn placement(&self, arguments: &[ExpressionPlacement]) -> ExpressionPlacement {
        match arguments {
            [ExpressionPlacement::Column] => ExpressionPlacement::MoveTowardsLeafNodes,
            _ => ExpressionPlacement::KeepInPlace,
        }
    }
}
