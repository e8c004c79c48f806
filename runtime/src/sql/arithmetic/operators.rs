//! `+`, `-`, `*`, `/`, `%` and the sign, over whole numbers and decimals; and what else an expression gets here.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Datum, Scalar},
    compute::kernels::numeric,
    datatypes::{DataType, Decimal128Type, FieldRef, TimeUnit},
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};
use datafusion_common::{
    DFSchema, DataFusionError, Result, ScalarValue, plan_err,
    tree_node::{Transformed, TreeNode},
};
use datafusion_expr::{
    BinaryExpr, Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, TryCast, Volatility, expr::ScalarFunction,
    type_coercion::binary::BinaryTypeCoercer,
};
use thiserror::Error;

use super::{
    Overflow, decimal, equal,
    times::{self, Towards},
};
use crate::sql::rewrite;

/// The plan with operators that say when a result has no room, and that compare floats by value. Names and types stay as
/// they are.
pub(in crate::sql) fn checked(plan: LogicalPlan) -> Result<LogicalPlan> {
    rewrite::expressions(plan, |expr, schema| operator(expr, schema))
}

/// As [`checked`], of one expression.
pub(in crate::sql) fn checked_expr(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(expr.transform_up(|expr| operator(expr, schema))?.data)
}

fn operator(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let is_whole = |kind: &DataType| kind.is_integer();
    let is_decimal = |kind: &DataType| matches!(kind, DataType::Decimal128(..));
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if matches!(
                op,
                Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo
            ) =>
        {
            let (one, other) = (left.get_type(schema)?, right.get_type(schema)?);
            if (is_whole(&one) && one == other) || (is_decimal(&one) && is_decimal(&other)) {
                let function = ScalarUDF::new_from_impl(Arithmetic::new(Operation::Binary(op)));
                return Ok(Transformed::yes(function.call(vec![*left, *right])));
            }
            Ok(Transformed::yes(moved(BinaryExpr { left, op, right }, schema)?))
        }
        Expr::Negative(inner) if is_whole(&inner.get_type(schema)?) => {
            let function = ScalarUDF::new_from_impl(Arithmetic::new(Operation::Negate));
            Ok(Transformed::yes(function.call(vec![*inner])))
        }
        Expr::Cast(cast) => {
            let to = Expr::Cast(cast.clone()).get_type(schema)?;
            Ok(prepared(*cast.expr.clone(), &to, schema)?
                .update_data(|expr| Expr::Cast(Cast { expr: Box::new(expr), ..cast })))
        }
        // An instant that is counted from a number is never none.
        Expr::TryCast(TryCast { expr, field })
            if expr.get_type(schema)? == DataType::Int64
                && matches!(field.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, _)) =>
        {
            Ok(Transformed::yes(Expr::Cast(Cast { expr, field })))
        }
        Expr::TryCast(cast) => {
            let to = Expr::TryCast(cast.clone()).get_type(schema)?;
            let cut = prepared(*cast.expr.clone(), &to, schema)?;
            Ok(cut.update_data(|expr| Expr::TryCast(TryCast { expr: Box::new(expr), ..cast })))
        }
        Expr::ScalarFunction(ScalarFunction { func, mut args })
            if TO_COARSER.contains(&func.name()) && args.len() == 1 =>
        {
            let to = Expr::ScalarFunction(ScalarFunction { func: Arc::clone(&func), args: args.clone() })
                .get_type(schema)?;
            let cut = cut(args.remove(0), &to, schema)?;
            Ok(cut.update_data(|expr| Expr::ScalarFunction(ScalarFunction { func, args: vec![expr] })))
        }
        other => equal::compared(other, schema).map(Transformed::yes),
    }
}

/// An instant and a difference with more digits: the planner casts the difference, which cuts it towards 0. It is cut so that
/// the result is cut towards the past.
fn moved(BinaryExpr { left, op, right }: BinaryExpr, schema: &DFSchema) -> Result<Expr> {
    let is_instant = |side: &Expr| Ok::<_, DataFusionError>(matches!(side.get_type(schema)?, DataType::Timestamp(..)));
    let whole = |difference: Expr, towards: Towards| match difference {
        Expr::Cast(Cast { expr, field }) => Ok::<_, DataFusionError>(Expr::Cast(Cast {
            expr: match times::parts(&expr.get_type(schema)?, field.data_type()) {
                Some(parts) => Box::new(times::cut(*expr, parts, towards)),
                None => expr,
            },
            field,
        })),
        other => Ok(other),
    };
    let (left, right) = match op {
        Operator::Plus if is_instant(&left)? => (left, Box::new(whole(*right, Towards::Past)?)),
        Operator::Plus if is_instant(&right)? => (Box::new(whole(*left, Towards::Past)?), right),
        Operator::Minus if is_instant(&left)? => (left, Box::new(whole(*right, Towards::Future)?)),
        _ => (left, right),
    };
    Ok(Expr::BinaryExpr(BinaryExpr { left, op, right }))
}

/// Functions that may be given instants with more digits than they give back.
const TO_COARSER: [&str; 3] = ["to_timestamp_seconds", "to_timestamp_millis", "to_timestamp_micros"];

/// What is about to be cast: an instant loses its digits towards the past, and has the zone UTC before it becomes a text. A CAST
/// in SQL gives instants without a zone, and it is kept so in checkpoints; as a text, it would be without its `Z`.
fn prepared(expr: Expr, to: &DataType, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr.get_type(schema)? {
        DataType::Timestamp(unit, None) if to.is_string() => {
            Ok(Transformed::yes(datafusion_expr::cast(expr, DataType::Timestamp(unit, Some("UTC".into())))))
        }
        _ => cut(expr, to, schema),
    }
}

/// What is about to become an instant with fewer digits, cut towards the past.
fn cut(time: Expr, to: &DataType, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let from = time.get_type(schema)?;
    let parts = times::parts(&from, to).filter(|_| matches!(from, DataType::Timestamp(..)));
    Ok(match parts {
        Some(parts) => Transformed::yes(times::cut(time, parts, Towards::Past)),
        None => Transformed::no(time),
    })
}

/// What can't be computed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Impossible {
    #[error("{0} divides by zero")]
    Zero(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Operation {
    Binary(Operator),
    Negate,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Arithmetic {
    operation: Operation,
    signature: Signature,
}

impl Arithmetic {
    fn new(operation: Operation) -> Self {
        let arguments = if operation == Operation::Negate { 1 } else { 2 };
        Self { operation, signature: Signature::any(arguments, Volatility::Immutable) }
    }

    fn kind(&self, arguments: &[DataType]) -> Result<DataType> {
        match (self.operation, arguments) {
            (Operation::Binary(op), [left, right]) => BinaryTypeCoercer::new(left, &op, right).get_result_type(),
            (Operation::Negate, [only]) => Ok(only.clone()),
            _ => plan_err!("{} takes other arguments", self.name()),
        }
    }

    fn compute(
        &self,
        left: &dyn Datum,
        right: &dyn Datum,
        kind: &DataType,
    ) -> std::result::Result<ArrayRef, ArrowError> {
        let is_decimal = matches!(kind, DataType::Decimal128(..));
        let found = match self.operation {
            Operation::Negate => numeric::neg(left.get().0),
            Operation::Binary(Operator::Plus) => numeric::add(left, right),
            Operation::Binary(Operator::Minus) => numeric::sub(left, right),
            Operation::Binary(Operator::Multiply) => numeric::mul(left, right),
            Operation::Binary(Operator::Divide) if is_decimal => return decimal::divide(left, right, kind),
            Operation::Binary(Operator::Divide) => numeric::div(left, right),
            Operation::Binary(_) => numeric::rem(left, right),
        }?;
        if is_decimal {
            decimal::fits(found.as_primitive::<Decimal128Type>())?;
        }
        Ok(found)
    }

    /// The first row that can't be computed, in words: the kernels know none.
    fn explain(&self, arguments: &[ArrayRef], kind: &DataType, error: ArrowError) -> DataFusionError {
        let rows = arguments.first().map_or(0, Array::len);
        let one = |row: usize| arguments.iter().map(|argument| argument.slice(row, 1)).collect::<Vec<_>>();
        let failed = |row: &usize| {
            let row = one(*row);
            let (Some(left), right) = (row.first(), row.last()) else { return None };
            self.compute(&left.as_ref(), &right.unwrap_or(left).as_ref(), kind).err()
        };
        let Some((at, error)) = (0..rows).find_map(|row| Some((row, failed(&row)?))) else { return error.into() };
        let values: Vec<String> = one(at).iter().map(value).collect();
        let text = match (self.operation, values.as_slice()) {
            (Operation::Binary(op), [left, right]) => format!("{left} {op} {right}"),
            (_, values) => format!("-({})", values.join(", ")),
        };
        match error {
            ArrowError::DivideByZero => DataFusionError::External(Box::new(Impossible::Zero(text))),
            _ => Overflow::new(at, text, kind).into(),
        }
    }
}

/// The only value of an array.
pub(super) fn value(one: &ArrayRef) -> String {
    let formatter = ArrayFormatter::try_new(one, &FormatOptions::default());
    formatter.map_or_else(|_| "…".to_owned(), |formatter| formatter.value(0).to_string())
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        match self.operation {
            Operation::Binary(Operator::Plus) => "add",
            Operation::Binary(Operator::Minus) => "subtract",
            Operation::Binary(Operator::Multiply) => "multiply",
            Operation::Binary(Operator::Divide) => "divide",
            Operation::Binary(_) => "modulo",
            Operation::Negate => "negate",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.kind(arguments)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let kinds: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(arrow::datatypes::Field::new(self.name(), self.kind(&kinds)?, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let kinds: Vec<DataType> = args.args.iter().map(ColumnarValue::data_type).collect();
        let kind = self.kind(&kinds)?;
        let (Some(left), Some(right)) = (args.args.first(), args.args.last()) else {
            return plan_err!("{} takes arguments", self.name());
        };
        let are_scalars = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let computed = with_datum(left, |left| with_datum(right, |right| self.compute(left, right, &kind)));
        match computed {
            Ok(values) if are_scalars => ScalarValue::try_from_array(&values, 0).map(ColumnarValue::Scalar),
            Ok(values) => Ok(ColumnarValue::Array(values)),
            Err(error) => {
                let rows = if are_scalars { 1 } else { args.number_rows };
                let arguments = args.args.iter().map(|argument| argument.to_array(rows)).collect::<Result<Vec<_>>>()?;
                Err(self.explain(&arguments, &kind, error))
            }
        }
    }
}

fn with_datum<T>(
    value: &ColumnarValue,
    run: impl FnOnce(&dyn Datum) -> std::result::Result<T, ArrowError>,
) -> std::result::Result<T, ArrowError> {
    match value {
        ColumnarValue::Array(array) => run(&array.as_ref()),
        ColumnarValue::Scalar(scalar) => {
            let one = scalar.to_array_of_size(1).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
            run(&Scalar::new(one))
        }
    }
}
