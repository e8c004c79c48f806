//! Grouped aggregation over tumbling windows, by epoch partials.
//!
//! Rows of the current epoch go into accumulators, one group for each (window, key). At a barrier, or when a window
//! closes, the accumulators are emptied into *partials*: for each window an immutable batch of keys and partial states
//! (DataFusion's own partial aggregation, `GroupsAccumulator::state`). Partials are merged (`merge_batch`) among
//! themselves when there are several of like size, and for the last time when the watermark passes the window's end. So
//! a barrier costs what the epoch touched, nothing is cloned, and what is uploaded is what changed.
//!
//! When memory is short, partials leave it for the local disk, split by the hash of their keys. What is on the disk is
//! merged and put out a share of the keys at a time, so a window may have more keys than memory.

mod accumulate;
mod by_bucket;
mod closing;
mod error;
mod evolve;
mod late;
mod merging;
mod operator;
mod partials;
mod run;
#[cfg(test)]
mod tests;
mod written;

pub use error::WindowError;
pub use late::{LateEncoder, late_encoder, late_schema};
pub use operator::{LateRows, Window};
pub use run::PARTIAL;
