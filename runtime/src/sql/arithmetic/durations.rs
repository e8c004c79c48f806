//! Differences of instants and intervals that are compared: all as counts of one unit.
//!
//! DataFusion makes an interval of months, days and nanoseconds of a difference that meets an interval, and kernels compare
//! such intervals part by part: 30 days that are counted in nanoseconds are below 1 day. So what is compared as intervals is
//! compared as durations here, in the finest unit that an operand has. A day is 24 hours. An interval with months is refused,
//! since months have no fixed length, and so is one that is neither a constant nor made of differences and constants.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion_expr::{BinaryExpr, Case, Cast, Expr, ExprSchemable, Operator, expr::ScalarFunction};
use thiserror::Error;

use super::times::per_second;
use crate::sql::fold;

const NANOSECONDS_OF_A_DAY: i128 = 86_400_000_000_000;
const NANOSECONDS_OF_A_SECOND: i128 = 1_000_000_000;

/// An interval that nothing can be compared with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(in crate::sql) enum Incomparable {
    #[error(
        "it compares an interval with months, which have no fixed length; accepted are differences of instants and constant \
         intervals of weeks, days and what is shorter"
    )]
    Months,
    #[error(
        "it compares an interval that is no constant; accepted are differences of instants and constant intervals of weeks, \
         days and what is shorter"
    )]
    Computed,
    #[error("it compares an interval that is too long for a count of its smallest unit in 64 bits")]
    Long,
}

impl From<Incomparable> for DataFusionError {
    fn from(incomparable: Incomparable) -> Self {
        Self::External(Box::new(incomparable))
    }
}

/// Operands that are compared, of which one is an interval, as durations of one unit.
pub(super) fn alike(operands: &mut [&mut Expr], schema: &DFSchema) -> Result<()> {
    let mut finest = TimeUnit::Second;
    for operand in operands.iter_mut() {
        finest = finest.max(unit(operand, schema)?);
    }
    operands.iter_mut().try_for_each(|operand| count(operand, finest, schema))
}

/// The finest unit that is needed for all digits.
fn unit(expr: &mut Expr, schema: &DFSchema) -> Result<TimeUnit> {
    if let Some((_, unit)) = difference(expr, schema)? {
        return Ok(unit);
    }
    if let Some(interval) = constant(expr) {
        let nanoseconds = nanoseconds(&interval)?.unwrap_or(0);
        let needed = |unit: &TimeUnit| nanoseconds % nanoseconds_of(*unit) == 0;
        let units = [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond];
        return Ok(units.into_iter().find(needed).unwrap_or(TimeUnit::Nanosecond));
    }
    let mut finest = TimeUnit::Second;
    for part in parts(expr).ok_or(Incomparable::Computed)? {
        finest = finest.max(unit(part, schema)?);
    }
    Ok(finest)
}

/// Makes the expression a duration of `unit`, which has room for all its digits.
fn count(expr: &mut Expr, unit: TimeUnit, schema: &DFSchema) -> Result<()> {
    if let Some((difference, counted)) = difference(expr, schema)? {
        *expr = if counted == unit {
            difference
        } else {
            Expr::Cast(Cast::new(Box::new(difference), DataType::Duration(unit)))
        };
        return Ok(());
    }
    if let Some(interval) = constant(expr) {
        let count = nanoseconds(&interval)?.map(|nanoseconds| i64::try_from(nanoseconds / nanoseconds_of(unit)));
        let count = count.transpose().map_err(|_| Incomparable::Long)?;
        let literal = match unit {
            TimeUnit::Second => ScalarValue::DurationSecond(count),
            TimeUnit::Millisecond => ScalarValue::DurationMillisecond(count),
            TimeUnit::Microsecond => ScalarValue::DurationMicrosecond(count),
            TimeUnit::Nanosecond => ScalarValue::DurationNanosecond(count),
        };
        *expr = Expr::Literal(literal, None);
        return Ok(());
    }
    parts(expr).ok_or(Incomparable::Computed)?.into_iter().try_for_each(|part| count(part, unit, schema))
}

fn nanoseconds_of(unit: TimeUnit) -> i128 {
    NANOSECONDS_OF_A_SECOND / i128::from(per_second(unit))
}

/// The duration that this is, or was before it met an interval.
fn difference(expr: &Expr, schema: &DFSchema) -> Result<Option<(Expr, TimeUnit)>> {
    let inner = match expr {
        Expr::Cast(Cast { expr: inner, .. }) => inner,
        other => other,
    };
    Ok(match inner.get_type(schema)? {
        DataType::Duration(unit) => Some((inner.clone(), unit)),
        _ => None,
    })
}

/// The value of an interval without columns.
fn constant(expr: &Expr) -> Option<ScalarValue> {
    fold::value(expr).ok().filter(|value| value.is_null() || is_interval(&value.data_type()))
}

/// How long an interval is; `None` of NULL.
fn nanoseconds(interval: &ScalarValue) -> Result<Option<i128>> {
    Ok(match interval {
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => {
            Some(i128::from(interval.days) * NANOSECONDS_OF_A_DAY + i128::from(interval.nanoseconds))
        }
        ScalarValue::IntervalDayTime(Some(interval)) => {
            Some(i128::from(interval.days) * NANOSECONDS_OF_A_DAY + i128::from(interval.milliseconds) * 1_000_000)
        }
        ScalarValue::IntervalYearMonth(Some(0)) => Some(0),
        value if value.is_null() => None,
        _ => return Err(Incomparable::Months.into()),
    })
}

/// What an interval is chosen from or added up of.
fn parts(expr: &mut Expr) -> Option<Vec<&mut Expr>> {
    Some(match expr {
        Expr::Cast(Cast { expr, field }) if matches!(field.data_type(), DataType::Interval(_)) => parts(expr)?,
        Expr::Negative(inner) => vec![inner.as_mut()],
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus | Operator::Minus, right }) => vec![left, right],
        Expr::Case(Case { when_then_expr, else_expr, .. }) => {
            let results = when_then_expr.iter_mut().map(|(_, then)| then.as_mut());
            results.chain(else_expr.as_deref_mut()).collect()
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) if matches!(func.name(), "coalesce" | "nvl") => {
            args.iter_mut().collect()
        }
        _ => return None,
    })
}

/// Whether values of the type are compared part by part.
pub(in crate::sql) fn is_interval(kind: &DataType) -> bool {
    matches!(kind, DataType::Interval(_))
}
