//! The arguments of `TUMBLE`, read from the syntax tree.

use datafusion_sql::sqlparser::{
    ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Interval, Spanned, Value},
    keywords::Keyword,
};

use crate::sql::{
    dialect::table_argument,
    error::{Position, SqlError},
    text::Text,
};

const ACCEPTED: &str = "accepted is TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)";
/// Names of the arguments, as in Flink.
const NAMES: [&str; 4] = ["data", "timecol", "size", "offset"];

/// `TUMBLE(TABLE table, DESCRIPTOR(column), size)`.
#[derive(Debug, Clone)]
pub(in crate::sql) struct TumbleCall {
    pub(in crate::sql) at: Position,
    pub(in crate::sql) table: Ident,
    pub(in crate::sql) column: Ident,
    /// Above 0.
    pub(in crate::sql) size_ms: i64,
}

impl TumbleCall {
    /// `at` is where the function's name stands.
    pub(in crate::sql) fn read(args: &[FunctionArg], at: Position, text: &Text) -> Result<Self, SqlError> {
        let mut slots: [Option<&Expr>; 4] = [None; 4];
        for (index, arg) in args.iter().enumerate() {
            let (name, value) = match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (NAMES.get(index).copied(), value),
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => {
                    let lower = name.value.to_lowercase();
                    let known = NAMES.iter().find(|known| **known == lower).ok_or_else(|| {
                        let near = tidegate_crds::nearest(&lower, NAMES);
                        SqlError::new(
                            Position::of(name.span).unwrap_or(at),
                            format!("TUMBLE has no argument `{lower}`{near}; {ACCEPTED}"),
                        )
                    })?;
                    (Some(*known), value)
                }
                other => {
                    let place = Position::of(other.span()).unwrap_or(at);
                    return Err(SqlError::new(place, format!("found `{other}` as an argument of TUMBLE; {ACCEPTED}")));
                }
            };
            let slot = NAMES.iter().position(|known| Some(*known) == name).and_then(|index| slots.get_mut(index));
            match slot {
                Some(slot @ None) => *slot = Some(value),
                _ => {
                    let place = Position::of(value.span()).unwrap_or(at);
                    return Err(SqlError::new(place, format!("TUMBLE has too many arguments; {ACCEPTED}")));
                }
            }
        }
        let [data, column, size, offset] = slots;
        if let Some(offset) = offset {
            let place = Position::of(offset.span()).unwrap_or(at);
            let place = text.keyword_before(Keyword::INTERVAL, place);
            return Err(SqlError::new(place, format!("TUMBLE with an offset is not supported yet; {ACCEPTED}")));
        }
        let (Some(data), Some(column), Some(size)) = (data, column, size) else {
            let message = format!("TUMBLE takes 3 arguments, found {}; {ACCEPTED}", args.len());
            return Err(SqlError::new(at, message));
        };
        Ok(Self { at, table: table(data, at)?, column: descriptor(column, at)?, size_ms: length(size, at, text)? })
    }
}

fn table(data: &Expr, at: Position) -> Result<Ident, SqlError> {
    let place = Position::of(data.span()).unwrap_or(at);
    match table_argument(data) {
        Some([name]) => Ok(name.clone()),
        Some(_) => Err(SqlError::new(place, "accepted after TABLE is the name of one source or view, without a dot")),
        None => Err(SqlError::new(place, format!("found `{data}` as the first argument of TUMBLE; {ACCEPTED}"))),
    }
}

fn descriptor(column: &Expr, at: Position) -> Result<Ident, SqlError> {
    let refused = || {
        let place = Position::of(column.span()).unwrap_or(at);
        SqlError::new(place, format!("found `{column}` as the second argument of TUMBLE; {ACCEPTED}"))
    };
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = column else {
        return Err(refused());
    };
    if !name.to_string().eq_ignore_ascii_case("descriptor") {
        return Err(refused());
    }
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(ident)))] => Ok(ident.clone()),
        _ => Err(refused()),
    }
}

fn length(size: &Expr, at: Position, text: &Text) -> Result<i64, SqlError> {
    let place = Position::of(size.span()).unwrap_or(at);
    let refused = |found: &str| {
        let accepted =
            "accepted is an interval of days, hours, minutes, seconds or milliseconds, such as INTERVAL '1' MINUTE";
        SqlError::new(
            text.keyword_before(Keyword::INTERVAL, place),
            format!("{found} as the length of TUMBLE; {accepted}"),
        )
    };
    let Expr::Interval(Interval { value, leading_field, last_field: None, .. }) = size else {
        return Err(SqlError::new(place, refused(&format!("found `{size}`")).message));
    };
    let written = match value.as_ref() {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(written) | Value::Number(written, _) => written.trim(),
            _ => return Err(refused(&format!("found `{size}`"))),
        },
        _ => return Err(refused(&format!("found `{size}`"))),
    };
    let (number, unit) = match leading_field {
        Some(field) => (written, field.to_string()),
        None => written.split_once(char::is_whitespace).map_or((written, String::new()), |(n, u)| (n, u.to_owned())),
    };
    let number: i64 = number.parse().map_err(|_| refused(&format!("found `{size}`")))?;
    let millis = match unit.trim().to_lowercase().trim_end_matches('s') {
        "millisecond" => 1,
        "second" => 1_000,
        "minute" => 60_000,
        "hour" => 3_600_000,
        "day" => 86_400_000,
        _ => return Err(refused(&format!("found `{size}`"))),
    };
    match number.checked_mul(millis) {
        Some(length) if length > 0 => Ok(length),
        _ => Err(refused(&format!("found `{size}`, which is not above zero or too long,"))),
    }
}
