//! The Kafka source and the Kafka sink against a real broker, one for all tests, each with topics of its own.

#![allow(clippy::disallowed_methods)] // real servers live in real time
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step is a failed test

mod broker;
mod publisher;
mod publisher_preflight;
mod source;
mod source_refusals;
mod writer;
