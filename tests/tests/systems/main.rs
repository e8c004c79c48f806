//! The S3 store and the `ClickHouse` sink against real servers.

#![allow(clippy::disallowed_methods)] // real servers live in real time
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step is a failed test

mod clickhouse;
mod store;
