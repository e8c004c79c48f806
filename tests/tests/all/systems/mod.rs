//! The S3 store and the `ClickHouse` sink against servers: of S3 and HDFS their own, of `ClickHouse` its engine behind a front.

mod clickhouse;
mod hdfs;
mod store;
