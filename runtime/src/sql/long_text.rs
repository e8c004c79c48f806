//! `repeat`, `lpad` and `rpad` make a text as long as a number says, and `replace` one as long as its text has places for
//! another: a record may have any.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray},
    datatypes::Int64Type,
};
use datafusion_common::{Result, exec_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs};

/// The longest text that a call may ask for, in bytes if it is repeated, else in characters.
pub(super) const LONGEST: u64 = 1_000_000;

/// A text, and how often.
pub(super) fn check_repeated(name: &str, args: &ScalarFunctionArgs) -> Result<()> {
    let (texts, counts) = (argument(args, 0)?, argument(args, 1)?);
    let (Some(texts), Some(counts)) = (texts, counts) else { return Ok(()) };
    let (Some(texts), Some(counts)) = (texts.as_string_opt::<i32>(), counts.as_primitive_opt::<Int64Type>()) else {
        return Ok(());
    };
    let lengths = texts.iter().zip(counts).map(|(text, count)| {
        let count = u64::try_from(count.unwrap_or_default()).unwrap_or_default();
        count.saturating_mul(text.map_or(0, str::len) as u64)
    });
    check(name, lengths)
}

/// A text, and its length in characters. One below 0 becomes 0: it makes an empty text, too, and the kernel makes room for it.
pub(super) fn check_padded(name: &str, args: &mut ScalarFunctionArgs) -> Result<()> {
    let Some(column) = argument(args, 1)? else { return Ok(()) };
    let Some(lengths) = column.as_primitive_opt::<Int64Type>() else { return Ok(()) };
    check(name, lengths.iter().map(|length| u64::try_from(length.unwrap_or_default()).unwrap_or_default()))?;
    if lengths.iter().flatten().any(|length| length < 0)
        && let Some(argument) = args.args.get_mut(1)
    {
        *argument = ColumnarValue::Array(Arc::new(lengths.unary::<_, Int64Type>(|length| length.max(0))));
    }
    Ok(())
}

/// A text, what is taken out of it, and what comes there.
pub(super) fn check_replaced(name: &str, args: &ScalarFunctionArgs) -> Result<()> {
    let texts = [argument(args, 0)?, argument(args, 1)?, argument(args, 2)?];
    let [Some(texts), Some(old), Some(new)] = &texts else { return Ok(()) };
    let columns = (texts.as_string_opt::<i32>(), old.as_string_opt::<i32>(), new.as_string_opt::<i32>());
    let (Some(texts), Some(old), Some(new)) = columns else { return Ok(()) };
    let lengths = texts.iter().zip(old).zip(new).map(|((text, old), new)| {
        let (Some(text), Some(old), Some(new)) = (text, old, new) else { return 0 };
        let (length, most) = (text.len() as u64, (text.len() as u64 + 1).saturating_mul(new.len() as u64));
        // Counted only where it may matter.
        if most <= LONGEST { 0 } else { length + text.matches(old).count() as u64 * new.len() as u64 }
    });
    check(name, lengths)
}

fn argument(args: &ScalarFunctionArgs, index: usize) -> Result<Option<ArrayRef>> {
    args.args.get(index).map(|argument| argument.to_array(args.number_rows)).transpose()
}

fn check(name: &str, lengths: impl Iterator<Item = u64>) -> Result<()> {
    match lengths.max() {
        Some(length) if length > LONGEST => {
            exec_err!("{name} would make a text of length {length}; accepted are {LONGEST} at most")
        }
        _ => Ok(()),
    }
}
