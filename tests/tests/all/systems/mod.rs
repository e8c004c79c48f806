//! The S3 store and the `ClickHouse` sink against real servers.

mod clickhouse;
mod hdfs;
mod store;
