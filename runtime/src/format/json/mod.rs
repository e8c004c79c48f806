//! JSON: one object a record.
//!
//! The decoder reads each record once, straight into Arrow columns, without a tree or a tape in between; fields the job
//! does not use are checked and skipped. It is strict (RFC 8259, nothing before or after the one object), exact (no
//! number is ever rounded into an integer or a decimal), and takes back the half-read row of a record that does not
//! fit, so a bad record costs no more than a good one and its neighbours never notice.
//!
//! | column | accepted |
//! |---|---|
//! | `string` | a string |
//! | `boolean` | `true`, `false` |
//! | `int`, `bigint`, `decimal(p,s)` | a number of that exact value, `5.0` and `5e0` for 5 too, also in quotes |
//! | `float`, `double` | a number, rounded to the nearest, also in quotes; not one that is too large |
//! | `date` | `"2026-01-31"`, or days since 1970 as a whole number |
//! | `timestamp(n)` | `"2026-01-31T12:00:00.000Z"`, with a zone or in UTC, finer digits cut off; or a whole number since 1970 in the column's unit: milliseconds for `timestamp(3)` |
//! | `bytes` | base64 (RFC 4648, padded) |
//!
//! Dates and instants are of the years 0 to 9999. `null` and a missing field are the same. Of a field that stands twice the last counts; both must fit. Written back,
//! instants are RFC 3339 in UTC, decimals exact numbers, bytes base64, and null is spelled out. What a computed `float` or
//! `double` may be and a JSON number can't is written as text: `"NaN"`, `"Infinity"`, `"-Infinity"`.

mod columns;
mod decode;
mod encode;
mod number;
mod scan;
#[cfg(test)]
mod tests;

pub use self::{
    decode::{BadRecord, DecodeError, Decoded, JsonDecoder},
    encode::{JsonLines, encode},
};
