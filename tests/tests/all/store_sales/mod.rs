//! The store-sales job, as its example stands, against real Kafka, S3 and ClickHouse: killed at every place where it
//! matters, with servers failing around it, followed by new versions of itself, spread over processes, and every total exact.

mod backends;
mod deliveries;
mod destinations;
mod files;
mod hand_over;
mod idle;
mod inspect;
mod kills;
mod lag;
mod local_recovery;
mod memory;
mod outages;
mod partitions;
mod rescale;
mod rivals;
mod savepoints;
mod starts;
mod stops;
mod workers;
