//! Formats: bytes to Arrow and back.
//!
//! A decoder takes a batch of records as the source's client holds them and gives one `RecordBatch`; a record that does
//! not fit never harms its neighbours. An encoder takes a batch and gives the bytes of all its rows at once.

mod calendar;
mod future;
pub mod intake;
pub mod json;
mod schema;

pub use self::{
    calendar::{civil_from_days, days_from_civil, instant},
    schema::arrow_schema,
};
