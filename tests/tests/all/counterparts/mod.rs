//! The servers of the tests, each by one real round trip, a crash and a restart; and that nothing
//! is left of them.

mod clickhouse;
mod kafka;
mod leftovers;
mod s3;
mod toxiproxy;
