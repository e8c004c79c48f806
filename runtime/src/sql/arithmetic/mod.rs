//! Exact arithmetic: a value that does not fit its type is an error, never another value.
//!
//! DataFusion's own operators and aggregates wrap around where a number has no room, and cut decimals where Flink rounds
//! them. So these are ours: `+`, `-`, `*`, `/`, `%` and the sign over whole numbers and decimals ([`checked`] puts them
//! in a plan's expressions, before anything is folded), and the aggregates `SUM`, `AVG`, `MIN` and `MAX` ([`Aggregate`]).
//!
//! | | result | rounded |
//! |---|---|---|
//! | whole numbers | of the wider type; `/` cuts | |
//! | decimals, `+`, `-`, `*` | exact | never |
//! | decimals, `/` | 4 digits more after the point than the dividend | half up, away from zero |
//! | `SUM` of whole numbers, decimals | bigint; 10 digits more before the point, at most 38 in all | never |
//! | `AVG` of decimals | 4 digits more after the point, at most 38 in all | half up, away from zero |
//! | `SUM` of differences of instants | the unit of the differences | never |
//! | `AVG` of differences of instants | the unit of the differences | half up, away from zero |
//! | comparing an interval | as a duration; months are refused | never |
//! | `MIN`, `MAX` of floats | NaN is above all numbers, `-0.0` is `0.0` | never |
//! | `CAST` of a timestamp to fewer digits | cut towards the past, before 1970 too | |
//! | an instant and a difference with more digits | cut towards the past | |
//! | `float`, `double` | as IEEE 754 has it, infinities and NaN as well | to the nearest |
//!
//! An error says which values met; who calls knows the row ([`crate::operator::map`]) or the group
//! ([`crate::operator::window`]).

mod aggregate;
mod average;
mod decimal;
mod durations;
mod equal;
mod extreme;
mod operators;
mod overflow;
mod sum;
mod times;
mod totals;

pub(super) use aggregate::Aggregate;
pub(super) use durations::{Incomparable, is_interval};
pub(super) use operators::{checked, checked_expr};
pub use overflow::Overflow;
pub(super) use times::per_second;
