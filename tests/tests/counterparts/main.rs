//! The servers of the tests, each by one real round trip, a crash and a restart; and that nothing
//! is left of them.

#![allow(clippy::disallowed_methods)] // real servers live in real time
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step is a failed test

mod clickhouse;
mod kafka;
mod leftovers;
mod s3;
mod toxiproxy;
