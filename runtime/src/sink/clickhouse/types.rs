//! Which ClickHouse types a column can go into without losing anything.

use arrow::datatypes::{DataType, TimeUnit};

/// The types a column can go into, best first: as patterns for people, and by [`accepts`]. `None` when there are none.
pub(super) fn accepted(kind: &DataType) -> Option<Vec<String>> {
    let owned = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            owned(&["String", "FixedString(n)", "Enum8", "Enum16"])
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => owned(&["String", "FixedString(n)"]),
        DataType::Boolean => owned(&["Bool", "UInt8"]),
        DataType::Int8 => owned(&["Int8", "Int16", "Int32", "Int64"]),
        DataType::Int16 => owned(&["Int16", "Int32", "Int64"]),
        DataType::Int32 => owned(&["Int32", "Int64"]),
        DataType::Int64 => owned(&["Int64", "Int128", "Int256"]),
        DataType::UInt8 => owned(&["UInt8", "UInt16", "UInt32", "UInt64", "Int16", "Int32", "Int64"]),
        DataType::UInt16 => owned(&["UInt16", "UInt32", "UInt64", "Int32", "Int64"]),
        DataType::UInt32 => owned(&["UInt32", "UInt64", "Int64"]),
        DataType::UInt64 => owned(&["UInt64", "UInt128", "UInt256"]),
        DataType::Float32 => owned(&["Float32", "Float64"]),
        DataType::Float64 => owned(&["Float64"]),
        DataType::Date32 => owned(&["Date32", "Date"]),
        DataType::Decimal128(precision, scale) => {
            let whole = i16::from(*precision) - i16::from(*scale);
            let wider = format!("a Decimal with at least {whole} digits before and {scale} after the point");
            Some(vec![format!("Decimal({precision}, {scale})"), wider])
        }
        DataType::Timestamp(unit, _) => {
            let digits = digits(*unit);
            let mut types =
                vec![format!("DateTime64({digits}, 'UTC')"), format!("DateTime64 of at least {digits} digits")];
            if digits == 0 {
                types.push("DateTime".to_owned());
            }
            Some(types)
        }
        DataType::Dictionary(_, values) => accepted(values),
        _ => None,
    }
}

/// Whether values of `kind` go into a column of type `found` unchanged.
pub(super) fn accepts(kind: &DataType, found: &str) -> bool {
    let found = unwrap(found);
    let (name, arguments) =
        found.split_once('(').map_or((found, ""), |(name, rest)| (name, rest.trim_end_matches(')')));
    match kind {
        // The server cuts surplus digits, and stores a value that is too large as it is, without a word.
        DataType::Decimal128(precision, scale) => {
            let (first, second) = arguments.split_once(',').unwrap_or((arguments, "0"));
            let (found_precision, found_scale) = match name {
                "Decimal" => (first, second),
                "Decimal32" => ("9", first),
                "Decimal64" => ("18", first),
                "Decimal128" => ("38", first),
                "Decimal256" => ("76", first),
                _ => return false,
            };
            let number = |text: &str| text.trim().parse::<i16>().ok();
            let (Some(found_precision), Some(found_scale)) = (number(found_precision), number(found_scale)) else {
                return false;
            };
            let (precision, scale) = (i16::from(*precision), i16::from(*scale));
            found_scale >= scale && found_precision - found_scale >= precision - scale
        }
        DataType::Timestamp(unit, _) => match name {
            "DateTime" => digits(*unit) == 0,
            "DateTime64" => {
                let first = arguments.split(',').next().unwrap_or_default();
                first.trim().parse::<u8>().is_ok_and(|found| found >= digits(*unit))
            }
            _ => false,
        },
        _ => accepted(kind).is_some_and(|types| {
            types.iter().any(|accepted| accepted.split_once('(').map_or(accepted.as_str(), |(name, _)| name) == name)
        }),
    }
}

/// A type to create a column with.
pub(super) fn suggested(kind: &DataType, nullable: bool) -> String {
    let kind = accepted(kind).and_then(|types| types.into_iter().next()).unwrap_or_else(|| "String".to_owned());
    if nullable { format!("Nullable({kind})") } else { kind }
}

/// The type inside `Nullable`, `LowCardinality` and `SimpleAggregateFunction(f, …)`.
fn unwrap(found: &str) -> &str {
    let inner = ["Nullable(", "LowCardinality("]
        .iter()
        .find_map(|wrapper| found.strip_prefix(wrapper)?.strip_suffix(')'))
        .or_else(|| Some(found.strip_prefix("SimpleAggregateFunction(")?.strip_suffix(')')?.split_once(", ")?.1));
    inner.map_or(found, unwrap)
}

fn digits(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}
