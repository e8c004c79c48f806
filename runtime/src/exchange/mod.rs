//! Exchanges: how rows get from the subtasks of one operator to those of the next.
//!
//! A channel joins one sending to one receiving subtask and keeps order. [`partition`] says which rows go to which
//! subtask, by key group; [`align`] decides how several channels become one stream with barriers and one watermark, and a
//! [`gate`] makes it of what is in the subtask's [`inbox`]. [`local`] moves batches by pointer inside a process, with
//! back-pressure counted in bytes; [`remote`] carries a channel on to another process.
//!
//! Under back-pressure barriers may overtake rows: a task is [`urge`]d, and what its cut finds in flight is [`capture`]d.

pub mod align;
pub mod capture;
pub mod gate;
pub mod inbox;
pub mod local;
pub mod partition;
pub mod remote;
pub mod urge;
