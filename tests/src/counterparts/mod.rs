//! Real servers for the whole-system tests: Apache Kafka, an S3 server, HDFS, the `ClickHouse` engine,
//! toxiproxy and a [`wire`] to break the network between them and Tidegate, and a Kubernetes cluster.
//!
//! Each server is one value: starting it installs what is missing into a cache, reserves a port on
//! loopback (or, by `start_at`, where the pods of a cluster reach it), and waits until the server
//! answers; dropping it stops the process and removes its data. A test that is itself killed leaves
//! neither process nor folder behind ([`process`]).
//!
//! Every server can be killed and started again on the same address with the same data, which is
//! what the crash tests are made of. Where an environment variable such as `TIDEGATE_TEST_KAFKA`
//! names a server, that one is used instead; it isn't ours, so killing it is refused.
//!
//! Layers, each using only those before it: [`error`], [`cache`] (what is installed), [`port`],
//! [`process`] (one running process), [`server`] (a process that keeps port and data over
//! restarts), and one file or folder per system.

#![allow(clippy::disallowed_methods)] // real servers live in real time, outside any simulation

pub mod cache;
pub mod clickhouse;
pub mod cluster;
pub mod error;
mod fingerprint;
pub mod hdfs;
pub mod kafka;
pub mod port;
pub mod process;
pub mod s3;
pub mod server;
pub mod toxiproxy;
pub mod wire;

pub use clickhouse::ClickHouse;
pub use cluster::Cluster;
pub use error::Error;
pub use hdfs::Hdfs;
pub use kafka::Kafka;
pub use s3::S3;
pub use toxiproxy::Toxiproxy;
pub use wire::Wire;
