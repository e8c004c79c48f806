//! Text beside an instant, as in `ts >= '2026-01-01T00:00:00Z'`.
//!
//! The planner takes such a text for an instant in nanoseconds and what it is compared with too, which ends in the year 2262.
//! So a text that the other's own type has room for is read as one of that type.

use datafusion_common::{
    ScalarValue,
    arrow::datatypes::{DataType, TimeUnit},
};
use datafusion_sql::sqlparser::ast::{self, BinaryOperator, CastKind, Expr, TimezoneInfo, Value};

/// Casts the texts among what is compared to the type of the instants among it, which `kind` tells.
pub(super) fn read_as_compared(expr: &mut Expr, kind: impl Fn(&Expr) -> Option<DataType>) {
    let operands: Vec<&mut Expr> = match expr {
        Expr::BinaryOp { left, op, right } if compares(op) => vec![left, right],
        Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => vec![left, right],
        Expr::Between { expr, low, high, .. } => vec![expr, low, high],
        Expr::InList { expr, list, .. } => std::iter::once(expr.as_mut()).chain(list).collect(),
        _ => return,
    };
    let (texts, others): (Vec<_>, Vec<_>) = operands.into_iter().partition(|operand| text(operand).is_some());
    if texts.is_empty() {
        return;
    }
    let mut kinds = others.iter().map(|other| kind(other));
    let Some(Some(instant @ DataType::Timestamp(unit, _))) = kinds.next() else { return };
    if kinds.any(|kind| kind.as_ref() != Some(&instant)) {
        return;
    }
    let digits = match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => return,
    };
    for operand in texts {
        let has_room = text(operand).is_some_and(|text| {
            let value = ScalarValue::Utf8(Some(text.to_owned())).cast_to(&instant);
            digits_of_second(text) <= digits && value.is_ok_and(|value| !value.is_null())
        });
        if has_room {
            let written = std::mem::replace(operand, Expr::value(Value::Null));
            *operand = Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(written),
                data_type: ast::DataType::Timestamp(Some(digits as u64), TimezoneInfo::None),
                array: false,
                format: None,
            };
        }
    }
}

fn compares(op: &BinaryOperator) -> bool {
    use BinaryOperator as B;
    matches!(op, B::Eq | B::NotEq | B::Lt | B::LtEq | B::Gt | B::GtEq)
}

fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// How many digits behind the second's point are not zero at their end.
fn digits_of_second(text: &str) -> usize {
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let end = fraction.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(fraction.len());
    fraction[..end].trim_end_matches('0').len()
}
