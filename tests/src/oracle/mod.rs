//! The oracle: orders with unique ids go in, committed output is read back, and the two are compared row by row.
//!
//! The reference is as naive as can be: a map of first orders, a map of sums. It shares no code with the engine but the
//! generator of the orders.

#[cfg(feature = "servers")]
mod committed;
mod compare;
mod orders;
mod readback;
mod reference;
#[cfg(feature = "servers")]
mod topics;

#[cfg(feature = "servers")]
pub use committed::{clickhouse_rows, kafka_lines, kafka_rows, wait_for_markers};
pub use compare::{Rows, assert_same};
pub use orders::Workload;
pub use readback::file_rows;
pub use reference::{
    first_orders, reference, reference_of_days, reference_of_first_orders, reference_of_originals,
    reference_with_duplicates, sales_of_days, totals,
};
