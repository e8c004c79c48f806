//! The Kafka source and the Kafka sink against a real broker, one for all tests, each with topics of its own.

mod broker;
mod lag;
mod publisher;
mod publisher_preflight;
mod secured;
mod source;
mod source_refusals;
mod writer;
