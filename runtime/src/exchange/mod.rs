//! Exchanges: how rows get from the subtasks of one operator to those of the next.
//!
//! A channel joins one sending to one receiving subtask and keeps order. [`partition`] says which rows go to which
//! subtask, by key group; [`align`] turns several channels into one stream with aligned barriers and one watermark;
//! [`local`] moves batches by pointer inside a process, with back-pressure counted in bytes; [`remote`] carries a channel
//! on to another process.

pub mod align;
pub mod local;
pub mod partition;
pub mod remote;
