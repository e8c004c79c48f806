//! Tumbling windows: `FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)`, as in Flink.
//!
//! The result is `t` with three columns more: `window_start` and `window_end` of the window that the row's event time
//! falls in (the end belongs to the next window), and `window_time`, the last millisecond of the window. They are plain
//! computed columns ([`udf`]), of type timestamp(3) in UTC, so they work in any expression; under a `GROUP BY` they say
//! which window an aggregate is of. Windows are aligned to 1970-01-01T00:00:00Z.

mod call;
mod udf;

pub(super) use call::TumbleCall;
pub(super) use udf::{Edge, edge_of, tumble};
