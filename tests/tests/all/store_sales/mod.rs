//! The store-sales job, as its example stands, against real Kafka, S3 and ClickHouse: killed at every place where it
//! matters, with servers failing around it, and every total exact.

mod files;
mod kills;
mod outages;
mod rivals;
mod stops;
