//! What becomes of state when the type of a column changes: the one table that says it.
//!
//! Every value of the old type must have its like in what is remembered of the new one, and be found again there by values
//! that come; then the state is kept as it is, or converted. What would round, cut or guess is refused. The guide prints the
//! table, and a test restores a state of every kind over every change.

use arrow::datatypes::DataType;

/// What a type is changed to, seen from its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    Same,
    WiderInteger,
    NarrowerInteger,
    FloatToDouble,
    DoubleToFloat,
    IntegerToDecimal,
    IntegerToDouble,
    WiderDecimal,
    Other,
}

/// What remembers values of the column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    Count,
    /// `COUNT`, `SUM` and `AVG` of `DISTINCT` values keep the values.
    Distinct,
    Sum,
    Average,
    /// `MIN` and `MAX`.
    Extreme,
    /// An argument of an aggregate that is computed of the column, by arithmetic or a function.
    Computed,
    /// Rows that wait for the watermark, and rows in flight.
    Rows,
    /// Of a deduplication or a window: what a key is hashed to depends on its type.
    Key,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it is.
    Kept,
    /// To the new type, exactly, or to the nearest double where that is the new type.
    Converted,
    Refused,
}

pub const HOLDERS: [Holder; 8] = [
    Holder::Count,
    Holder::Distinct,
    Holder::Sum,
    Holder::Average,
    Holder::Extreme,
    Holder::Computed,
    Holder::Rows,
    Holder::Key,
];

/// The verdicts on each change, in the order of [`HOLDERS`].
pub const TABLE: [(Change, [Verdict; HOLDERS.len()]); 9] = {
    use Verdict::{Converted as C, Kept as K, Refused as R};
    [
        (Change::Same, [K, K, K, K, K, K, K, K]),
        (Change::WiderInteger, [K, C, K, K, C, C, C, R]),
        (Change::NarrowerInteger, [K, R, K, K, R, R, R, R]),
        (Change::FloatToDouble, [K, R, K, K, C, C, C, R]),
        (Change::DoubleToFloat, [K, R, K, K, R, R, R, R]),
        (Change::IntegerToDecimal, [K, C, C, C, C, R, C, R]),
        (Change::IntegerToDouble, [K, C, C, K, C, R, C, R]),
        (Change::WiderDecimal, [K, C, C, C, C, C, C, R]),
        (Change::Other, [K, R, R, R, R, R, R, R]),
    ]
};

impl Change {
    pub fn of(from: &DataType, to: &DataType) -> Self {
        use DataType::{Decimal128, Float32, Float64};
        match (from, to) {
            _ if from == to => Self::Same,
            (Float32, Float64) => Self::FloatToDouble,
            (Float64, Float32) => Self::DoubleToFloat,
            _ if from.is_integer() && to.is_integer() && has_values_of(to, from) => Self::WiderInteger,
            _ if from.is_integer() && to.is_integer() && has_values_of(from, to) => Self::NarrowerInteger,
            (_, Decimal128(..)) if from.is_integer() && has_values_of(to, from) => Self::IntegerToDecimal,
            (_, Float64) if from.is_integer() && has_values_of(to, from) => Self::IntegerToDouble,
            (Decimal128(..), Decimal128(..)) if has_values_of(to, from) => Self::WiderDecimal,
            _ => Self::Other,
        }
    }
}

impl Holder {
    /// What an aggregate keeps of its argument; `None` for a function that is not known here.
    pub fn of(function: &str, distinct: bool) -> Option<Self> {
        match function {
            "count" | "sum" | "avg" if distinct => Some(Self::Distinct),
            "count" => Some(Self::Count),
            "sum" => Some(Self::Sum),
            "avg" => Some(Self::Average),
            "min" | "max" => Some(Self::Extreme),
            _ => None,
        }
    }
}

/// What the table says.
pub fn verdict(holder: Holder, change: Change) -> Verdict {
    let column = HOLDERS.iter().position(|other| *other == holder);
    let row = TABLE.iter().find(|(other, _)| *other == change);
    column.zip(row).and_then(|(column, (_, verdicts))| verdicts.get(column).copied()).unwrap_or(Verdict::Refused)
}

/// Whether every value of `narrow` has its like in `wide`.
pub fn has_values_of(wide: &DataType, narrow: &DataType) -> bool {
    use DataType::{
        Decimal128, Decimal256, Float32, Float64, Int8, Int16, Int32, Int64, LargeUtf8, UInt8, UInt16, UInt32, UInt64,
        Utf8, Utf8View,
    };
    match (narrow, wide) {
        (Int8, Int16 | Int32 | Int64 | Float32 | Float64)
        | (Int16, Int32 | Int64 | Float32 | Float64)
        | (Int32, Int64 | Float64)
        | (UInt8, UInt16 | UInt32 | UInt64 | Int16 | Int32 | Int64 | Float32 | Float64)
        | (UInt16, UInt32 | UInt64 | Int32 | Int64 | Float32 | Float64)
        | (UInt32, UInt64 | Int64 | Float64)
        | (Float32, Float64)
        | (Utf8, LargeUtf8 | Utf8View) => true,
        // As many digits on both sides of the point. No column has 256 bits; what an average keeps may.
        (Decimal128(digits, scale) | Decimal256(digits, scale), Decimal128(more, finer) | Decimal256(more, finer)) => {
            finer >= scale && i16::from(*more) - i16::from(*finer) >= i16::from(*digits) - i16::from(*scale)
        }
        (integer, Decimal128(digits, scale) | Decimal256(digits, scale)) => {
            let needed = match integer {
                Int8 | UInt8 => 3,
                Int16 | UInt16 => 5,
                Int32 | UInt32 => 10,
                Int64 => 19,
                UInt64 => 20,
                _ => return false,
            };
            *scale >= 0 && i16::from(*digits) - i16::from(*scale) >= needed
        }
        _ => false,
    }
}

/// A type as a source's schema writes it; another one as the engine does.
pub fn spoken(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision}, {scale})"),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(unit, _) => {
            use arrow::datatypes::TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
            let digits = match unit {
                Second => 0,
                Millisecond => 3,
                Microsecond => 6,
                Nanosecond => 9,
            };
            format!("timestamp({digits})")
        }
        DataType::Utf8 => "string".to_owned(),
        DataType::Binary => "bytes".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_is_wider_with_no_fewer_digits_on_either_side() {
        let decimal = DataType::Decimal128;
        let is_wider = |wide: &DataType, narrow: &DataType| has_values_of(wide, narrow);
        assert!(is_wider(&decimal(12, 2), &decimal(10, 2)) && is_wider(&decimal(12, 4), &decimal(10, 2)));
        assert!(!is_wider(&decimal(10, 4), &decimal(10, 2)) && !is_wider(&decimal(12, 1), &decimal(10, 2)));
        assert!(is_wider(&decimal(12, 2), &DataType::Int32) && !is_wider(&decimal(11, 2), &DataType::Int32));
    }

    #[test]
    fn every_change_has_its_verdicts_once_and_rows_are_converted_where_every_value_has_its_like() {
        let types = [
            DataType::Boolean,
            DataType::Int32,
            DataType::Int64,
            DataType::Float32,
            DataType::Float64,
            DataType::Decimal128(10, 2),
            DataType::Decimal128(12, 2),
            DataType::Decimal128(24, 4),
            DataType::Date32,
            DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, Some("UTC".into())),
            DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into())),
            DataType::Utf8,
            DataType::Binary,
        ];
        for (from, to) in types.iter().flat_map(|from| types.iter().map(move |to| (from, to))) {
            let change = Change::of(from, to);
            assert_eq!(TABLE.iter().filter(|(other, _)| *other == change).count(), 1, "{from} to {to}");
            let taken = verdict(Holder::Rows, change) != Verdict::Refused;
            assert_eq!(taken, from == to || has_values_of(to, from), "{from} to {to} is {change:?}");
            // What is written can be read again.
            assert_eq!(from.to_string().parse::<DataType>().unwrap(), *from);
        }
    }
}
