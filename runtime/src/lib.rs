//! Tidegate's engine: exactly-once stream jobs.
//!
//! One record's way: a [`source`] reads it, a [`format`] decodes it to Arrow, a chain of [`operator`]s works on it,
//! the [`exchange`] brings it to the subtask of its key, a [`sink`] keeps it for its epoch; the [`checkpoint`] that
//! contains it is owned in the log by one conditional create, and then it is published. [`job`] turns the user's document
//! into a plan by way of [`sql`] and [`graph`]; the [`coordinator`] decides, the [`worker`] does.

pub mod checkpoint;
pub mod element;
pub mod env;
pub mod fault;
pub mod format;
pub mod graph;
pub mod ids;
pub mod job;
mod kafka;
pub mod sink;
pub mod source;
pub mod sql;
