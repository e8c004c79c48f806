//! The store-sales job, as its example stands, against real Kafka, S3 and ClickHouse: killed at every place where it
//! matters, with servers failing around it, and every total exact.

#![allow(clippy::disallowed_methods)] // real servers live in real time
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step is a failed test

mod kills;
mod outages;
mod rivals;
mod stops;
mod world;
